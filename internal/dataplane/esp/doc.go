// Package esp seals and opens ESP packets: one security association and direction each, in place, in the caller's buffer.
//
// An Inbound and an Outbound hold one SA's keys, sequence numbers, replay window and use counts. A shard owns them, and
// so does a simulated client; they belong to one goroutine at a time, there is no lock, no clock and no goroutine, and
// nothing allocates after the constructors. Packets are given in batches of any SAs (SealBatch, OpenBatch), so that code
// that works on several at once can stand behind the same call; what is there now takes them one by one with the
// standard library.
//
// Packets: RFC 4303, with its extended sequence numbers (appendix A). AES-CBC: RFC 3602; AES-GCM: RFC 4106; 3DES: RFC 2451;
// HMAC: RFC 2403, 2404, 4868. UDP encapsulation (RFC 3948) is the caller's: an SA doesn't know what its packets come in.
package esp
