package session

import (
	"testing"

	"concentrator/internal/authz"
	"concentrator/internal/dataplane/policy"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// TestProfileRateAndDSCP: what the profile says reaches the shard and is shown.
func TestProfileRateAndDSCP(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit tenant.RateLimit
		dscp  tenant.DSCP
		want  policy.DSCP
	}{
		{"nothing", tenant.RateLimit{}, "", policy.Pipe},
		{"up alone, pipe", tenant.RateLimit{UpBps: 8_000}, tenant.DSCPPipe, policy.Pipe},
		{"both, uniform", tenant.RateLimit{UpBps: 1_000_000, DownBps: 100_000_000_000}, tenant.DSCPUniform, policy.Uniform},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.furnish()
				alter(w, acme+"/profiles/default", func(p *store.Profile) { p.RateLimit, p.DSCP = c.limit, c.dscp })
				w.start()
				cl := w.login(simppp.Windows(alice, password))
				if s := cl.fc.attached(); s.UpBps != c.limit.UpBps || s.DownBps != c.limit.DownBps || s.DSCP != c.want {
					t.Errorf("attached with %+v", s)
				}
				if i := w.session(acme); i.RateLimit != c.limit {
					t.Errorf("shown as %+v", i.RateLimit)
				}
			})
		})
	}
}

// TestRateLimit: a verdict replaces the profile's limit, each way of its own, and can lift it.
func TestRateLimit(t *testing.T) {
	rate := func(bps uint64) *uint64 { return &bps }
	p := &store.Profile{RateLimit: tenant.RateLimit{UpBps: 10_000, DownBps: 20_000}}
	for _, c := range []struct {
		name string
		v    authz.Verdict
		want tenant.RateLimit
	}{
		{"nothing", authz.Verdict{}, tenant.RateLimit{UpBps: 10_000, DownBps: 20_000}},
		{"up", authz.Verdict{UpBps: rate(9_000)}, tenant.RateLimit{UpBps: 9_000, DownBps: 20_000}},
		{"down", authz.Verdict{DownBps: rate(30_000)}, tenant.RateLimit{UpBps: 10_000, DownBps: 30_000}},
		{"lifted", authz.Verdict{UpBps: rate(0), DownBps: rate(0)}, tenant.RateLimit{}},
	} {
		if got := rateLimit(p, c.v); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
