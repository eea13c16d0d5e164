// Package lcp is the codec of the Link Control Protocol: option numbers and values, and the packets that no other
// control protocol has (RFC 1661 sections 5 and 6, RFC 1570 for Identification, Time-Remaining and Callback, RFC 1990
// for the multilink options, RFC 1662 for the character map).
//
// It is pure: it owns no state, starts no goroutine and does no I/O. Used by internal/ppp and by clients in tests.
package lcp
