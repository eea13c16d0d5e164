// Package mschap holds the values and functions of MS-CHAPv2 (RFC 2759), its change of an expired password included, and
// the MPPE start keys that follow from it (RFC 3079 section 3).
//
// It is pure: it owns no state, starts no goroutine and does no I/O. Used by internal/ppp for the wire forms, by authz
// for the check and by clients in tests. MD4 and DES are what the protocol is made of; nothing else may use them.
// MS-CHAPv1 is not here.
package mschap
