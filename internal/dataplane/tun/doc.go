// Package tun makes multi-queue TUN devices with their addresses, routes, steering and masquerading, and moves packets
// through their queues in batches.
//
// A Device belongs to the control side; a queue's descriptor belongs to one shard, which uses ReadBatch and WriteBatch on
// it. Called by netio (devices) and the shards (batches). The package starts no goroutine.
package tun
