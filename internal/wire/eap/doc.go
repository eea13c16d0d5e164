// Package eap is the codec of the Extensible Authentication Protocol (RFC 3748 section 4) and of the methods that a peer
// of ours or of a test may speak: MD5-Challenge, the frame of the TLS methods (RFC 5216 section 3; PEAP has the same) and
// EAP-MSCHAPv2 (draft-kamath-pppext-eap-mschapv2-02, never an RFC).
//
// It is pure: it owns no state, starts no goroutine and does no I/O. Parsers borrow the slice they are given and check
// every length before use; appenders write to the end of the caller's slice. Used by internal/ppp, which passes packets
// through and looks at their headers only, by authz and by clients in tests.
package eap
