// Package ikev1 is IKEv1 as IPsec gateways for L2TP need it: RFC 2407, 2408, 2409, 3706, 3947 and the drafts before it, 4754,
// and Microsoft's fragments and reliable deletes ([MS-IKEE]).
//
// # What it owns
//
// An Engine owns every ISAKMP SA of the process, and decides which pairs of ESP SAs there are. It has no socket: messages
// come in by Engine.Receive and leave by Host.Send. Who a peer is and where its keys are installed is the Host's
// business: internal/session implements Host and Peer over internal/dataplane. Host, Peer, Child and Policy, in host.go
// and child.go, are the border.
//
// The same Engine is the server and, with Initiate, the client: the server has to begin Main and Quick Modes as well when
// it renews an SA, and internal/simclient uses it to play the clients that people have.
//
// # How it runs
//
// New starts Config.Workers goroutines. Three kinds of machines do the work, each on a strand: a queue of which one event
// is worked on at a time, by any worker. Machines have no goroutine, no clock and no lock; the Engine's mutex guards only
// the tables by which messages find them.
//
//   - door takes first messages. It applies the limits and answers with message 2, and keeps of an exchange only a
//     halfOpen, some 300 octets in a bounded table. Under a flood a first message is answered when it comes again.
//   - handshake begins when message 3 has proved the address, and ends when messages 5 and 6 have proved the peer.
//   - peer is one Peer with all its ISAKMP SAs and children. A child belongs to the peer, not to the SA that negotiated
//     it, so a new Main Mode of the same peer takes all over, and any SA may rekey or delete any child.
//
// So the Diffie-Hellman of one holds up neither the others nor whoever calls Receive. Queues are bounded, and what does not
// fit is dropped and counted: peers repeat themselves.
//
// # What it decides
//
// Message 2 accepts what at least one tenant of the listener allows: any modern suite before every legacy one, within each
// class in the client's order. Message 5 names the tenant by the pre-shared key or the authority that fits; then that
// tenant's own legacy switch counts. Aggressive Mode finds the tenant by its group name. DES, NULL, RSA encryption, XAUTH
// and mode config are never agreed to.
//
// Nothing is acted on that is not authentic, and what was authentic once does nothing when it comes again. Answers are
// cached and sent again for copies, at most five times. Nothing that is sent before an address is proven is longer than what
// came from there; where message 2 of Aggressive Mode would be, it waits for a second copy of message 1.
//
// Children are installed inbound before the message that lets the peer use them, and used outbound when the peer has
// confirmed them by message 3 or by a packet. Old ones stay until the peer deletes them, or 30 s after the one that we
// negotiated in their place is in use.
package ikev1
