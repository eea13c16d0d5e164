// Package netio is the dataplane's border to the operating system: the Opener, through which everything privileged
// goes, and the sockets towards clients with their batches: raw GRE and ESP, and UDP.
//
// An Opener is called from the control side only, never by a shard; it hands out descriptors, so that it can be a helper
// process one day. Linux is the real one, made of netns, tun and steer. A Socket, a UDPSocket and a queue's descriptor
// belong to one shard each. The package starts no goroutine. PPTP's GRE is RFC 2637 section 4, ESP is RFC 4303 and in UDP
// RFC 3948, L2TP's UDP is RFC 2661 section 8.1.
package netio
