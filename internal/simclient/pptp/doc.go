// Package pptp is the client side of a PPTP control connection, RFC 2637 section 3, for in-process tests and for load.
//
// Machine is the protocol and nothing else: messages, wishes and the time go in, octets, events and the next deadline come
// out, by the tables of RFC 2637 sections 3.1.1 and 3.2.4.2. It starts no goroutine. Client puts it on a net.Conn, with
// one goroutine for each, and offers it as blocking calls. Tests of internal/tunnel/pptp and cmd/loadgen use it.
//
// In the RFC's words this is a PNS. GRE and PPP are not its business.
package pptp
