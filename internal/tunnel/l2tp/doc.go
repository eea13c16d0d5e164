// Package l2tp is the LNS side of L2TP version 2, RFC 2661: control connections, tunnels and the calls in them.
//
// It owns every tunnel from its SCCRQ to the end of the 31 seconds for which a closed one still acknowledges: reliable
// delivery with windows and retransmission (section 5.8), tunnel authentication (5.1.1), HELLO (5.5), incoming calls
// (7.4), limits and timeouts. A tunnel belongs to a Peer, never to an address or to one security association. What a
// tunnel or a call means is up to the Handler, which internal/session implements: it names the tunnel secret, takes a slot
// and opens the call in the dataplane before the ICRP leaves. Packets come from the dataplane through Receive and leave
// through Peer.Send; data messages are not this package's business.
//
// A Server starts one goroutine for each tunnel, which ends with the tunnel's state. The protocol itself is pure: machine
// and channel take messages, commands and the time, and give messages and the next deadline, with the tables of RFC 2661
// sections 7.2 and 7.4 as data. They have no goroutine, no clock and no lock.
//
// In the RFC's words every client is a LAC, whether it is a provider's access concentrator that carries thousands of calls
// or a laptop that carries its own.
package l2tp
