// Package l2tp is the LAC side of L2TP version 2, RFC 2661, for in-process tests and for load.
//
// Machine is the protocol and nothing else: messages, wishes and the time go in, messages, events and the next deadline
// come out, by the tables of RFC 2661 sections 7.2.1 and 7.4.1. It starts no goroutine. Client puts a mutex and a timer
// around it and offers it as blocking calls; it starts none either, but the timer's. The transport is the caller's:
// messages leave through a function and come in through Client.Receive. Windows, MacOS, Android and Xl2tpd make
// configurations that behave as those clients do. Tests of internal/tunnel/l2tp and cmd/loadgen use it.
//
// It delivers reliably by code of its own, so that client and server can't share a mistake.
package l2tp
