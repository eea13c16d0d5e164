// Package ppp is the client half of a PPP link, for in-process tests and for load: LCP, a login by PAP, CHAP, MS-CHAPv2 or
// EAP, CCP with MPPE, and IPCP.
//
// Machine is the protocol and nothing else: packets of the server and the time go in, packets, events and the next
// deadline come out. It reads no clock and takes no lock. It starts no goroutine but the one that EAP with TLS needs
// (package eap), which ends with the login or by Close. Config says which client it imitates; Pppd, Windows, MacOS and
// Android are ready-made. Tests of internal/ppp and internal/session and cmd/loadgen use it.
//
// RFC 1661 by the automaton of internal/ppp, which the server uses too; nothing else of the server's is used, so that its
// mistakes are not repeated here. RFC 1334 (PAP), 1994 (CHAP), 2759 (MS-CHAPv2), 3748 (EAP), 3078 and 3079 (MPPE), 1332 and
// 1877 (IPCP). Framing, GRE and data packets are not its business.
package ppp
