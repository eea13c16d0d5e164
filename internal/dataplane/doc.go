// Package dataplane carries packets between PPTP calls and tenants' networks.
//
// It owns the shards: one goroutine for each, locked to a thread that is pinned to a CPU. A shard owns its GRE sockets,
// its TUN queues, and the keys, sequence numbers, counters and buffers of its calls; no packet meets a lock or an
// allocation. The rest of the program changes a shard by commands in its inbox, which run in the order in which they were
// given, and a shard hands control frames out through a call's Sink. What is privileged goes through netio.Opener, on the
// caller's goroutine.
//
// Called by session. Besides the shards it starts one goroutine that logs, once a minute, which drops there were.
//
// The steps in inbound.go and outbound.go carry the numbers of "a packet's way" in docs/packet-walk.md. RFC 2637
// section 4 is enhanced GRE, RFC 1661 section 2 PPP's encapsulation, RFC 3078 MPPE.
package dataplane
