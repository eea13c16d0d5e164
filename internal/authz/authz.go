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
	// It may block on the network until ctx ends. It keeps nothing of r after it returns, so the caller may clear it. The keys
	// in the Verdict are the caller's, who clears them.
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

// Caller is where a session comes from: what every question and every accounting record about it says.
type Caller struct {
	Tenant    string // ID of the tenant, for example "acme"
	SessionID string // Acct-Session-Id: the session's own for all time
	Protocol  tenant.Protocol

	ClientAddress   netip.Addr // the peer's outer address
	ListenerAddress netip.Addr // our outer address
	NASPort         uint32     // any number that is the session's own while it lives
	TunnelClient    string     // host name that the peer's tunnel gave; may be empty
	TunnelID        string     // our name of the tunnel that carries the session; may be empty
	ClientName      string     // what the peer's PPP called itself in LCP Identification, "MSRAS-0-LAPTOP"; may be empty
	ClientVersion   string     // and its version, "MSRASV5.20"; may be empty
}

// Request is one authentication attempt of one peer, or one further step of it.
type Request struct {
	Caller
	User     string // the login after realm handling: what a backend looks up
	PeerName string // the login exactly as the peer sent it: MS-CHAPv2 hashes it

	Method    tenant.AuthMethod
	ID        byte          // identifier of the CHAP Challenge and its Response
	Challenge []byte        // CHAP: the value that we sent; 16 octets for MS-CHAPv2
	Response  []byte        // CHAP: 16 octets, RFC 1994 section 4.1; MS-CHAPv2: 49 octets, RFC 2759 section 4
	Password  tenant.Secret // PAP
	// NewPassword of MS-CHAPv2 is the Encrypted-Password (516 octets) and the Encrypted-Hash (16 octets) of a
	// Change-Password packet, RFC 2759 section 7, whose Response is made with the new password; nil: no change.
	NewPassword []byte
	EAP         []byte // EAP: the peer's packet, RFC 3748 section 4
	State       any    // of Verdict.Next, where this answers it; nil: a conversation begins

	MTU        int  // octets of the largest PPP frame that the peer takes; 0: not known
	MPPEWanted bool // the session will need MPPE keys
}

// Step is the next turn of a conversation that one question does not end.
type Step struct {
	EAP     []byte        // an EAP Request for the peer, RFC 3748 section 4; its answer is the next Request's EAP
	Timeout time.Duration // how long the peer may take; 0: the caller decides
	State   any           // the backend's own, to be given back in Request.State
}

// Verdict is the answer to a Request. The zero Verdict lets the peer in with the tenant's defaults.
type Verdict struct {
	Deny    tenant.Reason // empty: let in, unless Next is set
	Detail  string        // for operators; may be set on success as well, for what was asked for and is not applied
	Message string        // for the user, printable, may be empty
	Retry   bool          // refused, but the peer may try again on this link (MS-CHAPv2 R=1, PAP with a one-time password)
	Success string        // MS-CHAPv2, let in: the authenticator response, "S=" and 40 hex digits
	// ChangePassword says that the password has expired and the backend takes a new one: the peer may send a
	// Change-Password packet (RFC 2759 section 7). Deny is USER_EXPIRED.
	ChangePassword bool
	Next           *Step  // not nil: neither let in nor refused, the peer is to be asked further
	EAP            []byte // the EAP Success or Failure that goes with the decision; nil: the caller makes one
	Restart        bool   // refused, but only because the server of the conversation is gone: EAP may begin anew, at once
	Trace          Trace

	Keys        tenant.KeyPair    // MPPE start keys; empty where the method or the server gives none
	MPPEPolicy  tenant.MPPEPolicy // a server's wish for this session; empty: the profile decides
	MPPEKeyBits []int             // the key lengths a server allows, from 128, 56, 40; nil: the profile decides

	UserName string         // what the user is called in accounting; empty: as in the Request
	Domain   string         // the Windows domain that decided (MS-CHAP-Domain); may be empty
	Address  netip.Addr     // zero: from a pool
	Pool     string         // a pool other than the profile's
	Profile  string         // a profile other than the tenant's default
	Routes   []netip.Prefix // networks behind the peer
	ACL      string         // the last part of an ACL's name, instead of the profile's; empty: the profile's
	MTU      int            // largest inner packet in octets; 0: the profile decides
	DNS      []netip.Addr   // instead of the profile's, if any; up to 2 in order
	WINS     []netip.Addr

	MaxSessions     int           // of this user; 0: the tenant decides
	SessionTimeout  time.Duration // 0: the profile decides
	IdleTimeout     time.Duration
	InterimInterval time.Duration // between interim accounting records; 0: the profile decides
	UpBps, DownBps  *uint64       // rate of inner packets from and to the peer, bit/s; nil: the profile decides; 0: no limit
	Class           [][]byte      // RFC 2865 section 5.25: to be sent back in accounting, unread and in order
}

// Trace is how a verdict came about, for the question "why?". Secrets are masked.
type Trace struct {
	Server   string        // resource name of the server that answered; empty: no server was asked, or none answered
	RTT      time.Duration // from its last request to its answer
	Sent     []Attribute   // in order
	Received []Attribute   // in order
}

// Attribute is one attribute of a request or an answer as text.
type Attribute struct{ Name, Value string }
