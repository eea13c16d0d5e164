// Package gre is the codec of the enhanced GRE header that PPTP puts before every PPP frame (RFC 2637
// section 4.1).
//
// It owns no state: dataplane/gre keeps sequence numbers and acknowledgements. The shards and the simulated
// client call it, on their own goroutines; it starts none.
package gre
