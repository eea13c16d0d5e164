// Package plain is whole clients without IPsec in one process: PPTP with GRE and MPPE, and L2TP, each with one call and PPP
// in it. What package ipsec is for L2TP/IPsec, it is for the other two; cmd/loadgen logs in by it by the hundred.
//
// A Client starts no goroutine: its work is done by whoever calls Receive, Octets, Send, Connect or HangUp, and by its one
// timer. The transport is the caller's: octets for TCP, GRE packets and UDP payloads leave through functions and come in
// through methods, so that a socket, a loss or a test can be put between.
//
// The control connections are those of internal/simclient/pptp and l2tp, PPP is internal/simclient/ppp, and GRE, MPPE and
// L2TP's data messages are the data plane's own (RFC 2637, 3078, 2661).
package plain
