// Package traffic moves inner packets through logged-in simulated clients, as many as go through or at a rate, and measures
// what becomes of them: loss, order, duplicates, latency, rate. cmd/loadgen and the benchmarks use it.
//
// A client of internal/simclient/plain or ipsec yields a Path: the way of its packets as a Link, which knows headers,
// sequence numbers and keys, and a Gate, the lock under which they change. Who dialled adds the Socket. Run then takes the
// sockets over. One locked thread for each Gate makes packets, has them sealed by the data plane's own batch calls, sends
// them by sendmmsg(2) with UDP_SEGMENT where several of one session wait, and on the way back reads by recvmmsg(2) and
// opens them. What is not the session's IP goes back to the client, whose own packets go out between ours, in one order
// with them, because it takes the same Gate.
//
// At the other end a Responder, a UDP socket in the tenant's network with a thread of its own, takes packets, sends or
// returns them. Both ends are in one process, so that latency is by one clock.
//
// Packets carry a session, a number and a time (RFC 791, RFC 768) and have right checksums, as what the server's device
// does with them depends on that. Server and clients must not share an outer address: a raw socket could not tell who sent.
package traffic
