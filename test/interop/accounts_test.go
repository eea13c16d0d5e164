//go:build interop

package interop

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// accounts is a daemon of its own, which may be killed, with two FreeRADIUS servers.
type accounts struct {
	daemon       *Daemon
	main, second *Radius
}

// startAccounts brings it up. It is gone when the test ends.
func startAccounts(t *testing.T, name string) *accounts {
	t.Helper()
	a := &accounts{}
	var err error
	for _, r := range []struct {
		made    **Radius
		name    string
		address string
	}{{&a.main, name + "-main", accRadius}, {&a.second, name + "-second", accRadius2}} {
		if *r.made, err = world.lab.NewRadius(r.name, "accfar", r.address, accGateway); err != nil {
			t.Fatal(err)
		}
		made := *r.made
		t.Cleanup(func() {
			if made.proc != nil {
				_ = made.proc.cmd.Process.Signal(syscall.SIGCONT)
				made.Stop()
			}
		})
		if err := made.Start(); err != nil {
			t.Fatal(err)
		}
	}
	if a.daemon, err = world.lab.NewDaemon(name, "acc", world.bin, "accounts.yaml"); err != nil {
		t.Fatal(err)
	}
	if err := a.daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.daemon.proc.stop(syscall.SIGKILL, 5*time.Second) }) // a test that cares stops it itself
	return a
}

// open waits for n open sessions.
func (a *accounts) open(t *testing.T, n int, limit time.Duration) {
	t.Helper()
	eventually(t, limit, func() string {
		open := 0
		for _, s := range a.daemon.Sessions(t, "") {
			if s.State == "OPEN" {
				open++
			}
		}
		if open != n {
			return fmt.Sprintf("%d of %d sessions are open", open, n)
		}
		return ""
	})
}

// bySession sorts records by session, in order. Records of no session, as Accounting-On, are under "".
func bySession(records []Attributes) map[string][]Attributes {
	m := make(map[string][]Attributes)
	for _, r := range records {
		id := r.Get("Acct-Session-Id")
		if s := r.Get("Acct-Status-Type"); s == "Accounting-On" || s == "Accounting-Off" {
			id = ""
		}
		m[id] = append(m[id], r)
	}
	return m
}

// TestAccountingCrash kills the daemon with 200 sessions: each of them has exactly one Start and one Stop in the books of
// FreeRADIUS after the next start, and the new run says so before anything else.
func TestAccountingCrash(t *testing.T) {
	const count = 200
	a := startAccounts(t, "crash")
	gen := StartGen(t, "hold", "u%d", "--count", fmt.Sprint(count), "--duration", "120s")
	a.open(t, count, 20*time.Second)
	eventually(t, 10*time.Second, func() string { return a.unsent(t) })
	if _, err := a.daemon.proc.stop(syscall.SIGKILL, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	gen.Kill()
	if err := a.daemon.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() string { return a.unsent(t) })

	records := bySession(a.main.Accounts(t))
	if n := len(records) - 1; n != count {
		t.Errorf("FreeRADIUS has the records of %d sessions, want %d", n, count)
	}
	for id, list := range records {
		if id == "" {
			if len(list) < 2 || list[0].Get("Acct-Status-Type") != "Accounting-On" || list[1].Get("Acct-Status-Type") != "Accounting-On" {
				t.Errorf("the starts of the daemon are %v, want two Accounting-Ons", list)
			}
			continue
		}
		var starts, stops int
		for _, r := range list {
			switch r.Get("Acct-Status-Type") {
			case "Start":
				starts++
			case "Stop":
				stops++
				if c := r.Get("Acct-Terminate-Cause"); c != "NAS-Reboot" {
					t.Errorf("the Stop of %s says %s", id, c)
				}
			}
		}
		if starts != 1 || stops != 1 || list[len(list)-1].Get("Acct-Status-Type") != "Stop" {
			t.Fatalf("session %s has %d Starts and %d Stops: %v", id, starts, stops, list)
		}
	}
	// The new run works on.
	loginBy(t, "u1")
	eventually(t, 5*time.Second, func() string {
		if n := len(bySession(a.main.Accounts(t))); n != count+2 {
			return fmt.Sprintf("%d sessions in the books", n-1)
		}
		return a.unsent(t)
	})
	if err := a.daemon.Stop(); err != nil {
		t.Error(err)
	}
}

// unsent says how many records wait, "" when none does.
func (a *accounts) unsent(t *testing.T) string {
	t.Helper()
	var all struct {
		AccountingQueues []struct {
			Name   string
			Unsent Number
		}
	}
	text, err := a.daemon.Ctl(t.Context(), "accounting", "status", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatalf("ctl accounting status: %v\n%s", err, text)
	}
	for _, q := range all.AccountingQueues {
		if q.Unsent > 0 {
			return fmt.Sprintf("%d records of %s wait", q.Unsent, q.Name)
		}
	}
	return ""
}

// TestRadiusFailover takes a tenant's first server away in the middle of log-ins: they go through the second one in the time
// that the configuration says. When the first is back, its probe finds that out, and it is asked again.
func TestRadiusFailover(t *testing.T) {
	a := startAccounts(t, "failover")
	loginBy(t, "u1@spare.example")
	if n := len(a.second.requests(t)); n != 1 {
		t.Errorf("the first server was asked %d times, want once", n)
	}
	a.second.Signal(t, syscall.SIGSTOP)
	r := StartGen(t, "login", "u%d@spare.example", "--count", "6", "--rate", "6").Wait(t)
	t.Logf("with the first server dead: %v, p50 %.0f ms, p99 %.0f ms", r, r.P50Ms, r.P99Ms)
	// Two tries of 500 ms, at the first server and once.
	if r.OK != 6 || r.P99Ms > 2500 {
		t.Errorf("%v, the slowest after %.0f ms", r, r.P99Ms)
	}
	if got := a.health(t, "first"); got != "DEAD" {
		t.Errorf("the first server is %s", got)
	}
	if took := loginBy(t, "u2@spare.example"); took > 400*time.Millisecond {
		t.Errorf("a login with the first server known to be dead took %v", took)
	}
	before := len(a.second.requests(t))
	a.second.Signal(t, syscall.SIGCONT)
	took := eventually(t, 10*time.Second, func() string {
		if got := a.health(t, "first"); got != "ALIVE" {
			return "the first server is " + got
		}
		return ""
	})
	t.Logf("known to be back after %v", took.Round(time.Millisecond))
	loginBy(t, "u3@spare.example")
	if n := len(a.second.requests(t)); n <= before {
		t.Error("the first server is back and is not asked")
	}
}

// requests are the Access-Requests that the server was asked.
func (r *Radius) requests(t *testing.T) []string {
	t.Helper()
	return strings.Split(strings.TrimSpace(r.Requests(t)), "\n\n")
}

// health is what the API says of a server of the tenant spare.
func (a *accounts) health(t *testing.T, server string) string {
	t.Helper()
	var r struct{ Health struct{ State string } }
	text, err := a.daemon.Ctl(t.Context(), "radius-server", "get", "tenants/spare/radiusServers/"+server, "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r.Health.State
}

// TestSlowRadius has a thousand clients log in at once while the way to FreeRADIUS takes 200 ms. All get in; no answer is
// taken for another's, or somebody would be refused; and no more requests are under way than the server may be asked.
func TestSlowRadius(t *testing.T) {
	const count = 1000
	a := startAccounts(t, "slow")
	way := delayed(t, "accfar", accSlow+":1812", accRadius+":1812", 200*time.Millisecond)
	begin := time.Now()
	r := StartGen(t, "login", "u%d@far.example", "--count", fmt.Sprint(count), "--source-net", genNet, "--parallel", "96").Wait(t)
	t.Logf("%v in %v, at most %d requests under way", r, time.Since(begin).Round(10*time.Millisecond), way.most())
	if r.OK != count {
		t.Errorf("%v", r)
	}
	if way.most() > 64 || way.most() < 32 {
		t.Errorf("%d requests were under way at once, want up to 64", way.most())
	}
	if err := a.daemon.Stop(); err != nil {
		t.Error(err)
	}
}

// slowWay is a way for datagrams to a server that takes its time.
type slowWay struct {
	mu       sync.Mutex
	underWay map[string]bool // by socket and identifier: a repeated request is still one
	highest  int
}

func (w *slowWay) asked(client net.Addr, packet []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.underWay[fmt.Sprint(client, packet[1])] = true
	w.highest = max(w.highest, len(w.underWay))
}

func (w *slowWay) answered(client net.Addr, packet []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.underWay, fmt.Sprint(client, packet[1]))
}

func (w *slowWay) most() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.highest
}

// delayed passes datagrams for an address in a part of the lab on to another there, after a delay, and the answers back.
func delayed(t *testing.T, part, from, to string, delay time.Duration) *slowWay {
	t.Helper()
	w := &slowWay{underWay: make(map[string]bool)}
	open := func(f func() error) {
		t.Helper()
		if err := inNamespace(world.lab.NS(part), f); err != nil {
			t.Fatal(err)
		}
	}
	var in net.PacketConn
	open(func() (err error) {
		in, err = net.ListenPacket("udp4", from)
		return err
	})
	var mu sync.Mutex
	clients := make(map[string]net.Conn)
	t.Cleanup(func() {
		_ = in.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range clients {
			_ = c.Close()
		}
	})
	// One way for each of the daemon's sockets, so that identifiers stay apart.
	way := func(client net.Addr) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if c := clients[client.String()]; c != nil {
			return c, nil
		}
		var c net.Conn
		err := inNamespace(world.lab.NS(part), func() (err error) {
			c, err = net.Dial("udp4", to)
			return err
		})
		if err != nil {
			return nil, err
		}
		clients[client.String()] = c
		go func() {
			buf := make([]byte, 4096)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				w.answered(client, buf[:n])
				_, _ = in.WriteTo(buf[:n], client)
			}
		}()
		return c, nil
	}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, client, err := in.ReadFrom(buf)
			if err != nil {
				return
			}
			c, err := way(client)
			if err != nil {
				t.Error(err)
				return
			}
			packet := append([]byte(nil), buf[:n]...)
			w.asked(client, packet)
			time.AfterFunc(delay, func() { _, _ = c.Write(packet) })
		}
	}()
	return w
}
