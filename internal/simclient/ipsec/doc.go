// Package ipsec is a whole L2TP/IPsec client in one process: IKEv1, ESP, an L2TP tunnel with one call, PPP. Tests log in
// by it in test/e2e, and cmd/loadgen by the hundred.
//
// A Stack holds the IKE engine (internal/ike/ikev1 as initiator) that any number of Clients share, so that a client costs
// no goroutine: its work is done by whoever calls Receive, Send or Connect, by the engine's workers and by timers. The
// transport is the caller's: datagrams to UDP 500, UDP 4500 and raw ESP leave through a function and come in through
// Client.Receive, so a NAT, a loss or a real socket can be put between.
//
// How a client negotiates comes from internal/simclient/ike, its tunnel and its PPP from internal/simclient/l2tp and ppp.
// ESP is the data plane's own (internal/dataplane/esp), RFC 4303 and 3948; the UDP header inside it has a checksum over
// the client's own address, as real clients send it.
package ipsec
