//go:build interop

package interop

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"
)

// restartWithin is how long a daemon with fifty tenants may take from its start until it is ready.
const restartWithin = 2 * time.Second

// TestRestartFifty kills a daemon with a client in each of fifty tenants, and starts it again: it is ready within two
// seconds, with the networks that there were, and every user gets the address of before.
func TestRestartFifty(t *testing.T) {
	f := startFifty(t, "restart")
	guests := borrow(t, 2)

	// first gets each pool's first address and goes, so that the next one's is not what a new daemon would give.
	r := StartGen(t, "login", "first@t%d.example", "--server", fiftyAddress, "--count", fmt.Sprint(fiftyTenants)).Wait(t)
	if r.OK != fiftyTenants {
		t.Fatalf("%v", r)
	}
	gen := StartGen(t, "hold", "second@t%d.example", "--server", fiftyAddress, "--count", fmt.Sprint(fiftyTenants), "--duration", "120s")
	f.open(t, fiftyTenants)
	// Two real clients, one of them by its tenant's key.
	over := overIPsec(fiftyAddress, "psk of t2", cbcSHA1)
	over.User, over.Password = "alice@t2.example", "wonder-1"
	dials := []Dial{{Server: fiftyAddress, User: "alice@t1.example", Password: "wonder-1", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128}, over}
	addresses := make([]netip.Addr, len(dials))
	for i, d := range dials {
		l := dial(t, guests[i], d)
		addresses[i] = l.Local
		l.Route(t, innerHost)
		if name := l.HostName(t); name != f.hosts[i].Name {
			t.Errorf("%s reaches the host of %q", guests[i].Name, name)
		}
	}
	// Somebody guesses.
	if r := StartGen(t, "login", "bob@t5.example", "--server", fiftyAddress, "--password", "wrong", "--count", "7", "--parallel", "1").Wait(t); r.OK != 0 {
		t.Errorf("%v with a wrong password", r)
	}
	time.Sleep(3 * time.Second) // leases and guesses are written in batches

	leases, guesses := f.leases(t), f.lockouts(t)
	if len(leases) < 2*fiftyTenants+len(dials) || len(guesses) == 0 {
		t.Errorf("%d leases and the lockouts %q", len(leases), guesses)
	}
	networks := make([]string, len(f.tenants))
	for i, tenant := range f.tenants {
		networks[i] = tenant.network(t)
	}

	if _, err := f.proc.stop(syscall.SIGKILL, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	gen.Kill()
	begin := time.Now()
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	t.Logf("ready %v after kill -9, with %d leases", took.Round(time.Millisecond), len(leases))
	if took > restartWithin {
		t.Errorf("ready after %v, want at most %v", took, restartWithin)
	}
	if now := f.leases(t); !slices.Equal(now, leases) {
		t.Errorf("the leases are now %q, were %q", now, leases)
	}
	if now := f.lockouts(t); !slices.Equal(now, guesses) {
		t.Errorf("the lockouts are now %q, were %q", now, guesses)
	}
	for i, tenant := range f.tenants {
		if now := tenant.network(t); now != networks[i] {
			t.Errorf("the network of %s is now\n%s\nwas\n%s", tenant.ID, now, networks[i])
		}
	}

	StartGen(t, "hold", "second@t%d.example", "--server", fiftyAddress, "--count", fmt.Sprint(fiftyTenants), "--duration", "120s")
	f.open(t, fiftyTenants)
	for i, d := range dials {
		if err := guests[i].reset(); err != nil {
			t.Fatal(err)
		}
		l := dial(t, guests[i], d)
		if l.Local != addresses[i] {
			t.Errorf("%s has the address %s, had %s", d.User, l.Local, addresses[i])
		}
		l.Route(t, innerHost)
		if name := l.HostName(t); name != f.hosts[i].Name {
			t.Errorf("after the restart %s reaches the host of %q", guests[i].Name, name)
		}
	}
	if now := f.leases(t); !slices.Equal(now, leases) {
		t.Errorf("with all back the leases are %q, were %q", now, leases)
	}
	if err := f.Stop(); err != nil {
		t.Error(err)
	}
}

// open waits for at least n open sessions.
func (f *Fifty) open(t *testing.T, n int) {
	t.Helper()
	eventually(t, 20*time.Second, func() string {
		open := 0
		for _, s := range f.Sessions(t, "") {
			if s.State == "OPEN" {
				open++
			}
		}
		if open < n {
			return fmt.Sprintf("%d of %d sessions are open", open, n)
		}
		return ""
	})
}

// lockouts are those of all tenants: "t5 USER bob".
func (f *Fifty) lockouts(t *testing.T) (all []string) {
	t.Helper()
	for _, l := range f.Lockouts(t, "") {
		all = append(all, fmt.Sprintf("%s %s %s", segment(l.Name, 1), l.Kind, l.Subject))
	}
	return all
}
