package transport

import (
	"errors"
	"net/netip"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/tenant"
)

// Request is a question to a tenant's servers.
type Request struct {
	Purpose Purpose
	Code    radius.Code // AccessRequest, AccountingRequest or StatusServer

	// Build makes the packet's attributes. It is called anew for each server and for each identifier that the request comes
	// to have, since ciphers depend on secret and authenticator and Acct-Delay-Time on the time; a retransmission is the
	// same octets again. It must not sign: code, identifier, authenticator, secret and Message-Authenticator are the
	// transport's to set. An error ends the request. It is called on Exchange's goroutine and must not block.
	Build func(t Target) (*radius.Packet, error)

	Server string // ask only this one, dead or not: it keeps a conversation's state, or is to be tested; "": all in order
	Tries  int    // at most this many datagrams to each server; 0: as configured
	Signed bool   // drop replies without a Message-Authenticator whatever the mode is, as EAP wants: RFC 3579 section 3.2
}

// Target is the server and the place in its identifiers that a packet is made for.
type Target struct {
	Server        string                        // its name
	Secret        tenant.Secret                 // to encrypt with
	Authenticator [packet.AuthenticatorLen]byte // to encrypt with; zero for Accounting-Requests, whose is computed
	LocalAddr     netip.Addr                    // our address towards the server; zero: not known
	NASIdentifier string                        // as configured; may be empty
	ID            byte                          // the Identifier
}

// Reply is a genuine answer.
type Reply struct {
	Server        string
	Packet        []byte                        // exactly Length octets, all digests right; the receiver's own
	Secret        tenant.Secret                 // the one that it is signed with, and its attributes are encrypted with
	Authenticator [packet.AuthenticatorLen]byte // the request's, as sent
	Signed        bool                          // it has a Message-Authenticator
	RTT           time.Duration                 // from the last datagram sent to the answer
	Sent          []byte                        // the request as signed
}

// NoAnswer is the error of Exchange.
type NoAnswer struct {
	Reason tenant.Reason // RADIUS_TIMEOUT or RADIUS_NO_MESSAGE_AUTHENTICATOR
	Detail string        // for operators: every server that was asked and what came of it
	Err    error         // the cause, where there is one: that of the context, ErrClosed, what Build said
}

// Error implements error.
func (e *NoAnswer) Error() string { return "radius: " + e.Detail }

// Unwrap gives the cause to errors.Is and errors.As.
func (e *NoAnswer) Unwrap() error { return e.Err }

// ErrClosed is the cause where Close ended a request.
var ErrClosed = errors.New("radius: transport is closed")

// ErrNoServer is the cause where no server is configured for the request's purpose, or none of the name it gives.
var ErrNoServer = errors.New("radius: no such server is configured")
