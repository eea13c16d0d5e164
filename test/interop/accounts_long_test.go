//go:build interop && interop_long

package interop

import (
	"fmt"
	"strconv"
	"testing"
	"time"
)

// TestAccountingOutage takes FreeRADIUS away for as long as 100 sessions write three interim records each: all of them come
// afterwards, those of a session in order, and none of them twice.
func TestAccountingOutage(t *testing.T) {
	const count, each = 100, 3
	a := startAccounts(t, "outage")
	gen := StartGen(t, "hold", "u%d", "--count", fmt.Sprint(count), "--duration", "600s")
	a.open(t, count, 20*time.Second)
	eventually(t, 10*time.Second, func() string { return a.unsent(t) })
	before := len(a.main.Accounts(t))
	a.main.Stop()
	time.Sleep(each*60*time.Second + 5*time.Second) // the profile's interval is a minute, the shortest there is
	if waits := a.unsent(t); waits == "" {
		t.Error("nothing waits for the server")
	} else {
		t.Log(waits)
	}
	if n := len(a.main.Accounts(t)); n != before {
		t.Fatalf("a server that is gone has written %d records", n-before)
	}
	if err := a.main.Start(); err != nil {
		t.Fatal(err)
	}
	took := eventually(t, 90*time.Second, func() string { return a.unsent(t) })
	t.Logf("all delivered %v after the server came back", took.Round(time.Millisecond))
	gen.Kill()
	eventually(t, 120*time.Second, func() string { // by the keepalive
		if n := len(a.daemon.Sessions(t, "")); n > 0 {
			return fmt.Sprintf("%d sessions are left", n)
		}
		return a.unsent(t)
	})

	for id, list := range bySession(a.main.Accounts(t)) {
		if id == "" {
			continue
		}
		interims, last := 0, -1
		for i, r := range list {
			status, elapsed := r.Get("Acct-Status-Type"), r.Get("Acct-Session-Time")
			now, err := strconv.Atoi(elapsed)
			switch {
			case status == "Start" && i == 0:
				continue
			case err != nil:
				t.Fatalf("%s of %s has the time %q", status, id, elapsed)
			case now < last, now == last && status != "Stop": // which may come in the second of an interim record
				t.Errorf("session %s: %s at %d s comes after one at %d s", id, status, now, last)
			case status == "Interim-Update" && i < len(list)-1:
				interims++
			case status != "Stop" || i != len(list)-1:
				t.Errorf("session %s: record %d of %d is %s", id, i, len(list), status)
			}
			last = now
		}
		if interims < each {
			t.Errorf("session %s has %d interims, want %d", id, interims, each)
		}
	}
	if err := a.daemon.Stop(); err != nil {
		t.Error(err)
	}
}
