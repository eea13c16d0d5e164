// Package esphdr is what ESP looks like on the wire, but for its cryptography: the header of RFC 4303 section 2, what may
// come to UDP port 4500 (RFC 3948 section 2), and the algorithms with their lengths and names.
//
// It owns no state. IKE names by it what it negotiated, dataplane/esp reads and writes by it, session computes the MTU by
// it; each calls it on its own goroutines, it starts none.
package esphdr
