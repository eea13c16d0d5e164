// Package esp seals and opens ESP packets: one security association and direction each, in place, in the caller's buffer.
//
// An Inbound and an Outbound hold one SA's keys, sequence numbers, replay window and use counts. A shard owns them, and
// so does a simulated client; they belong to one goroutine at a time, there is no lock, no clock and no goroutine, and
// nothing allocates after the constructors.
//
// Packets are given in batches of any SAs (SealBatch, OpenBatch), which go through phases: what must be done before the
// cryptography for all packets, then each kind of cryptography for all packets, then the rest. AES-CBC, and HMAC with SHA-1
// and SHA2-256, are dataplane/multibuf's, which works on several packets at once; GCM, 3DES and the other hashes are the
// standard library's, one packet after the other. What comes out is what the same packets one by one would give: an
// opened packet is looked at twice, before the check values are computed and again when its turn has come, because the
// packets before it may have moved its SA's window or used its SA up. Seal and Open are batches of one.
//
// Packets: RFC 4303, with its extended sequence numbers (appendix A). AES-CBC: RFC 3602; AES-GCM: RFC 4106; 3DES: RFC 2451;
// HMAC: RFC 2403, 2404, 4868. UDP encapsulation (RFC 3948) is the caller's: an SA doesn't know what its packets come in.
package esp
