//go:build interop

package interop

import (
	"strings"
	"testing"
	"time"
)

// TestKilledClient cuts a client's power: with an LCP echo every 2 s, two of them unanswered, its session is gone after 6 s,
// and its address, the only one of the pool, goes to the next.
func TestKilledClient(t *testing.T) {
	guests := borrow(t, 2)
	first := Dial{Server: "198.51.100.7", User: "alice", Password: "wonder-1", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128}
	second := first
	second.User, second.Password = "bob", "builder-2"

	link := dial(t, guests[0], first)
	session := world.daemon.OpenSession(t, "mortal", link)
	if r := refused(t, guests[1], second); !strings.Contains(r.Log, "authentication failed") {
		t.Errorf("the client was not told at its login: %v", r)
	}
	if login := world.daemon.LastLogin(t, guests[1]); login.Reason != "POOL_EXHAUSTED" {
		t.Errorf("ctl login list shows %+v, want POOL_EXHAUSTED", login)
	}

	guests[0].PowerCut()
	t.Logf("gone after %v", world.daemon.SessionGone(t, session, 6*time.Second))
	if n := world.daemon.Leased(t, "mortal", "main"); n != 0 {
		t.Errorf("%d addresses are leased, want none", n)
	}
	if again := dial(t, guests[1], second); again.Local != link.Local {
		t.Errorf("the next client has the address %s, want the free %s", again.Local, link.Local)
	}
}

// TestPowerCut cuts a client's power and boots it again at once, with the same outer address: it is back in, and moves
// packets, within 10 s, though the daemon does not know yet that its old session is dead.
func TestPowerCut(t *testing.T) {
	g := borrow(t, 1)[0]
	alice := Dial{Server: "198.51.100.1", User: "alice", Password: "wonder-1", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128}
	old := dial(t, g, alice)
	old.Route(t, innerHost)
	if p := old.Ping(t, innerHost, 3, 50*time.Millisecond); p.Received < 3 {
		t.Fatalf("before the power cut: %+v", p)
	}
	world.daemon.OpenSession(t, "acme", old)

	cut := time.Now()
	g.PowerCut()
	if err := g.Boot(); err != nil {
		t.Fatal(err)
	}
	booted := time.Since(cut)
	link := dial(t, g, alice)
	link.Route(t, innerHost)
	pings := link.Ping(t, innerHost, 1, 200*time.Millisecond)
	back := time.Since(cut)
	t.Logf("booted after %v, back in after %v", booted, back)
	if pings.Received < 1 {
		t.Error("no ping came back")
	}
	if most := rebornWithin + beyondUsual(booted); back > most {
		t.Errorf("back in after %v, want at most %v", back, most)
	}
	world.daemon.OpenSession(t, "acme", link)
}
