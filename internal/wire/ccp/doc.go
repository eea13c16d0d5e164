// Package ccp is the codec of the Compression Control Protocol as far as MPPE needs it (RFC 1962, RFC 3078 section 2).
//
// It is pure: it owns no state, starts no goroutine and does no I/O. Used by internal/ppp and by clients in tests.
package ccp
