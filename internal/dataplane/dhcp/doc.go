// Package dhcp answers the DHCPINFORM that Windows and macOS send over PPP when they shall not route everything through the
// tunnel: they ask for the networks behind it, for name servers and for a DNS suffix.
//
// It holds no state and leases nothing: the address comes from IPCP. An Answer is made by the control side when a session's
// address is known, doesn't change, and is then used by the session's shard; Append neither allocates nor trusts a single
// octet of the question. Called by dataplane. It starts no goroutine.
//
// RFC 2131 is DHCP (section 3.4 and 4.3.5 are DHCPINFORM), RFC 2132 its options, RFC 3442 classless routes, RFC 6842 the
// client identifier in answers.
package dhcp
