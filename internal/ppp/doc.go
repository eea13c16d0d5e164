// Package ppp runs one PPP link from the first LCP Configure-Request to the last Terminate-Ack: LCP, authentication by
// PAP, CHAP, MS-CHAPv2 or EAP, CCP with MPPE, and IPCP. Our side is the authenticator and the network server. Of EAP it
// passes the packets on to its owner, who knows a server for the methods.
//
// It owns the state of the link and nothing else. A Link belongs to one goroutine of its owner (the session), which
// hands it control packets and the time, and gets frames and questions back through its Handler. The package is pure: it
// starts no goroutine, reads no clock, takes no lock and does no I/O; Deadline says when Tick is wanted. It never decides
// who may log in and never touches a key.
//
// RFC 1661 (PPP and LCP), 1570 (Identification), 1334 (PAP), 1994 (CHAP), 2759 (MS-CHAPv2), 3748 (EAP, as a pass-through
// authenticator), 1962 and 3078 (CCP and MPPE), 1332 and 1877 (IPCP). The option negotiation automaton is in the package
// automaton.
//
// How a login goes: link.go holds the Link and the order of phases (Link.step), lcp.go, auth.go with chap.go, pap.go and
// eap.go, ccp.go and ipcp.go one phase each, echo.go the keepalive.
package ppp
