// Package pap is the codec of the Password Authentication Protocol (RFC 1334 section 2).
//
// It is pure: it owns no state, starts no goroutine and does no I/O. Used by internal/ppp and by clients in tests.
package pap
