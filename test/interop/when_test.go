//go:build interop

package interop

import (
	"strings"
	"testing"
	"time"
)

// TestAllowedHours has a client come outside of its profile's hours, and within them.
func TestAllowedHours(t *testing.T) {
	t.Parallel()
	guest := borrow(t, 1)[0]
	alice := policyDial("alice@hours.example", "wonder-1")
	// A window of the daemon's clock, which is this machine's.
	allow := func(from, to time.Duration) {
		t.Helper()
		now := time.Now().UTC()
		window := now.Add(from).Format("15:04") + "-" + now.Add(to).Format("15:04")
		if _, err := world.daemon.Ctl(t.Context(), "profile", "update", "default", "--tenant", "hours", "--allowed-hours", window); err != nil {
			t.Fatal(err)
		}
	}

	allow(time.Hour, 2*time.Hour)
	if r := refused(t, guest, alice); !strings.Contains(r.Log, "authentication failed") {
		t.Errorf("the client was not told at its login: %v", r)
	}
	if l := world.daemon.LastLogin(t, guest); l.Reason != "USER_DISABLED" || l.Stage != "AUTHENTICATION" {
		t.Errorf("ctl login list shows %+v, want USER_DISABLED", l)
	}
	allow(-time.Hour, time.Hour)
	link := dial(t, guest, alice)
	link.Route(t, innerHost)
	if p := link.Ping(t, innerHost, 3, 50*time.Millisecond); p.Received < 3 {
		t.Errorf("within its hours: %+v", p)
	}
	link.HangUp(t)
}

// TestLoginRate has a client come while others log in as often as its tenant may, and when they have stopped.
func TestLoginRate(t *testing.T) {
	t.Parallel()
	guest := borrow(t, 1)[0]
	alice := policyDial("alice@slow.example", "wonder-1")
	// Twenty times what the tenant may: now and then the client is the one that gets in, but not three times.
	gen := StartGen(t, "login", "bob@slow.example", "--server", policyServer, "--password", "builder-2",
		"--count", "400", "--rate", "20", "--parallel", "8")
	time.Sleep(2 * time.Second) // until the first second's share is used up
	kept := ""
	for range 3 {
		link, err := guest.Dial(t.Context(), alice)
		if err == nil {
			link.HangUp(t)
			continue
		}
		if kept = world.daemon.LastLogin(t, guest).Reason; kept != "TENANT_LIMIT" {
			t.Fatalf("refused with %s: %v", kept, err)
		}
		break
	}
	if kept == "" {
		t.Error("the client was let in three times of three")
	}
	gen.Kill()
	time.Sleep(2 * time.Second) // until there is a share again
	link := dial(t, guest, alice)
	link.Route(t, innerHost)
	if p := link.Ping(t, innerHost, 3, 50*time.Millisecond); p.Received < 3 {
		t.Errorf("when the others have stopped: %+v", p)
	}
	link.HangUp(t)
	checkReasonIsTold(t, "TENANT_LIMIT")
}
