package authz

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"concentrator/internal/tenant"
)

// Authenticator decides logins. Implementations are safe for concurrent use.
type Authenticator interface {
	// Authenticate answers one attempt. Verdict.Deny is an answer; an error means that there was none, wraps ErrNoAnswer,
	// and is usually a *NoAnswerError. The Verdict that comes with an error is a refusal too, with the same reason and
	// detail, so that a caller with nobody else to ask can pass it on, and a caller that forgets the error lets nobody in.
	//
	// It may block on the network until ctx ends. It keeps nothing of r after it returns.
	Authenticate(ctx context.Context, r Request) (Verdict, error)
}

// ErrNoAnswer is wrapped by every error of Authenticate: nobody decided, so another backend may be asked.
var ErrNoAnswer = errors.New("authz: no answer")

// NoAnswerError says why there was no verdict, in the words of the API.
type NoAnswerError struct {
	Reason tenant.Reason // what to refuse the login with
	Detail string        // one sentence for operators
	Err    error         // the cause, may be nil
}

// Error implements error.
func (e *NoAnswerError) Error() string { return ErrNoAnswer.Error() + ": " + e.Detail }

// Unwrap gives ErrNoAnswer and the cause to errors.Is and errors.As.
func (e *NoAnswerError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrNoAnswer}
	}
	return []error{ErrNoAnswer, e.Err}
}

// NoAnswer returns what Authenticate returns when nobody decided: a refusal, and the error that says so.
func NoAnswer(reason tenant.Reason, detail string, cause error) (Verdict, error) {
	return Verdict{Deny: reason, Detail: detail}, &NoAnswerError{Reason: reason, Detail: detail, Err: cause}
}

// Request is one authentication attempt of one peer.
type Request struct {
	Tenant   string // ID of the tenant, for example "acme"
	User     string // the login after realm handling: what a backend looks up
	PeerName string // the login exactly as the peer sent it: MS-CHAPv2 hashes it
	Protocol tenant.Protocol

	ClientAddress   netip.Addr // the peer's outer address
	ListenerAddress netip.Addr // our outer address
	SessionID       string     // Acct-Session-Id, also in the later accounting
	NASPort         uint32     // any number that is the session's own while it lives

	Method    tenant.AuthMethod
	ID        byte          // identifier of the CHAP Challenge and its Response
	Challenge []byte        // CHAP: the value that we sent; 16 octets for MS-CHAPv2
	Response  []byte        // CHAP: 16 octets, RFC 1994 section 4.1; MS-CHAPv2: 49 octets, RFC 2759 section 4
	Password  tenant.Secret // PAP

	MPPEWanted bool // the session will need MPPE keys
}

// Verdict is the answer to a Request. The zero Verdict lets the peer in with the tenant's defaults.
type Verdict struct {
	Deny    tenant.Reason // empty: let in
	Detail  string        // for operators; may be set on success as well, for what was asked for and is not applied
	Message string        // for the user, printable, may be empty
	Retry   bool          // refused, but the peer may try again on this link (MS-CHAPv2 R=1)
	Success string        // MS-CHAPv2, let in: the authenticator response, "S=" and 40 hex digits

	Keys        tenant.KeyPair    // MPPE start keys; empty where the method or the server gives none
	MPPEPolicy  tenant.MPPEPolicy // a server's wish for this session; empty: the profile decides
	MPPEKeyBits []int             // the key lengths a server allows, from 128, 56, 40; nil: the profile decides

	Address netip.Addr     // zero: from a pool
	Pool    string         // a pool other than the profile's
	Profile string         // a profile other than the tenant's default
	Routes  []netip.Prefix // networks behind the peer
	MTU     int            // largest inner packet in octets; 0: the profile decides
	DNS     []netip.Addr   // instead of the profile's, if any; up to 2 in order
	WINS    []netip.Addr

	MaxSessions    int           // of this user; 0: the tenant decides
	SessionTimeout time.Duration // 0: the profile decides
	IdleTimeout    time.Duration
	UpBps, DownBps *uint64  // rate of inner packets from and to the peer, bit/s; nil: the profile decides; 0: no limit
	Class          [][]byte // RFC 2865 section 5.25: to be sent back in accounting, unread and in order
}
