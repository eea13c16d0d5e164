package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"concentrator/internal/simclient/load"
	"concentrator/internal/simclient/traffic"
	"concentrator/internal/tenant"
)

// asLoadgen in the environment makes the test's own program loadgen, so that it can be run in another namespace.
const asLoadgen = "CONCENTRATOR_TEST_LOADGEN"

func TestMain(m *testing.M) {
	if os.Getenv(asLoadgen) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args string
		want string
	}{
		{"fly", "unknown command"},
		{"login", "required flag"},
		{"login --server 192.0.2.1 --password x --bogus", "bogus"},
		{"login --server 192.0.2.1 --password x extra", "unknown command"},
		{"login --server 192.0.2.1 --password x --protocol SSTP", "none of PPTP, L2TP, L2TP_IPSEC, MIX"},
		{"login --server 192.0.2.1 --password x", "needs a pre-shared key"},
		{"login --server 192.0.2.1 --password x --psk k --count 3 --source-net 192.0.2.2/32", "as many source addresses"},
		{"login --server 192.0.2.1 --password x --psk k --cipher NULL", "none of AES-128-CBC-SHA1"},
		{"login --server 192.0.2.1 --password x --psk k --group modp768", "none of ecp256"},
		{"login --server 192.0.2.1 --password x --psk k --auth EAP", "none of MSCHAPV2"},
		{"login --server 192.0.2.1 --psk k", "--auth MSCHAPV2 needs --password"},
		{"login --server 192.0.2.1 --psk k --auth PEAP", "--auth PEAP needs --password"},
		{"login --server 192.0.2.1 --psk k --auth eap_tls", "EAP_TLS needs a certificate"},
		{"login --server 192.0.2.1 --psk k --auth EAP_TLS --cert /no/such/file", "/no/such/file"},
		{"login --server 192.0.2.1 --psk k --auth EAP_TLS --key /no/such/file", "--key needs --cert"},
		{"login --server 192.0.2.1 --psk k --auth PEAP --password x --cacert /no/such/file", "/no/such/file"},
		{"login --server 192.0.2.1 --psk k --auth PEAP --password x --cacert /etc/passwd", "no PEM certificate in it"},
		{"login --server 192.0.2.1 --psk k --auth PEAP --password x --cert-name radius", "--cert-name needs --cacert"},
		{"login --server 192.0.2.1 --psk k --auth PAP --password x --cert /no/such/file", "are for EAP_TLS and PEAP"},
		{"login --server 192.0.2.1 --password x --psk k -o xml", "text or json"},
		{"login --server 192.0.2.1 --password x --psk k --rate -1", "must be positive"},
		{"login --server 192.0.2.1 --password x --psk k --source-net 10.0.0.0", "--source-net"},
		{"login --server 2001:db8::1 --password x --psk k", "no IPv4 address"},
		{"hold --server 192.0.2.1 --password x --psk k --churn -1", "must be positive"},
		{"hold --server 192.0.2.1 --password x --psk k --duration 0s", "must be positive"},
		{"hold --server 192.0.2.1 --password x --psk k --rebind -1", "must be positive"},
		{"hold --server 192.0.2.1 --password x --psk k --ping 1 --ping-to here", "no IPv4 address"},
		{"login --server 192.0.2.1 --password x --psk k --esp-lifetime 1500ms", "at least 4s"},
		{"traffic --server 192.0.2.1 --password x --psk k", "required flag"},
		{"traffic --server 192.0.2.1 --password x --psk k --responder here", "--responder"},
		{"traffic --server 192.0.2.1 --password x --psk k --responder 10.0.0.1:1 --size 9", "--size"},
		{"traffic --server 192.0.2.1 --password x --psk k --responder 10.0.0.1:1 --direction in", "--direction"},
		{"traffic --server 192.0.2.1 --password x --psk k --responder 10.0.0.1:1 --max-loss 2", "at most 1"},
	} {
		t.Run(c.args, func(t *testing.T) {
			var out, errs strings.Builder
			code := run(t.Context(), strings.Fields(c.args), env{out: &out, err: &errs})
			if code != 2 || out.String() != "" || !strings.Contains(errs.String(), c.want) {
				t.Errorf("exit %d, out %q, err %q; want 2, nothing, %q", code, out.String(), errs.String(), c.want)
			}
		})
	}
}

// TestFailures: what is not the command line's fault is exit code 1.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		args string
		want string
	}{
		{"login --server no.such.host.invalid --password x --psk k", "find the server"},
		{"login --server 127.0.0.1 --protocol L2TP --password x --server-pid 999999999", "CPU time of process 999999999"},
	} {
		var out, errs strings.Builder
		if code := run(t.Context(), strings.Fields(c.args), env{out: &out, err: &errs}); code != 1 || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%s: exit %d, %q", c.args, code, errs.String())
		}
	}
}

// TestNobodyThere: failures are in the report, progress is not in the way of it.
func TestNobodyThere(t *testing.T) {
	var out, errs strings.Builder
	args := "login --server 127.0.0.99 --protocol L2TP --count 3 --password x --timeout 300ms -o json"
	if code := run(t.Context(), strings.Fields(args), env{out: &out, err: &errs, terminal: true}); code != 1 {
		t.Errorf("exit %d, %q", code, errs.String())
	}
	var r output
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil || r.Failed[tenant.ReasonPeerTimeout] != 3 || r.Count != 3 {
		t.Errorf("%s: %v", out.String(), err)
	}
	if !strings.Contains(errs.String(), "logging in") || !strings.HasSuffix(errs.String(), "\r\x1b[K") {
		t.Errorf("%q", errs.String())
	}
}

// TestContract: the JSON has the fields that programs may count on, also when nothing has happened.
func TestContract(t *testing.T) {
	cpu := 0.0
	var out strings.Builder
	o := output{Command: "login", Report: load.New(load.Plan{}).Report()}
	o.ServerCPUS = &cpu
	if err := o.print(&out, "json"); err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(out.String()), &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ok", "failed", "rate", "p50Ms", "p99Ms", "lost", "serverCpuS", "ownCpuS"} {
		if _, there := fields[name]; !there || fields[name] == nil {
			t.Errorf("no %s in %s", name, out.String())
		}
	}
	if strings.Count(out.String(), "\n") != 1 {
		t.Errorf("%q is not one line", out.String())
	}
}

func TestText(t *testing.T) {
	cpu := 2.5
	o := output{
		Report: load.Report{
			OK: 98, Failed: map[tenant.Reason]int{tenant.ReasonWrongCredentials: 2}, Rate: 49, P50Ms: 1.5, P90Ms: 2, P99Ms: 3, MaxMs: 4,
			Lost: 1, LostReasons: map[tenant.Reason]int{tenant.ReasonShutdown: 1}, ElapsedS: 2, OwnCPUS: 1.25, ServerCPUS: &cpu,
			Examples: map[tenant.Reason]string{tenant.ReasonWrongCredentials: "refused\nagain", tenant.ReasonShutdown: "the server shuts down"},
			Protocols: map[tenant.Protocol]load.Part{
				tenant.ProtocolPPTP: {OK: 50, P50Ms: 1, P99Ms: 3}, tenant.ProtocolL2TP: {OK: 48, Failed: 2, P50Ms: 2, P99Ms: 3},
			},
			Rebound: 7, Pings: &load.Pings{Sent: 200, Answered: 199}, SAs: &load.SAs{IKE: 60, ESP: 120},
			Rekeys: &load.Rekeys{OK: 80, Failed: 1}, Interrupted: true,
		},
		Traffic: &traffic.Report{Up: &traffic.Stream{
			Sent: 1000, Received: 999, Lost: 1, PPS: 500, BitsPerSecond: 5_600_000, P50Ms: 0.1, P99Ms: 0.2, P999Ms: 0.3, MaxMs: 0.4,
		}},
	}
	want := `log-ins   98 of 100 in 2.00 s: 49.0 a second
latency   p50 1.5 ms, p90 2.0 ms, p99 3.0 ms, at most 4.0 ms
          L2TP       48 ok, 2 failed, p50 2.0 ms, p99 3.0 ms
          PPTP       50 ok, 0 failed, p50 1.0 ms, p99 3.0 ms
failed    2 WRONG_CREDENTIALS: refused; again
lost      1 SHUTDOWN: the server shuts down
pings     199 of 200 answered
NAT       7 times another port
new SAs   80 times; 1 failed
IPsec     60 ISAKMP SAs, 120 pairs of ESP SAs
up        999 of 1000 arrived, 500 a second, 5.6 Mbit/s; 1 lost, 0 overtaken, 0 twice
          latency p50 0.100 ms, p99 0.200 ms, p99.9 0.300 ms, at most 0.400 ms
CPU       own 1.25 s, server 2.50 s
          interrupted
`
	if got := o.text(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
