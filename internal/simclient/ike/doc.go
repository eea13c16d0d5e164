// Package ike knows how the clients that people have negotiate IKEv1: a Client is one of them as data, what it offers in
// which order, its vendor IDs, identities, lifetimes and numbers. Client.Initiator turns it into what the engine of
// internal/ike/ikev1 needs to behave like it.
//
// It starts no goroutine and sends nothing. internal/simclient/ipsec makes whole clients of it, for in-process tests and
// for load. The tests here replay each client against the engine as responder, by messages that they put together by
// hand, so that client and server can't share a mistake of the engine's. RFC 2407, 2408, 2409, 3706, 3947; [MS-IKEE].
package ike
