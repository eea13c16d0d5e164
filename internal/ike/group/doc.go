// Package group holds the Diffie-Hellman groups of IKEv1: MODP groups 2, 5, 14, 15 and 16 (RFC 2409 section 6, RFC 3526)
// and the NIST curves 19, 20 and 21 (RFC 5903).
//
// internal/ike/ikev1 makes one Private per exchange and asks it once for the shared secret. The package owns no state but
// the groups' constants, which are worked out at the first use of a group, starts no goroutine and does no I/O. A Group
// is safe for concurrent use; a Private belongs to one goroutine at a time.
//
// Everything that touches a private exponent runs in constant time: MODP by filippo.io/bigmod, curves by crypto/ecdh. MODP
// exponents are short, 256 to 320 bits by the strength of the group, as RFC 3526 section 8 allows; a full exponent would
// cost eight times as much and bring nothing. Public values and shared secrets always have the group's full length, with
// leading zeros (RFC 2409 section 5), as both go into hashes.
//
// What a peer sends is checked before it meets a secret: its length, and that it is neither 0, 1, p-1 nor p or more, or
// that the point lies on the curve. The MODP primes are safe primes, so that leaves no small subgroup.
package group
