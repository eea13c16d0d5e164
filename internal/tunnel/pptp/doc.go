// Package pptp is the server side of PPTP control connections, RFC 2637 section 3.
//
// It owns the TCP connections that clients make to port 1723: it answers Start, Echo, Outgoing-Call, Call-Clear and Stop,
// refuses incoming calls, keeps every half-done state on a clock and counts connections against limits. What a call means
// is up to the Handler, which internal/session implements: it takes a slot and opens the call in the dataplane before the
// reply leaves. GRE is not its business.
//
// A Server starts one goroutine for each accepted connection; Serve runs on its caller's. The protocol itself is the
// machine: messages and the time go in, octets and the next deadline come out, with the rules of RFC 2637 sections 3.1.2
// and 3.2.4.1 as tables. It has no goroutine, no clock and no lock.
//
// In the RFC's words the client is the PNS and we are the PAC, which is why a client's Outgoing-Call-Request begins a
// session, why Call-Clear-Request carries the client's call ID and Call-Disconnect-Notify ours.
package pptp
