// Package eap is the peer's half of EAP (RFC 3748), for in-process tests and for load: Identity, Notification, Nak,
// MD5-Challenge, EAP-MSCHAPv2 (draft-kamath-pppext-eap-mschapv2), EAP-TLS (RFC 5216 and 9190) and PEAPv0 with EAP-MSCHAPv2
// inside (draft-kamath-pppext-peapv0, as FreeRADIUS and Windows speak it).
//
// Peer is the protocol and nothing else: packets of the server go in, packets, refusals and the end come out. It reads no
// clock: whoever asks repeats (RFC 3748 section 4.3), and a repeated request gets the same answer. internal/simclient/ppp
// calls it for a login.
//
// With EAP-TLS and PEAP a goroutine runs the handshake of crypto/tls, which can't be left half way. It and the Peer never
// run at the same time, so a Peer belongs to one goroutine and is as predictable as the others. Close ends it.
package eap
