// Package tun makes multi-queue TUN devices with their addresses, routes, steering, masquerading, ARP answers and uplinks,
// and moves packets through their queues: a Train reads and cuts what the kernel has not cut (GSO), a Coalescer writes and
// joins what it need not see one by one (GRO).
//
// A Device belongs to the control side; a queue's descriptor belongs to one shard, which has one Train and one Coalescer for
// all its queues. Called by netio (devices) and the shards (packets). The package starts no goroutine.
package tun
