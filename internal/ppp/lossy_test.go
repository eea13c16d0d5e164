package ppp

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"concentrator/internal/tenant"
)

// TestBadLines logs in over lines that lose, repeat and reorder packets. The handler checks the rules all the while
// (nothing opens without login and MPPE, nothing comes after Finished); here it counts who got through.
func TestBadLines(t *testing.T) {
	const runs = 60
	for _, c := range []struct {
		loss, dup, reorder int
		tries              int // Max-Configure of both ends
	}{
		{0, 0, 0, 10},
		{0, 10, 0, 10},
		{0, 0, 20, 10},
		{10, 0, 0, 10},
		{10, 10, 10, 10},
		{20, 20, 20, 20},
		{50, 0, 0, 60},
		{50, 50, 50, 60},
	} {
		for _, kind := range []kind{pppd(), windows10(), pppdEAP(), windowsEAP()} {
			t.Run(fmt.Sprintf("%s loss %d dup %d reorder %d", kind.name, c.loss, c.dup, c.reorder), func(t *testing.T) {
				opened, mutual := 0, 0
				var longest time.Duration
				for seed := range uint64(runs) {
					cfg := config()
					cfg.Echo, cfg.MaxConfigure = tenant.Echo{Interval: 20 * time.Second, Failures: 10}, c.tries
					cfg.AuthMethods = kind.methods[:1]
					w := newWorld(t, kind, cfg, grant(tenant.MPPERequired, 128))
					w.rng = rand.New(rand.NewPCG(seed, 7))
					w.loss, w.dup, w.reorder = c.loss, c.dup, c.reorder
					w.start(0)
					for w.now.Sub(epoch) < 15*time.Minute && w.host.finished == 0 && !(w.host.open && w.peer.ipcp.m.Opened()) {
						w.run(100 * time.Millisecond)
					}
					if w.host.open && w.peer.ipcp.m.Opened() {
						opened++
						longest = max(longest, w.now.Sub(epoch))
					} else if w.mutualFailures == 0 {
						t.Errorf("seed %d: %s %s %s\n%s", seed, w.host.stage, w.host.reason, w.host.detail, w.dump())
					}
					mutual += w.mutualFailures
					w.loss, w.dup, w.reorder = 0, 0, 0
					w.link.Terminate(w.now, tenant.ReasonShutdown, "bye")
					w.run(10 * time.Second)
					if w.host.finished != 1 {
						t.Errorf("seed %d: finished %d times", seed, w.host.finished)
					}
				}
				t.Logf("%d of %d opened, the slowest after %v, %d failures of mutual authentication", opened, runs, longest, mutual)
				// A client that answers a repeated Challenge twice can not verify us and hangs up; that is its right.
				if opened+mutual < runs || c.dup == 0 && mutual > 0 || opened < runs*3/4 {
					t.Errorf("%d of %d opened", opened, runs)
				}
			})
		}
	}
}

// TestOpenLinkOnBadLine: on an open link the network's repetitions and the keepalive must not cost the session.
func TestOpenLinkOnBadLine(t *testing.T) {
	for seed := range uint64(20) {
		cfg := config()
		cfg.Echo = tenant.Echo{Interval: 20 * time.Second, Failures: 3}
		w := newWorld(t, windows10(), cfg, grant(tenant.MPPERequired, 128))
		w.rng = rand.New(rand.NewPCG(seed, 9))
		w.dup, w.reorder = 50, 50
		w.start(time.Minute)
		if w.mutualFailures > 0 {
			continue // the client refused us; nothing to keep open
		}
		w.wantOpen()
		logins := len(w.host.requests)
		w.loss = 2
		w.run(time.Hour)
		w.wantOpen()
		if len(w.host.requests) != logins {
			t.Errorf("seed %d: %d logins, then %d", seed, logins, len(w.host.requests))
		}
	}
}

// TestSilentLinkOnBadLine: nothing but the keepalive goes through, and a fifth of it is lost. That costs no session.
func TestSilentLinkOnBadLine(t *testing.T) {
	for seed := range uint64(10) {
		cfg := config()
		cfg.Echo = tenant.Echo{Interval: 20 * time.Second, Failures: 3}
		w := newWorld(t, pppd(), cfg, grant(tenant.MPPERequired, 128))
		w.rng = rand.New(rand.NewPCG(seed, 11))
		w.start(time.Minute)
		w.wantOpen()
		w.loss = 20
		w.run(time.Hour)
		w.wantOpen()
		if len(w.host.requests) != 1 {
			t.Errorf("seed %d: %d logins", seed, len(w.host.requests))
		}
	}
}
