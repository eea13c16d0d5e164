package ppp

import (
	"errors"
	"slices"
	"testing"
	"time"

	server "concentrator/internal/ppp"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/mschap"
)

// change is the authenticator when a password is changed.
func (h *host) change(r server.AuthRequest) server.Decision {
	no := server.Decision{Serial: r.Serial, Reason: tenant.ReasonWrongCredentials, Message: "not changed"}
	if len(r.NewPassword) != mschap.EncryptedPasswordLen+mschap.EncryptedHashLen || h.noChange {
		return no
	}
	old := mschap.NTPasswordHash(h.password)
	c := mschap.ChangePassword{
		EncryptedPassword: [mschap.EncryptedPasswordLen]byte(r.NewPassword),
		EncryptedHash:     [mschap.EncryptedHashLen]byte(r.NewPassword[mschap.EncryptedPasswordLen:]),
	}
	password, err := mschap.DecryptNewPassword(c.EncryptedPassword, old)
	if err != nil || !c.CheckOldHash(old, mschap.NTPasswordHash(password)) {
		return no
	}
	h.password, h.expired = password, false
	r.NewPassword = nil
	return h.check(r)
}

// TestChangePassword: MS-CHAPv2 replaces an expired password, RFC 2759 section 7.
func TestChangePassword(t *testing.T) {
	for _, c := range []struct {
		name     string
		new      string
		noChange bool
		open     bool
		refusals int
	}{
		{"changed", "Neues Paßwort \U0001F511", false, true, 1},
		{"no new one", "", false, false, 1},
		{"not taken", "x", true, false, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Pppd("alice", password)
			cfg.NewPassword = c.new
			w := newWorld(t, cfg, tenant.MPPERequired, nil)
			w.host.expired, w.host.noChange = true, c.noChange
			w.start(10 * time.Second)
			if len(w.me.refusals) != c.refusals || w.me.refusals[0].Code != mschap.ErrorPasswordExpired {
				t.Fatalf("refusals %q", w.me.refusals)
			}
			if !c.open {
				var e *AuthError
				if !errors.As(w.me.err, &e) || w.host.password != password {
					t.Errorf("%v, the server's password is %q", w.me.err, w.host.password)
				}
				return
			}
			w.wantOpen()
			w.wantKeys()
			if w.host.password != c.new || !slices.Contains(w.me.log, "refused") {
				t.Errorf("the server's password is %q: %q", w.host.password, w.me.log)
			}
			// The next login is with the new one.
			w.client.Renegotiate(w.now)
			w.run(10 * time.Second)
			w.wantOpen()
			if len(w.me.refusals) != 1 {
				t.Errorf("refusals %q", w.me.refusals)
			}
		})
	}
}
