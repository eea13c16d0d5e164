// Package load logs simulated clients in over real sockets, by the hundred, and keeps them: the engine of cmd/loadgen.
//
// A Dialer makes the clients of package plain and ipsec and gives each its sockets: a UDP socket of its own with L2TP and
// IPsec, a TCP connection with PPTP, and one raw socket that all share for GRE and one for ESP. One goroutine, the poller's,
// waits for all of them and hands to each client what is for it; a client that is logged in costs no goroutine. A Load logs
// in by a bounded number of goroutines, watches, hangs up, and counts: what `loadgen login` and `hold` are.
//
// It knows what a client sees, and nothing of a server's inside, so it works against any server (RFC 2637, 2661, 3193).
package load
