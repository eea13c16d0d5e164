// Package ike holds the messages of ISAKMP and IKEv1: RFC 2408 (messages and payloads), RFC 2407 (the IPsec domain of
// interpretation), RFC 2409 (attributes), RFC 3947 and its drafts (NAT traversal), RFC 3706 (dead peer detection) and
// Microsoft's fragments ([MS-IKEE] section 2.2.3).
//
// It parses and builds messages in the clear; keys, ciphers and hashes are in internal/ike. It owns no state, does no I/O
// and starts no goroutine. internal/ike calls it, and the client side in internal/simclient through that.
//
// ParseMessage checks every length once, so walking the result can't fail later, and bounds the number of everything that
// a sender repeats: payloads, proposals, transforms and attributes. What a parser returns borrows the octets that it was
// given. Reserved octets are ignored when read, as Windows and racoon use some, and zero when written. The marker of four
// zero octets that stands before a message on port 4500 (RFC 3948 section 2.2) is not part of a message.
package ike
