//go:build interop

package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mayBeZero are metrics of the dashboard that count what need not have happened, or is over: its queries must answer 0.
var mayBeZero = []string{
	`outcome="REFUSED"`, `radius_server_up{instance=~".*", tenant=~".*"} == 0`, "draining", "lockouts", "sessions_ended_total",
	"dropped_packets_total", "shard_wrong_total", "shard_receive_errors_total", "control_frames_dropped_total", "ike_half_open",
	"radius_requests_in_flight", "radius_requests_waiting", "radius_retransmits_total", "radius_dropped_replies_total",
	"coa_", "accounting_unsent_records", "accounting_failures_total", "accounting_dropped_total", "api_streams", "audit_events_total",
	"operations_", "captured_packets_total", "api_connections_dropped_total", "concentrator_faults", "ike_dropped_total", "l2tp_dropped_total", "pptp_dropped_total",
	"logins_unlisted_total", "store_commit_errors_total", "promhttp_metric_handler_errors_total",
}

// TestDashboard: with a real Prometheus that scrapes a daemon with real clients, of which one was let in by RADIUS, every query
// of the dashboard returns data: of what has happened, more than nothing. Every alert rule can be evaluated, and promtool finds
// nothing wrong with the metrics, the rules and their tests.
func TestDashboard(t *testing.T) {
	t.Parallel()
	p := StartPrometheus(t, world.daemon)
	simulated := func(protocol, first, keep string) *Gen {
		return StartGen(t, "login", "u%d", "--server", radiusServer, "--protocol", protocol, "--psk", "psk of radius",
			"--count", "2", "--first", first, "--keep", keep)
	}
	// The first of each kind: Prometheus sees how a counter grows, not how it comes.
	link := dial(t, borrow(t, 1)[0], Dial{Server: radiusServer, User: "metered", Password: "metered-9", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128})
	if r := simulated("L2TP_IPSEC", "70", "0s").Wait(t); r.OK != 2 {
		t.Fatalf("loadgen: %v", r)
	}
	world.daemon.Sessions(t, "radius")
	p.Scraping(t)

	begin := time.Now()
	ipsec, pptp := simulated("L2TP_IPSEC", "72", "3s"), simulated("PPTP", "74", "0s")
	link.Route(t, innerHost)
	link.PingFor(t, innerHost, 20*time.Millisecond, 3*time.Second)
	world.daemon.Sessions(t, "radius")
	if a, b := ipsec.Wait(t), pptp.Wait(t); a.OK != 2 || b.OK != 2 {
		t.Errorf("loadgen: %v, %v", a, b)
	}
	link.HangUp(t)
	time.Sleep(2500 * time.Millisecond) // two scrapes

	over := time.Since(begin) + time.Second
	asked := 0
	for _, q := range Panels(t) {
		series, largest, err := p.Query(q.Expr, over)
		asked++
		switch {
		case err != nil:
			t.Errorf("%s: %s: %v", q.Title, q.Expr, err)
		case series == 0:
			t.Errorf("%s: %s: no data", q.Title, q.Expr)
		case largest <= 0 && !containsAny(q.Expr, mayBeZero):
			t.Errorf("%s: %s: nothing but 0, though it has happened", q.Title, q.Expr)
		}
	}
	if asked < 60 {
		t.Errorf("asked only %d queries: the test does not see them", asked)
	}
	// What the queries above may not have seen for want of time.
	for _, expr := range []string{
		`concentrator_login_duration_seconds_count{protocol="PPTP"}`, `concentrator_login_duration_seconds_count{protocol="L2TP_IPSEC"}`,
		`concentrator_radius_request_duration_seconds_count{tenant="tenants/radius"}`, `concentrator_pool_leased_addresses{tenant="tenants/radius"}`,
		`concentrator_sessions_ended_total{tenant="tenants/radius"}`, `concentrator_store_file_bytes{file="state"}`,
	} {
		if _, largest, err := p.Query(expr, over); err != nil || largest <= 0 {
			t.Errorf("%s: %v, %v", expr, largest, err)
		}
	}
	t.Logf("%d queries over %v", asked, over.Round(time.Second))

	rules, err := p.Rules()
	if err != nil || len(rules) < 20 {
		t.Errorf("%d rules, %v", len(rules), err)
	}
	for _, r := range rules {
		if r.Health != "ok" {
			t.Errorf("rule %s: %s: %s", r.Name, r.Health, r.LastError)
		}
		for _, a := range r.Alerts {
			// What other tests do to their tenants is worth an alert: full pools, dead servers.
			of := a.Labels["tenant"]
			if a.State == "firing" && r.Labels["severity"] == "critical" && (of == "" || of == "tenants/radius") {
				t.Errorf("%s fires for %v", r.Name, a.Labels)
			}
		}
	}

	page, err := world.daemon.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	prometheus := filepath.Join(deployDir, "prometheus")
	promtool(t, page, "", "check", "metrics")
	promtool(t, "", prometheus, "check", "config", "prometheus.yml")
	promtool(t, "", prometheus, "test", "rules", "alerts_test.yml")
}

// promtool must find nothing to say against what it is given.
func promtool(t *testing.T, input, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("promtool", args...)
	cmd.Stdin, cmd.Dir, cmd.Env = strings.NewReader(input), dir, append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil || input != "" && len(out) > 0 {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func containsAny(s string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}
