package plain

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	server "concentrator/internal/ppp"
	siml2tp "concentrator/internal/simclient/l2tp"
	simppp "concentrator/internal/simclient/ppp"
	simpptp "concentrator/internal/simclient/pptp"
	"concentrator/internal/tenant"
	wirel2tp "concentrator/internal/wire/l2tp"
	wirepptp "concentrator/internal/wire/pptp"
)

// packet is an inner IPv4 packet with a number.
func packet(src, dst netip.Addr, n uint32) []byte {
	p := make([]byte, 28)
	p[0], p[3], p[8], p[9] = 0x45, 28, 64, 17
	s, d := src.As4(), dst.As4()
	copy(p[12:], s[:])
	copy(p[16:], d[:])
	binary.BigEndian.PutUint32(p[24:], n)
	return p
}

// connect logs in, which must take no longer than want.
func (w *world) connect(want time.Duration) {
	w.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	if err := w.c.Connect(ctx); err != nil {
		w.t.Fatal(err)
	}
	if took := time.Since(began); took > want {
		w.t.Errorf("it took %v", took)
	}
	if w.c.Address() != clientAddr || w.c.Err() != nil {
		w.t.Errorf("address %v, %v", w.c.Address(), w.c.Err())
	}
}

// exchange sends packets both ways and looks at what arrives.
func (w *world) exchange(encrypted bool) {
	w.t.Helper()
	time.Sleep(time.Second) // the server has seen the last of IPCP
	const count = 40
	for i := range uint32(count) {
		if err := w.c.Send(packet(clientAddr, serverAddr, i)); err != nil {
			w.t.Fatal(err)
		}
		w.mu.Lock()
		w.frameOut(0x21, packet(serverAddr, clientAddr, i))
		w.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(time.Second)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.inner) != count || encrypted == (w.clear > 0) {
		w.t.Errorf("the server has got %d, %d in the clear", len(w.inner), w.clear)
	}
	for i, p := range w.inner {
		if !slices.Equal(p, packet(clientAddr, serverAddr, uint32(i))) {
			w.t.Errorf("packet %d is %x", i, p)
		}
	}
	if len(w.got) != count {
		w.t.Errorf("the client has got %d", len(w.got))
	}
	for i := range uint32(len(w.got)) {
		if p := <-w.got; !slices.Equal(p, packet(serverAddr, clientAddr, i)) {
			w.t.Errorf("packet %d is %x", i, p)
		}
	}
}

// hangUp hangs up; the server must have got these messages last.
func (w *world) hangUp(last ...string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, 20*time.Second)
	defer cancel()
	began := time.Now()
	if err := w.c.HangUp(ctx); err != nil || time.Since(began) > time.Second {
		w.t.Errorf("hang up: %v after %v", err, time.Since(began))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.log) < len(last) || !slices.Equal(w.log[len(w.log)-len(last):], last) {
		w.t.Errorf("the server has got %q, want %q last", w.log, last)
	}
	if w.open || w.c.timer != nil && w.c.timer.Stop() {
		w.t.Errorf("the server's link is open: %v", w.open)
	}
	if !errors.Is(w.c.Err(), ErrClosed) || !errors.Is(w.c.Send(nil), ErrClosed) {
		w.t.Errorf("afterwards: %v", w.c.Err())
	}
}

func TestPPTP(t *testing.T) {
	for _, c := range []struct {
		name string
		ch   change
		took time.Duration
	}{
		{"well", change{}, 200 * time.Millisecond},
		{"the first frame comes before the reply to the call", change{early: true}, 200 * time.Millisecond},
		{"three packets are lost", change{drops: 3}, 10 * time.Second},
		{"without MPPE", change{
			cfg: func(c *simppp.Config) { c.CCPMode, c.CCP = simppp.CCPNone, nil },
			server: func(_ *server.Config, g *server.Grant) {
				g.MPPE.Policy = tenant.MPPEDisabled
			},
		}, 200 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := pptpWorld(t, c.ch)
				w.connect(c.took)
				w.exchange(c.ch.cfg == nil)
				w.hangUp("Call-Clear-Request", "Stop-Control-Connection-Request")
			})
		})
	}
}

func TestL2TP(t *testing.T) {
	for _, c := range []struct {
		name string
		ch   change
		took time.Duration
	}{
		{"well", change{}, 200 * time.Millisecond},
		{"frames come before the call stands", change{early: true}, 200 * time.Millisecond},
		{"numbered", change{sequence: true}, 200 * time.Millisecond},
		{"numbered from before the call stands", change{sequence: true, early: true}, 200 * time.Millisecond},
		{"two packets are lost", change{drops: 2}, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := l2tpWorld(t, c.ch)
				w.connect(c.took)
				w.exchange(false)
				w.hangUp("CDN", "StopCCN")
			})
		})
	}
}

func worldOf(l2tp bool) func(*testing.T, change) *world {
	if l2tp {
		return l2tpWorld
	}
	return pptpWorld
}

// TestRefused: why a login has failed is told by its error, and hanging up leaves nothing.
func TestRefused(t *testing.T) {
	wrong := func(c *simppp.Config) { c.Passwords = []string{"no"} }
	auth := func(err error) bool {
		var a *simppp.AuthError
		return errors.As(err, &a) && a.Code == 691
	}
	result := func(m wirepptp.Type, code uint8) func(error) bool {
		return func(err error) bool {
			var r *simpptp.ResultError
			return errors.As(err, &r) && r.Message == m && r.Result == code
		}
	}
	for _, c := range []struct {
		name string
		ch   change
		l2tp bool
		is   func(err error) bool
		last []string
	}{
		{"password, PPTP", change{cfg: wrong}, false, auth, []string{"Call-Clear-Request", "Stop-Control-Connection-Request"}},
		{"password, L2TP", change{cfg: wrong}, true, auth, []string{"CDN", "StopCCN"}},
		{"connection", change{start: 4}, false, result(wirepptp.TypeStartControlConnectionReply, 4), nil},
		{"call", change{call: 4}, false, result(wirepptp.TypeOutgoingCallReply, 4), []string{"Stop-Control-Connection-Request"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := worldOf(c.l2tp)(t, c.ch)
				ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
				defer cancel()
				err := w.c.Connect(ctx)
				if !c.is(err) || !c.is(w.c.Err()) {
					t.Errorf("%v, then %v", err, w.c.Err())
				}
				if err := w.c.HangUp(ctx); err != nil {
					t.Error(err)
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				if n := len(w.log) - len(c.last); n < 0 || !slices.Equal(w.log[n:], c.last) {
					t.Errorf("the server has got %q, want %q last", w.log, c.last)
				}
			})
		})
	}
}

// TestEnds: a session that ends by itself says why.
func TestEnds(t *testing.T) {
	terminated := func(err error) bool {
		var e *simppp.TerminatedError
		return errors.As(err, &e) && e.Text == "the server shuts down"
	}
	for _, c := range []struct {
		name string
		l2tp bool
		do   func(w *world)
		is   func(err error) bool
	}{
		{"PPP, PPTP", false, (*world).terminate, terminated},
		{"PPP, L2TP", true, (*world).terminate, terminated},
		{
			"TCP", false,
			func(w *world) { w.c.Broken(io.EOF) },
			func(err error) bool { return errors.Is(err, io.EOF) },
		},
		{
			"the call", false,
			func(w *world) { w.say(wirepptp.CallDisconnectNotify{CallID: serverCall, Result: 3}) },
			func(err error) bool { return err != nil && strings.Contains(err.Error(), "Call-Disconnect-Notify") },
		},
		{
			"the tunnel", true,
			func(w *world) {
				w.control(0, &wirel2tp.StopCCN{AssignedTunnelID: 40, Result: wirel2tp.Result{Code: wirel2tp.StopResultShutdown}})
			},
			func(err error) bool {
				var r *siml2tp.ResultError
				return errors.As(err, &r) && r.Result.Code == wirel2tp.StopResultShutdown
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := worldOf(c.l2tp)(t, change{})
				w.connect(time.Second)
				time.Sleep(time.Second)
				c.do(w)
				time.Sleep(10 * time.Second)
				if !c.is(w.c.Err()) {
					t.Errorf("%v", w.c.Err())
				}
				if err := w.c.Send(packet(clientAddr, serverAddr, 1)); err == nil {
					t.Error("it sends on")
				}
				if err := w.c.HangUp(w.ctx); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// terminate ends the link from the server's side.
func (w *world) terminate() {
	w.onLink(func(now time.Time) { w.link.Terminate(now, tenant.ReasonShutdown, "the server shuts down") })
}

// TestSilence: without an answer Connect ends with its context, and HangUp needs nobody.
func TestSilence(t *testing.T) {
	for _, make := range []func(*testing.T, change) *world{pptpWorld, l2tpWorld} {
		synctest.Test(t, func(t *testing.T) {
			w := make(t, change{silent: true})
			ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
			defer cancel()
			if err := w.c.Connect(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("connect: %v", err)
			}
			if err := w.c.HangUp(w.ctx); err != nil {
				t.Errorf("hang up: %v", err)
			}
		})
	}
}

// TestNeverConnected: a client that was made and not used can be hung up too.
func TestNeverConnected(t *testing.T) {
	for _, make := range []func(*testing.T, change) *world{pptpWorld, l2tpWorld} {
		synctest.Test(t, func(t *testing.T) {
			w := make(t, change{silent: true})
			w.c.Receive([]byte{0x30, 1, 0x88, 0x0b})
			if err := w.c.HangUp(w.ctx); err != nil {
				t.Errorf("hang up: %v", err)
			}
			if err := w.c.Connect(w.ctx); !errors.Is(err, ErrClosed) {
				t.Errorf("connect: %v", err)
			}
		})
	}
}
