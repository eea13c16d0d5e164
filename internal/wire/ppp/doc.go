// Package ppp holds what all PPP control protocols share on the wire: the frame header, the protocol numbers, the
// packet header and the option list (RFC 1661 sections 2, 5 and 6).
//
// It is pure: it owns no state, starts no goroutine and does no I/O. Parsers borrow the slice they are given and check
// every length before use; appenders write to the end of the caller's slice. Used by the other PPP codecs in wire, by
// internal/ppp and by the dataplane.
package ppp
