package session

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"concentrator/internal/authz"
	"concentrator/internal/authz/radius/coa"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// addACL makes an ACL that denies all that comes from the client.
func (w *world) addACL(name string) {
	create(w, &store.ACL{Meta: named(name), Rules: []tenant.ACLRule{{Action: tenant.ACLDeny, Direction: tenant.ACLUp, Protocol: "any"}}})
}

// TestChange: a CoA-Request changes all that it says of a live session, or nothing.
func TestChange(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		w.addACL(acme + "/acls/quiet")
		w.start()
		cl := w.login(simppp.Windows(alice, password))
		host := dynamic{w.m}
		sessions := host.Sessions("acme")
		if len(sessions) != 1 || sessions[0].User != alice || sessions[0].Address != netip.MustParseAddr("10.7.0.2") ||
			sessions[0].CallingStation != clientFrom || sessions[0].CalledStation != mainAddr {
			t.Fatalf("the sessions of acme: %+v", sessions)
		}
		if other := host.Sessions("other"); len(other) != 0 {
			t.Errorf("the sessions of another tenant: %+v", other)
		}
		id := sessions[0].ID

		before := cl.fc.attached()
		up, down, none, quiet := uint64(64_000), uint64(128_000), "absent", "quiet"
		err := host.Change(t.Context(), id, authz.Change{UpBps: &up, ACL: &none})
		if no := (*coa.Refusal)(nil); !errors.As(err, &no) || no.Cause != coa.InvalidValue {
			t.Errorf("an ACL that does not exist: %v", err)
		}
		if got := cl.fc.attached(); got.UpBps != before.UpBps || got.ACL != nil {
			t.Errorf("a refused change has changed the session to %+v", got)
		}

		routes := []netip.Prefix{netip.MustParsePrefix("172.30.0.0/24")}
		timeout, idle, interim, class := time.Hour, 10*time.Minute, 2*time.Minute, [][]byte{[]byte("gold")}
		err = host.Change(t.Context(), id, authz.Change{
			UpBps: &up, DownBps: &down, ACL: &quiet, Routes: &routes,
			SessionTimeout: &timeout, IdleTimeout: &idle, InterimInterval: &interim, Class: &class,
		})
		if err != nil {
			t.Fatal(err)
		}
		got := cl.fc.attached()
		if got.UpBps != up || got.DownBps != down || got.ACL == nil || !slices.Equal(got.Routes, routes) {
			t.Errorf("the shard has %+v", got)
		}
		if i := w.session(acme); i.RateLimit != (tenant.RateLimit{UpBps: up, DownBps: down}) || i.ACL != acme+"/acls/quiet" {
			t.Errorf("the API shows %+v", i)
		}
		if got := w.ledger.of("update"); !slices.Equal(got, []string{`update alice class ["gold"] interim 2m0s`}) {
			t.Errorf("accounting was told %q", got)
		}
		time.Sleep(5 * time.Minute)
		if n := len(w.ledger.of("interim")); n < 2 {
			t.Errorf("%d interims in five minutes, want one in two", n)
		}

		open := ""
		if err := host.Change(t.Context(), id, authz.Change{ACL: &open}); err != nil {
			t.Fatal(err)
		}
		if cl.fc.attached().ACL != nil {
			t.Error("the ACL was not taken away")
		}
		past := 6 * time.Minute // from the session's begin
		if err := host.Change(t.Context(), id, authz.Change{SessionTimeout: &past}); err != nil {
			t.Fatal(err)
		}
		w.until("the session's time is over", func() bool { return w.m.slots.slots() == 0 })
		if got := w.ledger.of("stop"); !slices.Equal(got, []string{"stop alice 0 SESSION_TIMEOUT"}) {
			t.Errorf("accounting was told %q", got)
		}
		for what, err := range map[string]error{
			"change": host.Change(t.Context(), id, authz.Change{UpBps: &up}), "disconnect": host.Disconnect(t.Context(), id),
		} {
			if !errors.Is(err, coa.ErrNotFound) {
				t.Errorf("%s of a session that is gone: %v", what, err)
			}
		}
	})
}

// TestDisconnectRequest: the client is told, and the reason is the request's.
func TestDisconnectRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		cl := w.login(simppp.Windows(alice, password))
		host := dynamic{w.m}
		if err := host.Disconnect(t.Context(), host.Sessions("acme")[0].ID); err != nil {
			t.Fatal(err)
		}
		w.until("the client is gone", cl.ended)
		w.until("the account is closed", func() bool { return len(w.ledger.of("stop alice 0 COA_DISCONNECT")) == 1 })
	})
}

// TestACL: the profile's ACL, or that of the verdict, is the session's, and follows its record. One that does not exist
// keeps the login out.
func TestACL(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		w.addACL(acme + "/acls/quiet")
		alter(w, acme+"/profiles/default", func(p *store.Profile) { p.ACL = acme + "/acls/quiet" })
		w.start()
		cl := w.login(simppp.Windows(alice, password))
		first := cl.fc.attached().ACL
		if first == nil || w.session(acme).ACL != acme+"/acls/quiet" {
			t.Fatalf("attached with %+v, shown %+v", cl.fc.attached(), w.session(acme))
		}
		alter(w, acme+"/acls/quiet", func(a *store.ACL) { a.Rules[0].Protocol = "icmp" })
		w.settle()
		if second := cl.fc.attached().ACL; second == nil || second == first {
			t.Error("the session is under the old rules")
		}
		remove[store.ACL](w, acme+"/acls/quiet")
		w.settle()
		if cl.fc.attached().ACL == nil {
			t.Error("the session lost its rules with the record")
		}
		late := w.dial(simppp.Windows(alice, password))
		w.wantRefused(late)
	})
}
