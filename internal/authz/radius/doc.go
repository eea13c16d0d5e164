// Package radius decides logins by asking RADIUS servers, and tells accounting to them.
//
// It owns the meaning of attributes: one table (attribute.go, table_*.go) says for each of them in which packets it is sent
// and read, and which field of authz or accounting it is; docs/radius.md shows the same table. Below it, package transport
// has the sockets, the choice of servers and retransmission, package packet the signatures, and package coa the requests
// that servers send us, whose attributes ParseChange reads. layeh.com/radius is used for bytes only.
//
// Session calls a Client, one for each tenant, through authz.Authenticator, and the ledger through accounting.Sink. A Client
// is safe for concurrent use and starts no goroutine of its own; those of its transport end with Close. It remembers between
// calls only the one-time passwords that a server waits for (challenge.go); of an EAP conversation its caller keeps the
// State (eap.go).
//
// RFCs: 2865 (logins), 2866 (accounting), 2548 (Microsoft attributes), 2867 and 2868 (tunnel attributes), 2869 (gigawords,
// Framed-Pool, Acct-Interim-Interval), 3162 (NAS-IPv6-Address), 3579 (EAP), 5176 section 3.6 (attributes of CoA and
// Disconnect), 5997 (Status-Server, in the test of a server).
package radius
