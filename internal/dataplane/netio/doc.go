// Package netio is the dataplane's border to the operating system: the Opener, through which everything privileged
// goes, and the raw GRE socket with its batches.
//
// An Opener is called from the control side only, never by a shard; it hands out descriptors, so that it can be a helper
// process one day. Linux is the real one, made of netns, tun and steer. A Socket and a queue's descriptor belong to one
// shard each. The package starts no goroutine. GRE as an IP protocol is RFC 2784; PPTP's is RFC 2637 section 4.
package netio
