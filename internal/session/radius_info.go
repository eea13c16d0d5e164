package session

import (
	"context"
	"fmt"
	"slices"
	"time"

	"concentrator/internal/authz/radius"
	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// Attribute is one RADIUS attribute as text, secrets masked.
type Attribute struct{ Name, Value string }

// LoginTrace is how the verdict on a login came about. The zero LoginTrace is that of a login that no RADIUS server was
// asked about.
type LoginTrace struct {
	Server   string        // full resource name of the RADIUS server that answered last; empty: none did
	RTT      time.Duration // from its last request to its answer
	Sent     []Attribute   // in order
	Received []Attribute   // in order
}

// RadiusState says whether a RADIUS server answers.
type RadiusState string

// The states of a RADIUS server.
const (
	RadiusUnknown RadiusState = "UNKNOWN" // nothing was asked yet
	RadiusAlive   RadiusState = "ALIVE"
	RadiusDead    RadiusState = "DEAD" // it is asked last, until a probe is answered or its dead time is over
)

// RadiusHealth is what is known of a RADIUS server.
type RadiusHealth struct {
	State       RadiusState
	Since       time.Time     // of the state; zero: not known
	RTT         time.Duration // smoothed; 0: nothing was answered yet
	Outstanding int           // requests under way
	LastError   string        // why the last request that failed did; empty: none did
	Requests    uint64        // new requests, retries not counted
	Retries     uint64        // packets sent again
	Timeouts    uint64        // requests that nothing answered
	Dropped     uint64        // answers that were no answer: forged, late, malformed
}

// RadiusTest is a question to one RADIUS server, to see whether it works.
type RadiusTest struct {
	User     string            // empty: only reachability is tested
	Password tenant.Secret     // of the user
	Method   tenant.AuthMethod // PAP, CHAP or MSCHAPV2; empty: PAP
}

// SecretCheck is what an answer says about a shared secret.
type SecretCheck string

// What can be said of a secret.
const (
	SecretUnknown SecretCheck = "UNKNOWN" // nothing came back: an unknown client and a wrong secret look alike
	SecretRight   SecretCheck = "RIGHT"
	SecretWrong   SecretCheck = "MISMATCH"
)

// SignatureCheck is what a server's answer had as its Message-Authenticator.
type SignatureCheck string

// What a Message-Authenticator can be.
const (
	SignatureUnknown SignatureCheck = "NONE" // nothing came back
	SignatureSigned  SignatureCheck = "SIGNED"
	SignatureMissing SignatureCheck = "UNSIGNED"
	SignatureWrong   SignatureCheck = "WRONG"
)

// RadiusTestResult is what came of a RadiusTest.
type RadiusTestResult struct {
	Reachable            bool // something came back from the server
	Secret               SecretCheck
	MessageAuthenticator SignatureCheck
	RTT                  time.Duration // of the answer; 0: none
	StatusServer         bool          // it answers Status-Server, RFC 5997
	Accepted             *bool         // the user was let in; nil: no user was asked about, or nobody decided
	Reason               tenant.Reason // why not; empty: accepted, or not asked
	Detail               string        // one sentence for operators
	Message              string        // Reply-Message: what the user would see
	Attributes           []Attribute   // of the answer, secrets masked
}

// TestRadiusServer asks one RADIUS server and says how it answered; that it did not is no error. It blocks until the
// server has answered, or all tries are over, or ctx ends.
func (m *Manager) TestRadiusServer(ctx context.Context, name string, t RadiusTest) (RadiusTestResult, error) {
	if err := m.syncRadius(); err != nil {
		return RadiusTestResult{}, err
	}
	c, err := m.radiusOf(name)
	if err != nil {
		return RadiusTestResult{}, err
	}
	r, err := c.Test(ctx, radius.TestRequest{Server: name, User: t.User, Password: t.Password, Method: t.Method})
	if err != nil {
		return RadiusTestResult{}, fmt.Errorf("test %s: %w", name, err)
	}
	out := RadiusTestResult{
		Reachable: r.Reachable, Secret: SecretUnknown, MessageAuthenticator: SignatureCheck(r.MessageAuthenticator),
		RTT: r.RTT, StatusServer: r.StatusServer, Accepted: r.Accepted, Reason: r.Reason, Detail: r.Detail, Message: r.Message,
		Attributes: attributes(r.Received),
	}
	switch {
	case r.SecretOK != nil && *r.SecretOK:
		out.Secret = SecretRight
	case r.SecretOK != nil:
		out.Secret = SecretWrong
	}
	if out.MessageAuthenticator == "" {
		out.MessageAuthenticator = SignatureUnknown
	}
	return out, nil
}

// radiusOf returns the client that a RADIUS server belongs to.
func (m *Manager) radiusOf(name string) (*radius.Client, error) {
	m.radiusMu.Lock()
	defer m.radiusMu.Unlock()
	t := m.radius[store.TenantOf(name)]
	switch {
	case t == nil || !slices.ContainsFunc(t.records, func(r *store.RadiusServer) bool { return r.Name == name }):
		return nil, fmt.Errorf("%s: %w", name, store.ErrNotFound)
	case t.client == nil:
		return nil, fmt.Errorf("%s can't be used: %w", name, t.err)
	}
	return t.client, nil
}

// RadiusHealth says how a RADIUS server does; false for one that is not in use.
func (m *Manager) RadiusHealth(name string) (RadiusHealth, bool) {
	c, err := m.radiusOf(name)
	if err != nil {
		return RadiusHealth{}, false
	}
	for _, h := range c.Health() {
		if h.Name == name {
			return healthOf(h), true
		}
	}
	return RadiusHealth{}, false
}

// healthOf is a server's health in the words of the API.
func healthOf(h transport.Health) RadiusHealth {
	states := map[transport.State]RadiusState{transport.Alive: RadiusAlive, transport.Dead: RadiusDead, transport.Unknown: RadiusUnknown}
	out := RadiusHealth{
		State: states[h.State], Since: h.Since, RTT: h.RTT, Outstanding: h.Outstanding, LastError: h.LastError,
	}
	sum := portStats(h)
	out.Requests, out.Retries, out.Timeouts = sum.Requests, sum.Retransmits, sum.NoAnswers
	for _, n := range sum.Drops {
		out.Dropped += n
	}
	return out
}
