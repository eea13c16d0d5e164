package l2tp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	lac "concentrator/internal/simclient/l2tp"
	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/l2tp"
)

// personalities are the clients of facts, each with its tunnel ID.
func personalities() map[string]lac.Config {
	return map[string]lac.Config{
		"Windows": lac.Windows("DESKTOP-1", 1),
		"macOS":   lac.MacOS("mac", 17),
		"Android": lac.Android(0xbeef, nil, nil),
		"xl2tpd":  lac.Xl2tpd("linux", 4242),
	}
}

func TestLoginAndHangup(t *testing.T) {
	for name, cfg := range personalities() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Config{})
				p := w.newPeer("203.0.113.1:4500")
				c := p.client(1701, cfg)
				if err := c.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				call, err := c.Call(t.Context(), 7)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				id := cfg.Start.AssignedTunnelID
				w.expect(fmt.Sprintf("tunnel %d: 0", id), "call 7: 0", "connected 0x101")
				if call.PeerID() != 0x101 || c.PeerTunnel() != 16 {
					t.Errorf("session %d, tunnel %d", call.PeerID(), c.PeerTunnel())
				}
				r := w.requests[0]
				if r.Peer != p || r.Port != 1701 || r.LocalTunnel != 16 || r.PeerTunnel != id || r.PeerSession != 7 ||
					r.HostName != cfg.Start.HostName || r.Vendor != cfg.Start.VendorName {
					t.Errorf("request %+v", r)
				}
				if got := w.connects[0x101]; got.TxSpeed != cfg.Connect.TxConnectSpeed || got.FramingType != cfg.Connect.FramingType {
					t.Errorf("connect %+v", got)
				}
				call.Hangup(wire.Result{Code: wire.CallResultAdministrative})
				if err := c.Stop(t.Context()); err != nil {
					t.Error(err)
				}
				w.expect("closed 0x101 USER_REQUEST", "tunnel closed")
				time.Sleep(fullCycle + time.Second)
				w.clean()
			})
		})
	}
}

// TestLossyLinks runs every client over links that lose, repeat and reorder messages.
func TestLossyLinks(t *testing.T) {
	for _, loss := range []int{0, 10, 20, 50} {
		for name, cfg := range personalities() {
			t.Run(fmt.Sprintf("%s %d%%", name, loss), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cfg.Tries = 100 // so that only the server's patience counts
					w := newWorld(t, Config{HalfOpenTimeout: 5 * time.Minute, CallTimeout: 5 * time.Minute})
					const rounds = 20
					good := 0
					for i := range rounds {
						p := w.newPeer(fmt.Sprintf("203.0.113.%d:4500", i+1))
						p.loss, p.twice, p.jitter = loss, loss, 50*time.Millisecond
						p.rand.Uint64N(uint64(i + 1))
						for range i {
							p.rand.Uint64()
						}
						c := p.client(1701, cfg)
						ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
						if err := c.Start(ctx); err == nil {
							if call, err := c.Call(ctx, 7); err == nil {
								good++
								time.Sleep(2 * time.Minute) // with HELLOs
								select {
								case <-c.Done():
									if loss < 50 {
										t.Errorf("the tunnel is over: %v", c.Err())
									}
								default:
								}
								_ = call
							}
						}
						cancel()
						_ = c.Stop(t.Context()) // the acknowledgement may be lost
						c.Abort()
					}
					// At 50 % each way one exchange fails six times in a row with a chance of 18 %.
					if want := map[int]int{0: rounds, 10: rounds, 20: rounds, 50: rounds / 2}[loss]; good < want {
						t.Errorf("%d of %d logins", good, rounds)
					}
					time.Sleep(10 * time.Minute)
					w.clean()
					open := 0
					for _, e := range w.events() {
						var n int
						if _, err := fmt.Sscanf(e, "call 7: %d", &n); err == nil {
							open++
						}
						if len(e) > 6 && e[:6] == "closed" {
							open--
						}
					}
					if open != 0 {
						t.Errorf("%d calls were not closed", open)
					}
				})
			})
		}
	}
}

// open starts a client with one call and takes the events of that.
func (w *world) open(p *peer, port uint16, cfg lac.Config) (*lac.Client, *lac.Call) {
	w.t.Helper()
	c := p.client(port, cfg)
	if err := c.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	call, err := c.Call(w.t.Context(), 7)
	if err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
	return c, call
}

// TestClientComesBack is a client that is cut off and starts again with the same port and tunnel ID while its old tunnel
// is open.
func TestClientComesBack(t *testing.T) {
	for name, cfg := range personalities() {
		for _, loggedIn := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %v", name, loggedIn), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, Config{})
					p := w.newPeer("203.0.113.1:4500")
					c, call := w.open(p, 1701, cfg)
					if loggedIn {
						w.call(call.PeerID()).Authenticated()
					}
					time.Sleep(3 * time.Second)
					c.Abort()
					time.Sleep(58 * time.Second) // a HELLO is on its way again and again
					w.events()
					begin := time.Now()
					_, again := w.open(p, 1701, cfg)
					if d := time.Since(begin); d > time.Second {
						t.Errorf("back after %v", d)
					}
					id := cfg.Start.AssignedTunnelID
					begun := []string{fmt.Sprintf("tunnel %d: 0", id), "call 7: 0", "connected 0x102"}
					if !loggedIn {
						got := w.events()
						if len(got) != 5 || !containsAll(got, append(begun, "closed 0x101 LOST_CARRIER", "tunnel closed")...) {
							t.Errorf("events %q", got)
						}
						w.end()
						return
					}
					w.expect(begun...)
					// The old tunnel says nothing that its client would take for the new one's.
					p.sent()
					time.Sleep(30 * time.Second)
					if got := p.sent(); len(got) != 0 {
						t.Errorf("sent %v", types(got))
					}
					w.call(again.PeerID()).Authenticated()
					time.Sleep(time.Second)
					w.expect("closed 0x101 REPLACED", "tunnel closed")
					if got := p.sent(); len(got) != 0 {
						t.Errorf("sent %v", types(got))
					}
					select {
					case <-again.Done():
						t.Errorf("the new call is over: %v", again.Err())
					default:
					}
					w.end()
				})
			})
		}
	}
}

func containsAll(have []string, want ...string) bool {
	for _, s := range want {
		found := false
		for _, h := range have {
			found = found || h == s
		}
		if !found {
			return false
		}
	}
	return true
}

// TestSecondTunnelThatComesToNothing: the old one goes on.
func TestSecondTunnelThatComesToNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		p := w.newPeer("203.0.113.1:4500")
		cfg := lac.Windows("pc", 1)
		c, call := w.open(p, 1701, cfg)
		w.call(call.PeerID()).Authenticated()
		time.Sleep(2 * time.Second)
		w.events()
		r := cfg.Start
		r.ProtocolVersion = wire.Version
		p.inject(1701, wire.Header{}, &r)
		time.Sleep(40 * time.Second)
		w.expect("tunnel 1: 0", "refused L2TP_TUNNEL PEER_TIMEOUT", "tunnel closed")
		if call.Err() != nil {
			t.Errorf("the old call is over: %v", call.Err())
		}
		// It is watched again, and still the one that a third attempt replaces.
		p.sent()
		c.Abort()
		time.Sleep(70 * time.Second)
		if got := types(p.sent()); !slices.Contains(got, wire.TypeHELLO) {
			t.Errorf("sent %v", got)
		}
		_, again := w.open(p, 1701, cfg)
		w.events()
		w.call(again.PeerID()).Authenticated()
		time.Sleep(time.Second)
		w.expect("closed 0x101 REPLACED", "tunnel closed")
		w.end()
	})
}

// TestOldTunnelSpeaks: while a second tunnel of the same ID is being opened, the old one's client is heard again: it was
// no client that died.
func TestOldTunnelSpeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{IdleTimeout: 10 * time.Second})
		p := w.newPeer("203.0.113.1:4500")
		cfg := lac.MacOS("mac", 1)
		_, call := w.open(p, 1701, cfg)
		w.call(call.PeerID()).Authenticated()
		time.Sleep(2 * time.Second)
		w.events()
		r := cfg.Start
		r.ProtocolVersion = wire.Version
		w.receive(p, 1701, wire.Append(nil, wire.Header{}, &r, nil))
		time.Sleep(time.Second)
		call.Hangup(wire.Result{Code: wire.CallResultAdministrative})
		time.Sleep(time.Second)
		w.expect("tunnel 1: 0", "closed 0x101 USER_REQUEST")
		time.Sleep(15 * time.Second) // no other call comes: the old tunnel ends, by its own timer
		w.expect("tunnel closed")
		// The second comes to nothing, and its place is free again.
		time.Sleep(20 * time.Second)
		w.expect("refused L2TP_TUNNEL PEER_TIMEOUT", "tunnel closed")
		w.receive(p, 1701, wire.Append(nil, wire.Header{}, &r, nil))
		synctest.Wait()
		w.expect("tunnel 1: 0")
		p.set(func() { p.cut = true })
		time.Sleep(2 * time.Minute)
		w.end()
	})
}

// TestLoginOfADeadCall replaces nothing.
func TestLoginOfADeadCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		p := w.newPeer("203.0.113.1:4500")
		c, call := w.open(p, 1701, lac.Windows("pc", 1))
		w.call(call.PeerID()).Authenticated()
		time.Sleep(2 * time.Second)
		c.Abort()
		_, again := w.open(p, 1701, lac.Windows("pc", 1))
		w.events()
		w.call(again.PeerID()).Disconnect(tenant.ReasonAdminDisconnect)
		w.call(again.PeerID()).Authenticated()
		time.Sleep(time.Second)
		w.expect()
		w.end()
	})
}

// TestRepeatedRequests: an SCCRQ that comes again is answered by the tunnel that it has begun.
func TestRepeatedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		p := w.newPeer("203.0.113.1:4500")
		r := &wire.SCCRQ{ProtocolVersion: wire.Version, FramingCapabilities: 1, HostName: "pc", AssignedTunnelID: 1}
		p.inject(1701, wire.Header{}, r)
		synctest.Wait()
		for range 3 {
			p.inject(1701, wire.Header{}, r)
		}
		synctest.Wait()
		w.expect("tunnel 1: 0")
		got := p.sent()
		if len(got) != 4 {
			t.Fatalf("%d replies", len(got))
		}
		for _, m := range got {
			if m.(*wire.SCCRP).AssignedTunnelID != 16 {
				t.Errorf("%+v", m)
			}
		}
		// Also just after the SCCCN has overtaken it: no second tunnel, and an acknowledgement.
		p.inject(1701, wire.Header{TunnelID: 16, Ns: 1, Nr: 1}, &wire.SCCCN{})
		synctest.Wait()
		p.inject(1701, wire.Header{}, r)
		synctest.Wait()
		w.expect()
		if st := w.server.Stats(); st.Open != 1 || st.Repeated != 4 || st.Accepted != 1 {
			t.Errorf("%+v", st)
		}
		// Another port, another ID or another peer's: a new tunnel.
		p.inject(1702, wire.Header{}, r)
		other := w.newPeer("203.0.113.1:4501")
		other.inject(1701, wire.Header{}, r)
		two := *r
		two.AssignedTunnelID = 2
		p.inject(1701, wire.Header{}, &two)
		synctest.Wait()
		if st := w.server.Stats(); st.Open != 4 {
			t.Errorf("%+v", st)
		}
		w.events()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
		w.clean()
	})
}

// TestChangedRequest: one of the same ID but with other octets, while the first is half open, is a new attempt.
func TestChangedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		p := w.newPeer("203.0.113.1:4500")
		r := wire.SCCRQ{ProtocolVersion: wire.Version, FramingCapabilities: 1, HostName: "pc", AssignedTunnelID: 1}
		p.inject(1701, wire.Header{}, &r)
		synctest.Wait()
		r.HostName = "other"
		p.inject(1701, wire.Header{}, &r)
		synctest.Wait()
		got := w.events()
		if len(got) != 4 || !containsAll(got, "tunnel 1: 0", "refused L2TP_TUNNEL PEER_TIMEOUT", "tunnel closed") {
			t.Errorf("events %q", got)
		}
		if st := w.server.Stats(); st.Open != 1 || st.Accepted != 2 {
			t.Errorf("%+v", st)
		}
		time.Sleep(2 * time.Minute)
		w.clean()
	})
}

func TestTunnelAuthentication(t *testing.T) {
	secret, challenge := tenant.Secret("secret"), bytes.Repeat([]byte{7}, 32)
	for _, c := range []struct {
		name   string
		ours   tenant.Secret
		theirs string
		asks   bool
		want   error // of the client
		events []string
	}{
		{"both", secret, "secret", true, nil, []string{"tunnel 9: 0"}},
		{"we ask", secret, "secret", false, nil, []string{"tunnel 9: 0"}},
		{"another secret", secret, "other", false, &lac.ResultError{}, []string{
			"tunnel 9: 0", "refused L2TP_TUNNEL TUNNEL_SECRET_MISMATCH", "tunnel closed",
		}},
		{"the client finds out first", secret, "other", true, lac.ErrSecret, []string{
			"tunnel 9: 0", "refused L2TP_TUNNEL TUNNEL_SECRET_MISMATCH", "tunnel closed",
		}},
		{"the client has none", secret, "", false, lac.ErrSecret, []string{
			"tunnel 9: 0", "refused L2TP_TUNNEL TUNNEL_SECRET_MISMATCH", "tunnel closed",
		}},
		{"we have none", nil, "secret", true, &lac.ResultError{}, []string{
			"tunnel 9: 0", "refused L2TP_TUNNEL TUNNEL_SECRET_MISMATCH", "tunnel closed",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Config{})
				w.answer = func(r TunnelRequest) TunnelAnswer {
					if r.Challenged != c.asks {
						t.Errorf("challenged: %v", r.Challenged)
					}
					return TunnelAnswer{Secret: c.ours}
				}
				p := w.newPeer("203.0.113.1:4500")
				cfg := lac.Android(9, nil, nil)
				if c.theirs != "" {
					cfg.Secret = []byte(c.theirs)
				}
				if c.asks {
					cfg.Start.Challenge = challenge
				}
				client := p.client(1701, cfg)
				err := client.Start(t.Context())
				if err == nil { // the client can't tell before the server has looked at its SCCCN
					time.Sleep(time.Second)
					err = client.Err()
				}
				var r *lac.ResultError
				switch {
				case c.want == nil && err != nil, errors.Is(c.want, lac.ErrSecret) && !errors.Is(err, lac.ErrSecret):
					t.Errorf("%v, want %v", err, c.want)
				case errors.As(c.want, &r) && (!errors.As(err, &r) || r.Result.Code != wire.StopResultNotAuthorized):
					t.Errorf("%v, want StopCCN with result 4", err)
				}
				time.Sleep(time.Second)
				w.expect(c.events...)
				w.end()
			})
		})
	}
}

// TestHiddenAVPs: everything that the client says behind its SCCRQ is hidden.
func TestHiddenAVPs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.answer = func(TunnelRequest) TunnelAnswer { return TunnelAnswer{Secret: tenant.Secret("s")} }
		cfg := lac.Xl2tpd("lac", 5)
		cfg.Secret = []byte("s")
		cfg.Request.CallingNumber = "4711"
		cfg.Hiding = &wire.Hiding{
			Secret: []byte("s"), Vector: []byte("0123456789abcdef"), Hide: func(wire.Attribute) bool { return true }, Padding: 3,
		}
		w.open(w.newPeer("203.0.113.1:1701"), 1701, cfg)
		w.expect("tunnel 5: 0", "call 7: 0", "connected 0x101")
		if r := w.requests[0]; r.CallingNumber != "4711" {
			t.Errorf("%+v", r)
		}
		w.end()
	})
}
