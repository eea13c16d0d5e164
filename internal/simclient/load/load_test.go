package load

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/simclient/traffic"
	"concentrator/internal/tenant"
)

// farm makes sessions that only take time.
type farm struct {
	t       *testing.T
	took    time.Duration     // of a login
	fail    func(i int) error // of a login; nil: none
	goodbye func(i int) error // of a goodbye
	kind    func(i int) tenant.Protocol

	now, most, up, dials atomic.Int32 // logins under way, the most at once, sessions, all logins
	pings                atomic.Int32
	rebound              [256]atomic.Int32 // by client

	mu   sync.Mutex
	live map[int]*fake
}

type fake struct {
	f        *farm
	i        int
	open     bool
	mu       sync.Mutex
	err      error
	finished bool
}

func (f *farm) dial(i int) (Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live == nil {
		f.live = map[int]*fake{}
	}
	if old := f.live[i]; old != nil {
		f.t.Errorf("client %d is dialled while it is there", i)
	}
	f.live[i] = &fake{f: f, i: i}
	return f.live[i], nil
}

func (s *fake) Protocol() tenant.Protocol {
	if s.f.kind != nil {
		return s.f.kind(s.i)
	}
	return tenant.ProtocolL2TP
}

func (s *fake) Connect(ctx context.Context) error {
	n := s.f.now.Add(1)
	defer s.f.now.Add(-1)
	for m := s.f.most.Load(); n > m && !s.f.most.CompareAndSwap(m, n); m = s.f.most.Load() {
	}
	s.f.dials.Add(1)
	if err := sleep(ctx, s.f.took); err != nil {
		return err
	}
	if s.f.fail != nil {
		if err := s.f.fail(s.i); err != nil {
			return err
		}
	}
	s.open = true
	s.f.up.Add(1)
	return nil
}

func (s *fake) HangUp(ctx context.Context) error {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	if s.finished {
		s.f.t.Errorf("client %d is hung up twice", s.i)
	}
	s.finished = true
	delete(s.f.live, s.i)
	if s.open {
		s.f.up.Add(-1)
	}
	if s.f.goodbye != nil {
		return s.f.goodbye(s.i)
	}
	return ctx.Err()
}

func (s *fake) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *fake) die(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// Network implements Session: each client has an address of its own.
func (s *fake) Network() simppp.Network {
	return simppp.Network{Address: netip.AddrFrom4([4]byte{10, 64, 0, byte(s.i + 2)}), Server: netip.MustParseAddr("10.64.0.1")}
}

// Send implements Session. Pings are all that is sent.
func (s *fake) Send(packet []byte) error {
	n := s.Network()
	if src, dst, icmp, ok := parseIPv4(packet); !ok || src != n.Address || dst != n.Server || icmp[0] != icmpEchoRequest ||
		internetChecksum(packet[:ipv4HeaderLen]) != 0 || internetChecksum(icmp) != 0 {
		s.f.t.Errorf("client %d sends % x", s.i, packet)
	}
	s.f.pings.Add(1)
	return nil
}

// Rebind implements Rebinder for every other client.
func (s *fake) Rebind() error {
	if s.i%2 == 0 {
		return errors.ErrUnsupported
	}
	s.f.rebound[s.i].Add(1)
	return nil
}

// Rekey implements Rekeyer. Client 3 can't.
func (s *fake) Rekey(ctx context.Context) error {
	if err := sleep(ctx, 10*time.Millisecond); err != nil || s.i != 3 {
		return err
	}
	return errors.New("refused")
}

func (*fake) Lend() (traffic.Path, func(), error) { return traffic.Path{}, nil, errors.ErrUnsupported }

func (f *farm) load(count, parallel int, rate float64) *Load {
	return New(Plan{Dial: f.dial, Count: count, Parallel: parallel, Rate: rate, Timeout: time.Second, Goodbye: time.Second})
}

// left fails the test if anything is left.
func (f *farm) left() {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.live) != 0 || f.up.Load() != 0 {
		f.t.Errorf("left: %d clients, %d sessions", len(f.live), f.up.Load())
	}
}

// TestLogin: the first client goes alone, then so many at once as may; what comes of it is counted.
func TestLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := &simppp.AuthError{Method: tenant.AuthMSCHAPv2, Code: 691, Message: "no"}
		f := &farm{t: t, took: 100 * time.Millisecond}
		f.fail = func(i int) error {
			switch {
			case i == 0 && f.most.Load() > 1:
				t.Errorf("%d with the first one", f.most.Load())
			case i%10 == 3:
				return fmt.Errorf("PPP: %w", refused)
			case i == 50:
				time.Sleep(300 * time.Millisecond)
			}
			return nil
		}
		f.kind = func(i int) tenant.Protocol { return []tenant.Protocol{tenant.ProtocolPPTP, tenant.ProtocolL2TP}[i%2] }
		l := f.load(101, 10, 0)
		l.Login(t.Context())
		if f.most.Load() != 10 || f.up.Load() != 91 || len(l.Sessions()) != 91 {
			t.Errorf("%d at once, %d sessions, %d", f.most.Load(), f.up.Load(), len(l.Sessions()))
		}
		if st := l.Status(); st.Done != 101 || st.OK != 91 || st.Failed != 10 || st.Open != 91 {
			t.Errorf("%+v", st)
		}
		l.HangUp()
		f.left()
		r := l.Report()
		if r.OK != 91 || r.Failed[tenant.ReasonWrongCredentials] != 10 || r.Failures() != 10 || r.Open != 91 || r.Fine() {
			t.Errorf("%+v", r)
		}
		if r.P50Ms < 100 || r.P50Ms > 102 || r.MaxMs != 400 || r.P99Ms > 400 || r.Lost != 0 || r.HangUpFailed != 0 {
			t.Errorf("%+v", r)
		}
		if want := float64(91) / r.ElapsedS; r.Rate != want || r.ElapsedS < 1.1 || r.ElapsedS > 1.5 {
			t.Errorf("%v a second in %v s, want %v", r.Rate, r.ElapsedS, want)
		}
		if p := r.Protocols; len(p) != 2 || p[tenant.ProtocolL2TP].Failed != 10 || p[tenant.ProtocolPPTP].OK != 51 {
			t.Errorf("%+v", p)
		}
		if r.Examples[tenant.ReasonWrongCredentials] == "" {
			t.Errorf("examples %v", r.Examples)
		}
	})
}

// TestRate: logins begin at the rate, however long they take.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &farm{t: t, took: 50 * time.Millisecond}
		l := f.load(101, 10, 20)
		began := time.Now()
		l.Login(t.Context())
		if took := time.Since(began); took != 5*time.Second+50*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		l.HangUp()
		f.left()
	})
}

// TestTimeout: a login that takes too long has failed.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &farm{t: t, took: time.Minute}
		l := f.load(4, 2, 0)
		began := time.Now()
		l.Login(t.Context())
		if r := l.Report(); r.Failed[tenant.ReasonPeerTimeout] != 4 || time.Since(began) != 3*time.Second || r.P50Ms != 0 {
			t.Errorf("after %v: %+v", time.Since(began), r)
		}
		l.HangUp()
		f.left()
	})
}

// TestInterrupt: no login is begun any more, those under way may end, and all that stand are hung up.
func TestInterrupt(t *testing.T) {
	for _, took := range []time.Duration{500 * time.Millisecond, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			f := &farm{t: t, took: took}
			l := New(Plan{Dial: f.dial, Count: 1000, Parallel: 10, Timeout: time.Hour, Goodbye: time.Second})
			time.AfterFunc(1700*time.Millisecond, stop)
			began := time.Now()
			l.Login(ctx)
			if d := time.Since(began); d > 1700*time.Millisecond+grace {
				t.Errorf("it went on for %v", d)
			}
			l.HangUp()
			f.left()
			r := l.Report()
			if want := map[bool]int{true: 31, false: 0}[took < time.Second]; r.OK != want || !r.Interrupted || r.Fine() || r.Failures() != 0 {
				t.Errorf("%v: %+v", took, r)
			}
		})
	}
}

// TestGoodbye: what is not answered is counted, but not of a session that was lost before.
func TestGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &farm{t: t}
		f.goodbye = func(i int) error {
			if i < 2 {
				return context.DeadlineExceeded
			}
			return nil
		}
		l := f.load(10, 4, 0)
		l.Login(t.Context())
		f.live[0].die(&simppp.TerminatedError{Text: "the server shuts down"})
		f.live[5].die(errors.New("no carrier"))
		l.HangUp()
		f.left()
		r := l.Report()
		if r.HangUpFailed != 1 || r.Lost != 2 || r.Open != 8 || r.Fine() ||
			r.LostReasons[tenant.ReasonShutdown] != 1 || r.LostReasons[tenant.ReasonLostCarrier] != 1 {
			t.Errorf("%+v", r)
		}
	})
}

// TestHold: sessions hang up and log in again in turn; who is lost is counted once and logged in again, after a failure too.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		f := &farm{t: t, took: 20 * time.Millisecond}
		f.fail = func(i int) error {
			if i == 7 && broken.Load() {
				return simppp.ErrTimeout
			}
			return nil
		}
		l := f.load(20, 4, 0)
		l.Login(t.Context())
		time.AfterFunc(10*time.Second, func() {
			broken.Store(true)
			f.mu.Lock()
			defer f.mu.Unlock()
			f.live[7].die(errors.New("cut"))
			f.live[8].die(errors.New("cut"))
		})
		time.AfterFunc(17*time.Second, func() { broken.Store(false) })
		began := time.Now()
		l.Hold(t.Context(), Standing{Duration: 30 * time.Second, Churn: 5, Rebind: 2, Rekey: 1, Ping: 10})
		if took := time.Since(began); took < 30*time.Second || took > 31*time.Second {
			t.Errorf("it took %v", took)
		}
		if n := f.up.Load(); n != 20 {
			t.Errorf("%d sessions", n)
		}
		l.HangUp()
		f.left()
		r := l.Report()
		if r.Lost != 2 || r.LostReasons[tenant.ReasonLostCarrier] != 2 || r.Failed[tenant.ReasonPeerTimeout] != 2 {
			t.Errorf("%+v", r)
		}
		// Ten a second through each of 20, but for those that were on their way.
		if n := f.pings.Load(); r.Pings == nil || r.Pings.Sent != uint64(n) || n < 5700 || n > 6000 {
			t.Errorf("%d pings, %+v", n, r.Pings)
		}
		all := 0
		for i := range 20 {
			n := int(f.rebound[i].Load())
			if all += n; i%2 == 0 && n != 0 || i%2 == 1 && (n < 2 || n > 10) {
				t.Errorf("client %d: %d times another port", i, n)
			}
		}
		if r.Rebound != uint64(all) || all < 59 || all > 61 {
			t.Errorf("%d times another port, the report says %d", all, r.Rebound)
		}
		if r.Rekeys == nil || r.Rekeys.OK < 26 || r.Rekeys.Failed < 1 || r.Rekeys.Failed > 2 ||
			r.Examples[ReasonRekey] != "refused" {
			t.Errorf("new SAs: %+v", r.Rekeys)
		}
		// 20 to begin with, 150 by churn, 2 lost ones.
		if r.OK < 165 || r.OK > 175 || r.Open != 20 {
			t.Errorf("%+v", r)
		}
	})
}

// TestDialFails: what can't even be made has failed on this side.
func TestDialFails(t *testing.T) {
	l := New(Plan{
		Dial: func(int) (Session, error) { return nil, errors.New("no sockets") }, Count: 3, Parallel: 2, Timeout: time.Second,
	})
	l.Login(t.Context())
	l.HangUp()
	if r := l.Report(); r.Failed[ReasonLocalError] != 3 || r.Examples[ReasonLocalError] != "no sockets" {
		t.Errorf("%+v", r)
	}
}
