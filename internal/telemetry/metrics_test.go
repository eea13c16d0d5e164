package telemetry

import (
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// serveOnce serves m on loopback and returns its page as it is now.
func serveOnce(t *testing.T, m *Metrics) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- m.Serve(ctx, l) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}()
	resp, err := http.Get("http://" + l.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", resp.Status, body, err)
	}
	return string(body)
}

// TestPage: what rooms have counted stands on the page, in Prometheus' words.
func TestPage(t *testing.T) {
	m := NewMetrics()
	m.Login("tenants/acme", "PPTP", "REFUSED", "AUTHENTICATION", "WRONG_CREDENTIALS")
	m.Reached("tenants/acme", "PPTP", "LCP")
	m.Opened("PPTP", 70*time.Millisecond)
	m.Ended("tenants/acme", "PPTP", "USER_REQUEST")
	m.ControlFrameDropped()
	m.APICall("/concentrator.v1.TenantService/GetTenant", "NotFound", 3*time.Millisecond)
	ended := m.APIStream("/concentrator.v1.SessionService/WatchSessions")
	m.APIStream("/concentrator.v1.SessionService/WatchSessions")
	ended("OK")
	m.Audited("OK")
	m.OperationBegun("DRAIN")("SUCCEEDED")
	m.OperationBegun("BACKUP")
	m.OperationBegun("BACKUP")("")
	m.Captured(7, 2)
	var took Histogram
	for _, d := range []time.Duration{0, 500 * time.Microsecond, 500*time.Microsecond + 1, time.Second, time.Hour} {
		took.Add(d)
	}
	m.Observe(StoreCommits, func() []Sample {
		return []Sample{{Labels: []string{"state"}, Distribution: took.Snapshot().Plus(took.Snapshot())}}
	})
	m.Observe(Draining, func() []Sample { return []Sample{{Value: 1}} })
	m.Observe(ShardWrong, func() []Sample { return []Sample{{Labels: []string{"0"}, Value: 5}} })
	page := serveOnce(t, m)
	for _, want := range []string{
		`concentrator_logins_total{outcome="REFUSED",protocol="PPTP",reason="WRONG_CREDENTIALS",stage="AUTHENTICATION",tenant="tenants/acme"} 1`,
		`concentrator_login_stages_total{protocol="PPTP",stage="LCP",tenant="tenants/acme"} 1`,
		`concentrator_login_duration_seconds_bucket{protocol="PPTP",le="0.05"} 0`,
		`concentrator_login_duration_seconds_bucket{protocol="PPTP",le="0.1"} 1`,
		`concentrator_sessions_ended_total{protocol="PPTP",reason="USER_REQUEST",tenant="tenants/acme"} 1`,
		`concentrator_control_frames_dropped_total 1`,
		`concentrator_api_calls_total{code="NotFound",method="/concentrator.v1.TenantService/GetTenant"} 1`,
		`concentrator_api_call_duration_seconds_count{method="/concentrator.v1.TenantService/GetTenant"} 1`,
		`concentrator_api_calls_total{code="OK",method="/concentrator.v1.SessionService/WatchSessions"} 1`,
		`concentrator_api_streams{method="/concentrator.v1.SessionService/WatchSessions"} 1`,
		`concentrator_audit_events_total{code="OK"} 1`,
		`concentrator_operations_ended_total{kind="DRAIN",state="SUCCEEDED"} 1`,
		`concentrator_operations_running{kind="DRAIN"} 0`,
		`concentrator_operations_running{kind="BACKUP"} 1`,
		`concentrator_captured_packets_total{outcome="missed"} 2`,
		`concentrator_captured_packets_total{outcome="taken"} 7`,
		`concentrator_store_commit_duration_seconds_bucket{file="state",le="0.0005"} 4`,
		`concentrator_store_commit_duration_seconds_bucket{file="state",le="0.001"} 6`,
		`concentrator_store_commit_duration_seconds_bucket{file="state",le="10"} 8`,
		`concentrator_store_commit_duration_seconds_bucket{file="state",le="+Inf"} 10`,
		`concentrator_store_commit_duration_seconds_count{file="state"} 10`,
		`concentrator_draining 1`,
		`# TYPE concentrator_shard_wrong_total counter`,
		`# TYPE concentrator_draining gauge`,
	} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("the page lacks %s", want)
		}
	}
	if regexp.MustCompile(`kind="BACKUP",state=`).MatchString(page) {
		t.Error("an operation that the end of the process cut off counts as one that has ended")
	}
	if !regexp.MustCompile(`(?m)^concentrator_build_info\{go_version="go1\.[^"]+",revision="[^"]*",version="[^"]*"\} 1$`).MatchString(page) {
		t.Error("the page does not say what runs")
	}
}

// TestNames: metrics are called as Prometheus has it.
func TestNames(t *testing.T) {
	form := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	seen := make(map[string]bool)
	for _, s := range specs {
		if seen[s.name] {
			t.Errorf("%s is defined twice", s.name)
		}
		seen[s.name] = true
		total, timed := strings.HasSuffix(s.name, "_total"), strings.HasSuffix(s.name, "_duration_seconds")
		if !form.MatchString(s.name) || total != (s.kind == kindCounter) || timed != (s.kind == kindHistogram) {
			t.Errorf("%s: a counter ends with _total, a histogram with _duration_seconds, and nothing else does", s.name)
		}
		if !strings.HasSuffix(s.help, ".") {
			t.Errorf("%s: %q is no sentence", s.name, s.help)
		}
		for _, l := range s.labels {
			if !form.MatchString(l) || l == "user" || l == "session" || l == "peer" {
				t.Errorf("%s: label %s", s.name, l)
			}
		}
	}
}

// TestHistogramDoesNotAllocate: it is called by who waits for a disk or a server, thousands of times a second.
func TestHistogramDoesNotAllocate(t *testing.T) {
	var h Histogram
	if n := testing.AllocsPerRun(1000, func() { h.Add(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
