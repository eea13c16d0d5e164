// Package dataplane carries packets between clients and tenants' networks: of PPTP calls by GRE, of L2TP sessions by ESP,
// raw or in UDP, and in clear where that is allowed.
//
// It owns the shards: one goroutine for each, locked to a thread that is pinned to a CPU. A shard owns its sockets (raw GRE
// and ESP, UDP 500, 4500 and 1701), its TUN queues, and the keys, sequence numbers, counters and buffers of its calls and
// of its IPsec peers' SAs; no packet meets a lock or an allocation. The rest of the program changes a shard by commands in
// its inbox, which run in the order in which they were given, and a shard hands control messages out by copy: PPP's through
// a call's Sink, L2TP's through a peer's PeerSink, IKE's and plain L2TP's through a listener's DatagramSink. What is
// privileged goes through netio.Opener, on the caller's goroutine.
//
// A call may be tapped: package capture takes copies of its packets then, and no packet waits for that.
//
// Called by session. Besides the shards it starts one goroutine that logs, once a minute, which drops there were.
//
// The steps in face.go, inbound.go, outbound.go, ipsec_inbound.go and ipsec_outbound.go carry the numbers of "a packet's
// way" in docs/packet-walk.md. RFC 2637 section 4 is enhanced GRE, RFC 1661 section 2 PPP's encapsulation, RFC 3078 MPPE,
// RFC 4303 ESP, RFC 3948 ESP in UDP, RFC 2661 section 3.1 the header of L2TP.
package dataplane
