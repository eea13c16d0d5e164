// Package mppe is Microsoft Point-to-Point Encryption: the packets of RFC 3078 and the key schedule of
// RFC 3079, for 128, 56 and 40 bits, stateless and stateful.
//
// A Sender and a Receiver hold one direction of one session each. A Scratch is the working memory of one
// shard: RC4 tables, keystream, counters. Packets are given in batches of any sessions (SealBatch,
// OpenBatch). Everything belongs to one goroutine at a time, there is no lock, no clock and no goroutine, and
// nothing allocates after the constructors.
//
// # Batches
//
// RC4 makes an octet at a time, each from the one before, and leaves most of a processor idle. Stateless packets of
// a batch have keys of their own, so their key schedules and keystreams are made four at a time, interleaved, in
// groups of 16 packets: of one session as well as of many. A session's key chain is serial; the chains of different
// sessions go on side by side. Nothing else comes of it: a batch ends as if its packets had been opened or sealed one
// by one, which is what happens to those of stateful sessions, to those too few to share the work, and to those that turn
// out not to be where they were foreseen.
//
// # What a forged packet can do
//
// MPPE has no integrity: whoever can send from the peer's address can write any coherency count, and every
// ciphertext decrypts to something. The receiver therefore
//
//   - looks at the first octets of the plaintext first, and changes nothing, neither the buffer nor its own
//     state, unless the caller finds them credible;
//   - keeps every key that it derived ahead, up to NearKeys, so that a forged count never costs a derivation
//     that the peer's own packets would not have cost;
//   - holds what would need more than NearKeys: the position is sought on a copy, with at most KeyBudget key
//     changes a second, each of which is kept for the next attempt, and is taken over when two packets in a
//     row (nothing nearby decrypted in between) are credible there. A part of the budget, KeyReserve, is kept
//     for packets whose GRE sequence number is near;
//   - keeps the keys of the last packets too, each to be used once, so that packets may come in any order
//     within NearKeys and a replay is refused.
//
// The 12-bit count says where a packet is only modulo 4096. The GRE sequence number that carried it says the
// rest: between two packets of the same sender, the count can't have advanced by more than the sequence
// number. After a loss of more than 4096 packets the true distance is found that way.
//
// A sender that has lost more than KeyBudget packets and goes on sending more than KeyBudget packets a second
// can't be caught up with until it pauses; it is held off, not followed.
//
// # Stateful
//
// One RC4 stream runs through the packets, so a lost one stops the receiver until a packet with the flushed bit.
// Rekeying is that of Linux's ppp_mppe, which changes the key on every flushed packet; RFC 3078 section 8.2
// re-initialises with the current one, and a flushed packet can itself be lost. The receiver tries these
// candidates and takes the one that is credible. An early packet can't be verified in this mode.
package mppe
