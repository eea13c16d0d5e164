// Package keymat derives the keys of IKEv1 and works with them: the prf, SKEYID and what follows from it, the cipher of
// phase 1 with its chain of IVs, the hashes that authenticate both phases, the keys of ESP, and the NAT discovery hash.
// RFC 2409 section 5 and appendix B, RFC 3947 section 3.2, RFC 4754.
//
// internal/ike/ikev1 calls it, as either side: it fills a Phase1 while messages go to and fro, asks it for the Keys with
// a pre-shared key or with signatures, and keeps those as long as the ISAKMP SA lives. The package knows nothing of
// messages or payloads: it takes and gives the octets that RFC 2409 names (SAi_b, IDii_b, Ni_b and so on).
//
// It is pure: no state, no goroutine, no I/O, no clock. A Hash, a Cipher and, until they are wiped, Keys are safe for
// concurrent use. An IV is a value: a step returns the next one, and whoever keeps it decides when to go on, so that
// neither a retransmission nor a message that proves false moves the chain.
//
// Secrets are tenant.Secret. Values in between are cleared, those in hashes and ciphers of the standard library too. Hashes
// are compared by Equal, in constant time.
package keymat
