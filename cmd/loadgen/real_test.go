package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"concentrator/internal/dataplane"
	"concentrator/internal/dataplane/netio"
	"concentrator/internal/dataplane/netns"
	"concentrator/internal/ippool"
	"concentrator/internal/session"
	"concentrator/internal/store"
	"concentrator/internal/store/storetest"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

// The real test builds this, in namespaces of its own, and runs loadgen as a process in CLIENT:
//
//	CLIENT 192.0.2.2, all of 10.200.0.0/16 ── 192.0.2.1 OUTER (the server's sockets)   TENANT: its TUN, the responder on 10.99.0.1
//
// with the whole server in the test's process.
type lab struct {
	t                     *testing.T
	outer, client, tenant string
	m                     *session.Manager
	metrics               *telemetry.Metrics
}

const (
	acme    = "tenants/acme"
	users   = 100
	patient = 20 * time.Second // for one run of loadgen
)

func sh(t *testing.T, args string) {
	t.Helper()
	words := strings.Fields(args)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", args, err, out)
	}
}

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CONCENTRATOR_REAL") == "1" {
			t.Fatal("CONCENTRATOR_REAL=1, but not root: namespaces, raw sockets and TUN devices can't be made")
		}
		t.Skip("needs root for namespaces, raw sockets and TUN devices")
	}
	tag := fmt.Sprintf("cclg%d", os.Getpid())
	l := &lab{t: t, outer: tag + "-outer", client: tag + "-client", tenant: tag + "-acme", metrics: telemetry.NewMetrics()}
	for _, ns := range []string{l.outer, l.client} {
		sh(t, "ip netns add "+ns)
		t.Cleanup(func() { sh(t, "ip netns del "+ns) })
		sh(t, "ip -n "+ns+" link set lo up")
	}
	sh(t, "ip -n "+l.outer+" link add s0 type veth peer name c0 netns "+l.client)
	sh(t, "ip -n "+l.outer+" address add 192.0.2.1/24 dev s0")
	sh(t, "ip -n "+l.client+" address add 192.0.2.2/24 dev c0")
	sh(t, "ip -n "+l.outer+" link set s0 up")
	sh(t, "ip -n "+l.client+" link set c0 up")
	sh(t, "ip -n "+l.client+" route add local 10.200.0.0/16 dev lo")
	sh(t, "ip -n "+l.outer+" route add 10.200.0.0/16 via 192.0.2.2")
	l.serve()
	sh(t, "ip -n "+l.tenant+" address add 10.99.0.1/32 dev lo")
	return l
}

// serve runs the server until the test ends.
func (l *lab) serve() {
	t := l.t
	t.Helper()
	st := storetest.Open(t)
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	plane, err := dataplane.Start(dataplane.Config{Shards: 1, MaxSessions: 2 * users, Opener: netio.Linux{}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	l.m = session.New(session.Config{
		Store: st, Plane: session.Planed(plane), Pools: ippool.New(), Metrics: l.metrics, Log: log, MaxSessions: 2 * users,
		Instance: "vpn", Version: "test",
	})
	off := 0
	create := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	create(store.Create(st, &store.Tenant{
		Meta: store.Meta{Name: acme}, Limits: tenant.Limits{HalfOpenPerSource: &off}, Network: store.Network{Namespace: l.tenant},
		IPsec: store.IPsec{PSKs: []store.PSK{{ID: "main", Secret: tenant.Secret("acme's key")}}},
	}))
	create(store.Create(st, &store.Pool{Meta: store.Meta{Name: acme + "/pools/main"}, Ranges: []string{"10.7.0.0/23"}}))
	create(store.Create(st, &store.Profile{Meta: store.Meta{Name: acme + "/profiles/default"}, AllowPlaintext: true}))
	for i := range users {
		create(store.Create(st, &store.User{
			Meta: store.Meta{Name: fmt.Sprintf("%s/users/u%d", acme, i+1)}, Password: tenant.Secret(fmt.Sprintf("pw%d", i+1)),
		}))
	}
	create(store.Create(st, &store.Listener{
		Meta: store.Meta{Name: "listeners/main"}, Address: "192.0.2.1", Namespace: l.outer, DefaultTenant: acme, Tenants: []string{acme},
		Protocols: []tenant.Protocol{tenant.ProtocolPPTP, tenant.ProtocolL2TP, tenant.ProtocolL2TPIPsec},
	}))
	ctx, stop := context.WithCancel(context.Background())
	ready, ran := make(chan struct{}), make(chan error, 1)
	go func() { ran <- l.m.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ran:
		t.Fatalf("Run: %v", err)
	}
	t.Cleanup(func() {
		bound, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := l.m.Shutdown(bound); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		stop()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
		plane.Stop()
		if err := netns.Remove(l.tenant); err != nil {
			t.Error(err)
		}
	})
}

// loadgen runs loadgen against the server, from the client's namespace, and returns its exit code and report. while is called
// when it has begun.
func (l *lab) loadgen(args string, while func(p *os.Process)) (int, output) {
	t := l.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	command, flags, _ := strings.Cut(args, " ")
	words := []string{
		"netns", "exec", l.client, os.Args[0], command,
		"--server=192.0.2.1", "--psk=acme's key", "-o=json", fmt.Sprintf("--server-pid=%d", os.Getpid()),
	}
	words = append(words, strings.Fields(flags)...)
	cmd := exec.CommandContext(ctx, "ip", words...)
	cmd.Env = append(os.Environ(), asLoadgen+"=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if while != nil {
		while(cmd.Process) // ip has become loadgen by exec
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var r output
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%s: %v\n%s%s", args, err, out.Bytes(), errs.Bytes())
	}
	t.Logf("%s: %s", args, out.Bytes())
	if r.ServerCPUS == nil || r.OwnCPUS <= 0 {
		t.Errorf("%s: no CPU times", args)
	}
	return cmd.ProcessState.ExitCode(), r
}

// nothing waits until the server has nothing left of anybody.
func (l *lab) nothing() {
	l.t.Helper()
	err := errors.New("not looked at")
	for end := time.Now().Add(5 * time.Second); err != nil && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		err = l.left()
	}
	if err != nil {
		l.t.Errorf("left: %v", err)
	}
}

func (l *lab) left() error {
	var errs []error
	if n := len(l.m.Sessions("")); n != 0 {
		errs = append(errs, fmt.Errorf("%d sessions", n))
	}
	if _, n := l.m.PoolUsage(acme + "/pools/main"); n != 0 {
		errs = append(errs, fmt.Errorf("%d leases", n))
	}
	all, err := l.metrics.Gatherer().Gather()
	errs = append(errs, err)
	for _, f := range all {
		switch f.GetName() {
		case "concentrator_ike_half_open", "concentrator_ike_sas", "concentrator_esp_sas", "concentrator_ipsec_peers",
			"concentrator_l2tp_tunnels":
			for _, m := range f.GetMetric() {
				if n := m.GetGauge().GetValue(); n != 0 {
					errs = append(errs, fmt.Errorf("%v of %s", n, f.GetName()))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// open waits until the server has so many open sessions and returns them.
func (l *lab) open(n int) []session.Info {
	l.t.Helper()
	var all []session.Info
	for end := time.Now().Add(patient / 2); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		all = l.m.Sessions(acme)
		count := 0
		for _, s := range all {
			if s.State == session.StateOpen {
				count++
			}
		}
		if count >= n {
			return all
		}
	}
	l.t.Fatalf("%d sessions, want %d open", len(all), n)
	return nil
}

func TestReal(t *testing.T) {
	l := newLab(t)

	t.Run("a hundred of all protocols", func(t *testing.T) {
		l.t = t
		code, r := l.loadgen("login --protocol MIX --nat-t --count 100 --source-net 10.200.0.0/24 --password pw%d --keep 2s", func(*os.Process) {
			all := l.open(users)
			ciphers, nat, names := map[string]int{}, 0, map[string]bool{}
			for _, s := range all {
				ciphers[s.Cipher]++
				names[s.User] = true
				if s.NATDetected {
					nat++
				}
			}
			if ciphers["MPPE-128"] != 34 || ciphers["AES-128-CBC-SHA1"] != 33 || nat != 33 || len(names) != users {
				t.Errorf("ciphers %v, %d behind a NAT, %d names", ciphers, nat, len(names))
			}
		})
		if code != 0 || r.OK != 100 || len(r.Failed) != 0 || r.Open != 100 || len(r.Protocols) != 3 || r.Rate <= 0 || r.P99Ms < r.P50Ms {
			t.Errorf("exit %d", code)
		}
		l.nothing()
	})
	t.Run("raw ESP with GCM", func(t *testing.T) {
		l.t = t
		code, r := l.loadgen("login --protocol L2TP_IPSEC --count 10 --source-net 10.200.1.0/24 --password pw%d --cipher AES-128-GCM --keep 1s", func(*os.Process) {
			sources := map[netip.Addr]bool{}
			for _, s := range l.open(10) {
				if sources[s.ClientAddress.Addr()] = true; s.Cipher != "AES-128-GCM" || s.NATDetected || s.ClientAddress.Port() != 500 {
					t.Errorf("%+v", s)
				}
			}
			if len(sources) != 10 {
				t.Errorf("from %d addresses", len(sources))
			}
		})
		if code != 0 || r.OK != 10 {
			t.Errorf("exit %d", code)
		}
		l.nothing()
	})
	t.Run("wrong password", func(t *testing.T) {
		l.t = t
		if code, r := l.loadgen("login --protocol MIX --nat-t --count 6 --password no", nil); code != 1 || r.OK != 0 || r.Failed[tenant.ReasonWrongCredentials] != 6 {
			t.Errorf("exit %d", code)
		}
		l.nothing()
	})
	t.Run("wrong key", func(t *testing.T) {
		l.t = t
		if code, r := l.loadgen("login --protocol L2TP_IPSEC --nat-t --count 2 --password pw%d --psk no", nil); code != 1 ||
			r.Failed[tenant.ReasonPSKMismatch] != 2 {
			t.Errorf("exit %d", code)
		}
		l.nothing()
	})
	t.Run("wrong proposal", func(t *testing.T) {
		l.t = t
		if code, r := l.loadgen("login --protocol L2TP_IPSEC --nat-t --count 2 --password pw%d --group modp1024", nil); code != 1 ||
			r.Failed[tenant.ReasonNoCommonProposal]+r.Failed[tenant.ReasonLegacyNotAllowed] != 2 {
			t.Errorf("exit %d", code)
		}
		l.nothing()
	})
	t.Run("hold, with churn", func(t *testing.T) {
		l.t = t
		code, r := l.loadgen("hold --protocol MIX --nat-t --count 30 --password pw%d --source-net 10.200.0.0/24 --duration 1500ms --churn 20", nil)
		if code != 0 || r.OK < 40 || r.OK > 61 || r.Open != 30 || r.Lost != 0 {
			t.Errorf("exit %d", code)
		}
		l.nothing()
	})
	t.Run("a session that the server ends, and Ctrl-C", func(t *testing.T) {
		l.t = t
		code, r := l.loadgen("hold --protocol L2TP_IPSEC --nat-t --count 5 --password pw%d --duration 1m", func(p *os.Process) {
			first := l.open(5)[0].Name
			if err := l.m.Disconnect(first, tenant.ReasonAdminDisconnect); err != nil {
				t.Error(err)
			}
			for end := time.Now().Add(patient / 2); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				if _, there := l.m.Session(first); !there {
					break
				}
			}
			l.open(5) // it has come again
			if err := p.Signal(os.Interrupt); err != nil {
				t.Error(err)
			}
		})
		if code != 1 || !r.Interrupted || r.OK != 6 || r.Lost != 1 || r.LostReasons[tenant.ReasonAdminDisconnect] != 1 || r.HangUpFailed != 0 {
			t.Errorf("exit %d", code)
		}
		l.nothing()
	})
	t.Run("traffic", func(t *testing.T) {
		l.t = t
		code, r := l.loadgen("traffic --protocol MIX --nat-t --count 9 --password pw%d --direction echo --size imix --pps 2000 --duration 500ms"+
			" --responder 10.99.0.1:5001 --responder-ns "+l.tenant, nil)
		if code != 0 || r.OK != 9 || r.Traffic == nil || r.Traffic.Down == nil || r.Traffic.Down.Received < 500 || r.Traffic.Lost != 0 {
			t.Errorf("exit %d", code)
		}
		l.nothing()
	})
}
