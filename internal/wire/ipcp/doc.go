// Package ipcp is the codec of the IP Control Protocol's options (RFC 1332, and RFC 1877 for name servers).
//
// It is pure: it owns no state, starts no goroutine and does no I/O. Used by internal/ppp and by clients in tests.
package ipcp
