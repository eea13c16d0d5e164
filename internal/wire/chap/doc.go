// Package chap is the codec of the Challenge Handshake Authentication Protocol and its MD5 algorithm (RFC 1994).
// The values of MS-CHAPv2 are in package mschap.
//
// It is pure: it owns no state, starts no goroutine and does no I/O. Used by internal/ppp, authz and clients in tests.
package chap
