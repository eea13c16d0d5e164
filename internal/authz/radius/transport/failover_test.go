package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/tenant"
)

// pipes is a network in memory, so that time can be synctest's: the servers by address and port.
type pipes map[string]*piped

// piped is one port of a server. What it got is for the test to read once synctest.Wait has returned.
type piped struct {
	mu     sync.Mutex
	handle func(q query) // nil: silence
	down   bool          // can't be connected to
	got    []seen
	dials  int
}

type seen struct {
	at   time.Time
	code radius.Code
	user string
}

func (n pipes) dial(_ context.Context, d Dial) (net.Conn, error) {
	s := n[d.Remote.String()]
	if s == nil {
		return nil, errors.New("no route to " + d.Remote.String())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dials++
	if s.down {
		return nil, errors.New("connection refused by " + d.Remote.String())
	}
	near, far := net.Pipe()
	go s.serve(far)
	return near, nil
}

func (s *piped) serve(far net.Conn) {
	defer far.Close()
	buf := make([]byte, packet.MaxLen)
	for {
		n, err := far.Read(buf)
		if err != nil {
			return
		}
		raw := bytes.Clone(buf[:n])
		p, err := radius.Parse(raw, []byte(secret))
		if err != nil {
			panic(err)
		}
		s.mu.Lock()
		s.got = append(s.got, seen{time.Now(), p.Code, string(p.Get(1))})
		handle := s.handle
		s.mu.Unlock()
		if handle != nil {
			handle(query{raw: raw, p: p, send: func(all ...[]byte) {
				for _, b := range all {
					far.Write(b) //nolint:errcheck // the transport may be gone
				}
			}})
		}
	}
}

func (s *piped) set(handle func(q query)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handle = handle
}

// count says how many packets of a kind s got.
func (s *piped) count(code radius.Code) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.got {
		if g.code == code {
			n++
		}
	}
	return n
}

func answers(q query)       { q.send(good(q)) }
func answersStatus(q query) { onlyIf(q, q.p.Code == radius.CodeStatusServer) }
func answersLogins(q query) { onlyIf(q, q.p.Code == radius.CodeAccessRequest) }
func onlyIf(q query, is bool) {
	if is {
		q.send(good(q))
	}
}

// pair is two servers, "one" before "two", in a bubble's network.
type pair struct {
	g        *Group
	one, two *piped
	cfg      Config
}

// bubble runs test with two servers that answer nothing so far; the default times hold. change may be nil.
func bubble(t *testing.T, change func(one, two *ServerConfig), test func(t *testing.T, p *pair)) {
	synctest.Test(t, func(t *testing.T) {
		p := &pair{one: &piped{}, two: &piped{}}
		net := pipes{"10.0.0.1:1812": p.one, "10.0.0.2:1812": p.two, "10.0.0.1:1813": p.one, "10.0.0.2:1813": p.two}
		secrets := []tenant.Secret{tenant.Secret(secret)}
		one := ServerConfig{Name: "one", Address: "10.0.0.1", Secrets: secrets, Priority: 1}
		two := ServerConfig{Name: "two", Address: "10.0.0.2", Secrets: secrets, Priority: 2}
		if change != nil {
			change(&one, &two)
		}
		p.cfg = Config{Servers: []ServerConfig{two, one}, Log: quiet, Dial: net.dial} // Priority decides, not this order
		g, err := New(p.cfg)
		if err != nil {
			t.Fatal(err)
		}
		p.g = g
		defer g.Close()
		test(t, p)
	})
}

// health returns the Health of the server called name.
func (p *pair) health(name string) Health {
	for _, h := range p.g.Health() {
		if h.Name == name {
			return h
		}
	}
	return Health{}
}

// answeredBy fails the test unless server answers a login between after and at most most.
func (p *pair) answeredBy(t *testing.T, server string, after, most time.Duration) {
	t.Helper()
	begun := time.Now()
	r, err := p.g.Exchange(t.Context(), login("alice"))
	if took := time.Since(begun); err != nil || r.Server != server || took < after || took > most {
		t.Fatalf("%q answers after %s (%v), want %q after %s to %s", r.Server, took, err, server, after, most)
	}
}

// The first server dies; a login goes on at the second within Tries × Timeout, the next ones go there at once; the first
// comes back by its probe.
func TestFailoverAndProbe(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *pair) {
		p.one.set(answers)
		p.two.set(answers)
		p.answeredBy(t, "one", 0, 0)
		if h := p.health("one"); h.State != Alive || p.health("two").State != Unknown {
			t.Fatalf("health %+v", h)
		}
		p.one.set(nil)
		p.answeredBy(t, "two", 7200*time.Millisecond, 9*time.Second)
		if h := p.health("one"); h.State != Dead || h.Since != time.Now() || !strings.Contains(h.LastError, "3 requests") {
			t.Fatalf("health %+v", h)
		}
		for range 20 {
			p.answeredBy(t, "two", 0, 0)
		}
		if n := p.one.count(radius.CodeAccessRequest); n != 4 {
			t.Errorf("the first server got %d logins, want 1 and 3 tries of another", n)
		}
		time.Sleep(20 * time.Second)
		if n := p.one.count(radius.CodeStatusServer); n != 2 {
			t.Errorf("%d probes in 20 s, want one every 8 to 10 s", n)
		}
		p.one.set(answers)
		time.Sleep(10 * time.Second)
		if h := p.health("one"); h.State != Alive {
			t.Fatalf("health %+v: the probe was answered", h)
		}
		p.answeredBy(t, "one", 0, 0)
		n := p.one.count(radius.CodeStatusServer)
		time.Sleep(time.Minute)
		if p.one.count(radius.CodeStatusServer) != n {
			t.Error("a server that is alive is probed")
		}
	})
}

// A server without Status-Server comes back by one live request at a time, which loses one Timeout, not all tries.
func TestTrial(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *pair) {
		p.two.set(answersLogins)
		p.answeredBy(t, "two", 7200*time.Millisecond, 9*time.Second)
		time.Sleep(29 * time.Second)
		p.answeredBy(t, "two", 0, 0)
		time.Sleep(time.Second)
		before := p.one.count(radius.CodeAccessRequest)

		var wg sync.WaitGroup
		delayed := make(chan time.Duration, 10)
		begun := time.Now()
		for range 10 {
			wg.Go(func() {
				r, err := p.g.Exchange(t.Context(), login("alice"))
				if err != nil || r.Server != "two" {
					t.Errorf("%q, %v", r.Server, err)
				}
				if took := time.Since(begun); took > 0 {
					delayed <- took
				}
			})
		}
		wg.Wait()
		if n := p.one.count(radius.CodeAccessRequest) - before; n != 1 || len(delayed) != 1 || <-delayed > 3*time.Second {
			t.Errorf("%d datagrams of a trial, want one, and one login delayed by it", n)
		}
		p.answeredBy(t, "two", 0, 0) // the next trial comes after another dead time

		p.one.set(answersLogins)
		time.Sleep(30 * time.Second)
		p.answeredBy(t, "one", 0, 0)
		if h := p.health("one"); h.State != Alive {
			t.Errorf("health %+v", h)
		}
	})
}

// A server that answers Status-Server and nothing else comes back by a probe once, not again and again.
func TestHollowServer(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *pair) {
		p.one.set(answersStatus)
		p.two.set(answers)
		p.answeredBy(t, "two", 7200*time.Millisecond, 9*time.Second)
		time.Sleep(10 * time.Second)
		if h := p.health("one"); h.State != Alive {
			t.Fatalf("health %+v", h)
		}
		p.answeredBy(t, "two", 7200*time.Millisecond, 9*time.Second)
		time.Sleep(25 * time.Second)
		if h := p.health("one"); h.State != Dead || p.one.count(radius.CodeStatusServer) < 3 {
			t.Fatalf("health %+v", h)
		}
		p.answeredBy(t, "two", 0, 0)
		time.Sleep(5 * time.Second)
		p.answeredBy(t, "two", 2400*time.Millisecond, 3*time.Second) // a trial
		p.one.set(answers)
		time.Sleep(30 * time.Second)
		p.answeredBy(t, "one", 0, 0)
		p.one.set(nil)
		p.answeredBy(t, "two", 7200*time.Millisecond, 9*time.Second)
		p.one.set(answers)
		time.Sleep(10 * time.Second)
		if h := p.health("one"); h.State != Alive {
			t.Errorf("health %+v: it has answered logins since, so a probe is believed", h)
		}
	})
}

// One whose administrator turns Status-Server off is not left dead for ever.
func TestProbesAreNoLongerAnswered(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *pair) {
		p.two.set(answers)
		p.answeredBy(t, "two", 7200*time.Millisecond, 9*time.Second)
		p.one.set(answers)
		time.Sleep(10 * time.Second)
		p.answeredBy(t, "one", 0, 0)
		p.one.set(nil)
		p.answeredBy(t, "two", 7200*time.Millisecond, 9*time.Second)
		p.one.set(answersLogins)
		for range 9 {
			time.Sleep(30 * time.Second)
			p.answeredBy(t, "two", 0, 0)
		}
		time.Sleep(30 * time.Second)
		p.answeredBy(t, "one", 0, 0)
	})
}

// Requests that are under way when others find their server dead go on at once.
func TestDeathInMidLogin(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *pair) {
		p.two.set(answers)
		var wg sync.WaitGroup
		begun := time.Now()
		var done [6]time.Duration
		for i := range done {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				p.answeredBy(t, "two", 2*time.Second, 9*time.Second)
				done[i] = time.Since(begun)
			})
		}
		wg.Wait()
		for i, all := range done {
			if all != done[0] {
				t.Errorf("a login that began %d s later is done at %s, want %s as the first", i, all, done[0])
			}
		}
		if h := p.health("one"); h.Outstanding != 0 || h.Ports[0].Stats.Deaths != 1 || h.Ports[0].Stats.Moved != 5 {
			t.Errorf("health %+v", h)
		}
	})
}

// With nobody else left, a request stays with a server that others find dead: it may answer after all.
func TestNobodyElseToMoveTo(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *pair) {
		mustFail(t, p.g, login("alice"), tenant.ReasonRadiusTimeout, "from one (", "; then ", "from two (")
		if p.health("one").State != Dead || p.health("two").State != Dead {
			t.Fatal("they are not dead")
		}
		p.one.set(func(q query) {
			if string(q.p.Get(1)) == "slow" && p.one.count(radius.CodeAccessRequest) == 6 {
				answers(q)
			}
		})
		reply, err := p.g.Exchange(t.Context(), login("slow"))
		if err != nil || reply.Server != "one" || p.health("one").State != Alive {
			t.Errorf("%q, %v: a dead server is asked where nobody else is left, with all tries", reply.Server, err)
		}
	})
}

// A server that answers others is not dead because of one request that it does not answer.
func TestOneUnansweredRequest(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *pair) {
		p.one.set(func(q query) { onlyIf(q, string(q.p.Get(1)) != "poison") })
		p.two.set(answers)
		var wg sync.WaitGroup
		wg.Go(func() {
			r, err := p.g.Exchange(t.Context(), login("poison"))
			if err != nil || r.Server != "two" {
				t.Errorf("%q, %v", r.Server, err)
			}
		})
		time.Sleep(5 * time.Second)
		p.answeredBy(t, "one", 0, 0)
		wg.Wait()
		if h := p.health("one"); h.State != Alive || h.LastError == "" {
			t.Errorf("health %+v", h)
		}
	})
}

// The context's deadline comes before the tries are used up: the next login must not fall into the same hole.
func TestDeadlineFindsAServerDead(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *pair) {
		p.two.set(answers)
		for _, tt := range []struct {
			wait time.Duration
			want State
		}{{2 * time.Second, Unknown}, {4 * time.Second, Dead}} {
			ctx, cancel := context.WithTimeout(t.Context(), tt.wait)
			_, err := p.g.Exchange(ctx, login("alice"))
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || p.health("one").State != tt.want {
				t.Errorf("after %s: %v, %s, want %s", tt.wait, err, p.health("one").State, tt.want)
			}
		}
		p.answeredBy(t, "two", 0, 0)
	})
}

// The first server's answer comes when the second is asked: it is late there and nothing to the second.
func TestLateReplyAfterFailover(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *pair) {
		queries := make(chan query, 3)
		p.one.set(func(q query) { queries <- q })
		p.two.set(func(q query) {
			late := <-queries
			late.send(answerOf{code: radius.CodeAccessReject}.to(late))
			forged := answerOf{code: radius.CodeAccessReject}.to(late)
			forged[1] = q.raw[1]
			q.send(forged)
			answers(q)
		})
		r, err := p.g.Exchange(t.Context(), login("alice"))
		if err != nil || r.Server != "two" || r.Packet[0] != byte(radius.CodeAccessAccept) {
			t.Fatalf("%+v, %v", r, err)
		}
		synctest.Wait()
		one, two := p.health("one").Ports[0].Stats, p.health("two").Ports[0].Stats
		if one.Drops[packet.DropLate] != 1 || two.Drops[packet.DropResponseAuthenticator] != 1 || one.Rejects+two.Rejects != 0 {
			t.Errorf("counters %+v and %+v", one, two)
		}
	})
}

// The ports of a server die on their own.
func TestPurposesAreApart(t *testing.T) {
	bubble(t, func(_, two *ServerConfig) { two.Purposes = []Purpose{Accounting} }, func(t *testing.T, p *pair) {
		p.one.set(answersLogins)
		p.two.set(answers)
		begun := time.Now()
		r, err := p.g.Exchange(t.Context(), record("s-1"))
		if err != nil || r.Server != "two" || time.Since(begun) > 9*time.Second {
			t.Fatalf("%+v, %v", r, err)
		}
		p.answeredBy(t, "one", 0, 0)
		h := p.health("one")
		if h.State != Dead || h.Ports[0].State != Alive || h.Ports[1].State != Dead {
			t.Errorf("health %+v", h)
		}
		if len(p.health("two").Ports) != 1 {
			t.Error("a server for accounting alone has an authentication port")
		}
		p.one.set(nil)
		err = noAnswerTo(t, p.g, login("alice"), tenant.ReasonRadiusTimeout, "from one (")
		if strings.Contains(err.Error(), "two") {
			t.Errorf("%v: the second server is not for logins", err)
		}
	})
}

func TestGivenServer(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *pair) {
		p.two.set(answers)
		r := login("alice")
		r.Server = "two"
		reply, err := p.g.Exchange(t.Context(), r)
		if err != nil || reply.Server != "two" || p.one.count(radius.CodeAccessRequest) != 0 {
			t.Errorf("%+v, %v", reply, err)
		}
		r.Server, r.Tries = "one", 1
		begun := time.Now()
		err = noAnswerTo(t, p.g, r, tenant.ReasonRadiusTimeout, "from one (", "1 requests")
		if strings.Contains(err.Error(), "two") || time.Since(begun) > 3*time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		r.Server = "three"
		if err := noAnswerTo(t, p.g, r, tenant.ReasonRadiusTimeout, "three is not configured"); !errors.Is(err, ErrNoServer) {
			t.Error(err)
		}
		r.Server, r.Code = "two", radius.CodeStatusServer
		reply, err = p.g.Exchange(t.Context(), r)
		if err != nil || reply.Packet[0] != byte(radius.CodeAccessAccept) {
			t.Errorf("Status-Server: %+v, %v", reply, err)
		}
	})
}

// A Status-Server that a test of a server sends in vain says nothing about its logins.
func TestUnansweredStatusServer(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *pair) {
		r := login("alice")
		r.Server, r.Code = "one", radius.CodeStatusServer
		mustFail(t, p.g, r, tenant.ReasonRadiusTimeout, "nothing came back")
		if h := p.health("one"); h.State != Unknown {
			t.Errorf("health %+v", h)
		}
	})
}

// No socket can be opened: the next server is asked at once, and the first is tried again later.
func TestSocketCannotBeOpened(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *pair) {
		p.one.down = true
		p.two.set(answers)
		p.answeredBy(t, "two", 0, 0)
		if h := p.health("one"); h.State != Dead || !strings.Contains(h.LastError, "refused") {
			t.Errorf("health %+v", h)
		}
		p.one.mu.Lock()
		p.one.down = false
		p.one.mu.Unlock()
		p.one.set(answers)
		time.Sleep(11 * time.Second)
		p.answeredBy(t, "one", 0, 0)
	})
}

// No more sockets can be opened: requests wait for the identifiers of those that there are.
func TestOnlyOneSocket(t *testing.T) {
	bubble(t, func(one, _ *ServerConfig) { one.MaxOutstanding = 600 }, func(t *testing.T, p *pair) {
		p.one.set(func(q query) { time.AfterFunc(time.Second, func() { answers(q) }) })
		p.two.set(answers)
		dial := p.cfg.Dial
		var opened atomic.Int32
		p.cfg.Dial = func(ctx context.Context, d Dial) (net.Conn, error) {
			if opened.Add(1) > 1 {
				return nil, errors.New("too many open files")
			}
			return dial(ctx, d)
		}
		noError(t, p.g.Update(p.cfg))
		var wg sync.WaitGroup
		begun := time.Now()
		for range 600 {
			wg.Go(func() {
				if r, err := p.g.Exchange(t.Context(), login("alice")); err != nil || r.Server != "one" {
					t.Errorf("%q, %v", r.Server, err)
				}
			})
		}
		wg.Wait()
		if h := p.health("one"); h.State != Alive || h.Sockets != 1 || !strings.Contains(h.LastError, "open files") ||
			time.Since(begun) != 3*time.Second {
			t.Errorf("after %s: health %+v", time.Since(begun), h)
		}
	})
}

// noWrite is a socket that nothing can be sent through, as where a firewall refuses it.
type noWrite struct{ net.Conn }

func (noWrite) Write([]byte) (int, error) { return 0, errors.New("operation not permitted") }

func TestNothingCanBeSent(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *pair) {
		dial := p.cfg.Dial
		p.cfg.Dial = func(ctx context.Context, d Dial) (net.Conn, error) {
			c, err := dial(ctx, d)
			if err == nil && d.Remote.Addr().String() == "10.0.0.1" {
				c = noWrite{c}
			}
			return c, err
		}
		noError(t, p.g.Update(p.cfg))
		p.two.set(answers)
		p.answeredBy(t, "two", 0, 10*time.Second)
		if h := p.health("one"); h.State != Dead || !strings.Contains(h.LastError, "not permitted") || h.Outstanding != 0 || h.Sockets != 0 {
			t.Errorf("health %+v", h)
		}
		p.answeredBy(t, "two", 0, 0)
		noError(t, p.g.Update(Config{Servers: p.cfg.Servers, Log: quiet, Dial: dial}))
		p.one.set(answers)
		time.Sleep(30 * time.Second)
		p.answeredBy(t, "one", 0, 0)
	})
}

func TestNoServers(t *testing.T) {
	g := startGroup(t)
	if err := noAnswerTo(t, g, login("alice"), tenant.ReasonRadiusTimeout, "no RADIUS server is configured for access"); !errors.Is(err, ErrNoServer) {
		t.Error(err)
	}
	r := login("alice")
	r.Code = radius.CodeCoARequest
	mustFail(t, g, r, tenant.ReasonRadiusTimeout, "CoA-Request")
}

// Weighted balance within a priority, and priorities before all.
func TestOrder(t *testing.T) {
	var servers []*server
	for i, c := range []struct{ priority, weight int }{{2, 1}, {1, 1}, {1, 3}, {1, 6}} {
		s := &server{}
		s.cfg.Store(&settings{ServerConfig: ServerConfig{Name: fmt.Sprint(i), Priority: c.priority, Weight: c.weight}})
		servers = append(servers, s)
	}
	first := map[string]int{}
	const n = 1000
	for i := range n {
		out := order(servers, func() float64 { return float64(i) / n })
		if len(out) != 4 || out[3] != servers[0] {
			t.Fatal("the server of the lower priority is not last")
		}
		first[out[0].cfg.Load().Name]++
	}
	if first["1"] != n/10 || first["2"] != n*3/10 || first["3"] != n*6/10 {
		t.Errorf("first were %v", first)
	}
}

func TestBalance(t *testing.T) {
	bubble(t, func(one, two *ServerConfig) { one.Priority, one.Weight = 2, 3 }, func(t *testing.T, p *pair) {
		p.one.set(answers)
		p.two.set(answers)
		for range 400 {
			if _, err := p.g.Exchange(t.Context(), login("alice")); err != nil {
				t.Fatal(err)
			}
		}
		if n := p.one.count(radius.CodeAccessRequest); n < 240 || n > 360 { // 300, with a deviation of 9
			t.Errorf("a server with 3 of 4 shares got %d of 400", n)
		}
	})
}
