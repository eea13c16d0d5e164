package radius

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz"
	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/tenant"
)

// TestAccountingName: accounting calls the user as the server was asked, or as the server says.
func TestAccountingName(t *testing.T) {
	var answer atomic.Pointer[answerOf]
	answer.Store(&answerOf{code: radius.CodeAccessAccept})
	f := startFake(t, func(q query) { q.send(answer.Load().to(q)) })
	c := start(t, f, nil)
	r := eapRequest(identity)
	r.User, r.PeerName = "alice", "alice@acme.example"
	if v, err := ask(t, c, r); err != nil || v.UserName != r.PeerName {
		t.Errorf("EAP: %q, %v", v.UserName, err)
	}
	p := papRequest()
	p.User, p.PeerName = "alice", "alice@acme.example"
	if v, err := ask(t, c, p); err != nil || v.UserName != "" {
		t.Errorf("PAP: %q, %v", v.UserName, err)
	}
	answer.Store(&answerOf{code: radius.CodeAccessAccept, attrs: attr(1, []byte("contract-7")...)})
	if v, err := ask(t, c, r); err != nil || v.UserName != "contract-7" {
		t.Errorf("by the server: %q, %v", v.UserName, err)
	}
}

// TestEAPUnsigned: an answer to EAP has a Message-Authenticator, whatever the server's mode is. One without is dropped, and
// the true one that follows is taken.
func TestEAPUnsigned(t *testing.T) {
	f := startFake(t, func(q query) { q.send(answerOf{code: radius.CodeAccessAccept, unsigned: true}.to(q)) })
	for _, mode := range []string{transport.ModeOff, transport.ModeAuto} {
		c := start(t, f, func(c *transport.ServerConfig) {
			c.MessageAuthenticator, c.Timeout, c.Tries = mode, 100*time.Millisecond, 1
		})
		v, err := ask(t, c, eapRequest(identity))
		none := (*authz.NoAnswerError)(nil)
		if !errors.As(err, &none) || none.Reason != tenant.ReasonRadiusNoMessageAuthenticator || v.Deny != none.Reason {
			t.Errorf("%s: %+v, %v", mode, v, err)
		}
		if v, err := ask(t, c, papRequest()); err != nil || v.Deny != "" {
			t.Errorf("%s, PAP: %+v, %v", mode, v, err)
		}
	}
	f = startFake(t, func(q query) {
		q.send(answerOf{code: radius.CodeAccessReject, unsigned: true}.to(q))
		q.send(answerOf{code: radius.CodeAccessAccept}.to(q))
	})
	for _, mode := range []string{transport.ModeOff, transport.ModeAuto} {
		c := start(t, f, func(c *transport.ServerConfig) { c.MessageAuthenticator = mode })
		if v, err := ask(t, c, eapRequest(identity)); err != nil || v.Deny != "" {
			t.Errorf("%s, forged and true: %+v, %v", mode, v, err)
		}
	}
}
