// Package l2tpdata is the way of a PPP frame into an L2TP data message and out of it, in place: the inner UDP header that
// ESP in transport mode carries (RFC 3948, RFC 3193), the data header of RFC 2661 section 3.1, and the sequence numbers of
// a session that uses them (section 5.4).
//
// It owns nothing but a Sequencer's two numbers. A shard calls it, and so does a simulated client; a Sequencer belongs to
// one goroutine, there is no lock, no clock and no goroutine, and nothing allocates.
package l2tpdata
