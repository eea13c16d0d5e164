package ikev1

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	wireike "concentrator/internal/wire/ike"
)

// traffic sends a packet each way every 50 ms for a time and returns how many were sent and how many were lost: no SA to
// send through, or one that the other side does not know when the packet comes.
func traffic(w *world, a, b *fakePeer, d time.Duration) (sent, lost int) {
	var bad atomic.Int64
	one := func(from, to *fakePeer) {
		sent++
		from.mu.Lock()
		out := from.out
		from.mu.Unlock()
		if out == nil {
			bad.Add(1)
			return
		}
		time.AfterFunc(w.delay, func() {
			to.mu.Lock()
			in := to.children[out.OutboundSPI]
			first := in != nil && !to.used[in.InboundSPI]
			if first {
				to.used[in.InboundSPI] = true
			}
			to.mu.Unlock()
			if in == nil || string(in.InboundKey) != string(out.OutboundKey) {
				bad.Add(1)
				return
			}
			if first {
				to.h.e.Used(to, in.InboundSPI)
			}
		})
	}
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		one(a, b)
		one(b, a)
	}
	settle(time.Second)
	return sent, int(bad.Load())
}

// pair sets up a server and a client with lifetimes.
func pair(w *world, c Initiator, server, client *TenantPolicy) (s, cl *host) {
	s = w.host(serverAddr, policyOf(server), Config{})
	cl = w.behind("203.0.113.9", "10.0.0.2", policyOf(client), Config{})
	cl.initiate(c)
	settle(2 * time.Second)
	return s, cl
}

func (p *fakePeer) counts() (added, removed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.added, p.removed
}

func TestRekeyByEitherSide(t *testing.T) {
	for _, tc := range []struct {
		name              string
		client, server    time.Duration // wish for ESP
		clientP1, server1 time.Duration
	}{
		{"client", time.Minute, time.Hour, 3 * time.Minute, 8 * time.Hour},
		{"server", time.Hour, time.Minute, 8 * time.Hour, 3 * time.Minute},
		{"both", time.Minute, time.Minute, 2 * time.Minute, 2 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				server, client := pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret")
				server.ESPLifetime, server.IKELifetime = tc.server, tc.server1
				client.ESPLifetime, client.IKELifetime = 12*time.Hour, 12*time.Hour
				c := linux("10.0.0.2", "secret")
				c.Proposals[0].Lifetime, c.Children[0].Lifetime = tc.clientP1, tc.client
				c.Lifetime = tc.clientP1
				s, cl := pair(w, c, server, client)
				sp, cp := s.only(), cl.only()
				sent, lost := traffic(w, sp, cp, 12*time.Minute)
				if lost > 0 {
					t.Errorf("%d of %d packets were lost", lost, sent)
				}
				added, removed := sp.counts()
				sas := len(s.sas)
				t.Logf("%d children, %d removed, %d ISAKMP SAs, server's refusals %v, client's %v", added, removed, sas,
					s.refused(), cl.refused())
				if added < 11 || added > 30 || added-removed > 3 {
					t.Errorf("%d children were made and %d removed in twelve minutes", added, removed)
				}
				if sas < 4 || sas > 10 {
					t.Errorf("%d ISAKMP SAs were made in twelve minutes", sas)
				}
				if len(s.all) != 1 || len(cl.all) != 1 {
					t.Errorf("%d and %d peers", len(s.all), len(cl.all))
				}
				if r := append(s.refused(), cl.refused()...); len(r) > 0 {
					t.Errorf("refusals: %+v", r)
				}
				w.shutdown(cl, s)
			})
		})
	}
}

func TestSimultaneousRekey(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s, cl := pair(w, linux("10.0.0.2", "secret"), pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
		sp, cp := s.only(), cl.only()
		for range 5 {
			_, so := sp.state()
			_, co := cp.state()
			s.e.Limit(sp, so.InboundSPI, false)
			cl.e.Limit(cp, co.InboundSPI, false)
			if sent, lost := traffic(w, sp, cp, 40*time.Second); lost > 0 {
				t.Errorf("%d of %d packets were lost", lost, sent)
			}
		}
		added, _ := sp.counts()
		if n, _ := sp.state(); added != 11 || n > maxChildren {
			t.Errorf("%d children were made, %d are there", added, n)
		}
		w.shutdown(s, cl)
	})
}

func TestRekeyOfBothPhasesAtOnceUnderLoss(t *testing.T) {
	for _, loss := range []float64{0, 0.1, 0.2, 0.5} {
		t.Run(fmt.Sprintf("%.0f%%", 100*loss), func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				w.jitter = 200 * time.Millisecond
				w.loss, w.dup = loss, loss
				s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{HalfOpenLifetime: 3 * time.Minute, HandshakeLifetime: 3 * time.Minute})
				cl := w.behind("203.0.113.9", "10.0.0.2", policyOf(pskPolicy("tenants/client", "secret")), Config{})
				c := linux("10.0.0.2", "secret")
				c.Children[0].Lifetime = 10 * time.Minute
				c.Proposals[0].Lifetime = 15 * time.Minute
				tries := 0
				for ; ; tries++ {
					if tries == 20 {
						t.Fatalf("no child after %d tries: %+v %+v", tries, s.refused(), cl.refused())
					}
					cl.initiate(c)
					settle(4 * time.Minute)
					cl.mu.Lock()
					n := 0
					for _, p := range cl.peers {
						if _, out := p.state(); out != nil {
							n++
						}
					}
					cl.mu.Unlock()
					if n > 0 {
						break
					}
				}
				settle(time.Minute)
				var cp, sp *fakePeer
				cl.mu.Lock()
				for _, p := range cl.peers {
					if _, out := p.state(); out != nil {
						cp = p
					}
				}
				cl.mu.Unlock()
				s.mu.Lock()
				for _, p := range s.peers {
					if _, out := p.state(); out != nil || len(p.children) > 0 {
						sp = p
					}
				}
				s.mu.Unlock()
				if sp == nil || cp == nil {
					t.Fatalf("no peers with children: %v %v; %+v %+v", sp != nil, cp != nil, s.refused(), cl.refused())
				}
				sent, lost := traffic(w, cp, sp, 40*time.Minute)
				t.Logf("%d tries, %d packets, %d lost, stats %+v", tries+1, sent, lost, s.e.Stats())
				if loss <= 0.2 && lost > sent/100 {
					t.Errorf("%d of %d packets were lost", lost, sent)
				}
				w.loss, w.dup = 0, 0
				w.shutdown(cl, s)
			})
		})
	}
}

func TestByteLimit(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		c := linux("10.0.0.2", "secret")
		c.Children[0].Kilobytes = 250000
		s, cl := pair(w, c, pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
		sp := s.only()
		_, out := sp.state()
		if out.HardBytes != 256_000_000 || out.SoftBytes != 237_500_000 {
			t.Errorf("limits %d and %d", out.SoftBytes, out.HardBytes)
		}
		s.e.Limit(sp, out.InboundSPI, false)
		settle(time.Second)
		n, next := sp.state()
		if n != 2 || next == out {
			t.Errorf("after the soft limit there are %d children", n)
		}
		mustCarry(t, sp, cl.only())
		s.e.Limit(sp, out.InboundSPI, true)
		settle(time.Second)
		if n, _ := sp.state(); n != 1 {
			t.Errorf("after the hard limit there are %d children", n)
		}
		mustCarry(t, sp, cl.only())
		w.shutdown(cl, s)
	})
}

func TestPFS(t *testing.T) {
	for _, g := range []wireike.GroupID{wireike.GroupMODP2048, wireike.GroupECP256, wireike.GroupECP521} {
		run(t, func(t *testing.T, w *world) {
			c := linux("10.0.0.2", "secret")
			c.Children[0].PFS = g
			s, cl := pair(w, c, pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
			sp := s.only()
			_, out := sp.state()
			if out == nil || out.PFS != g {
				t.Fatalf("%+v", out)
			}
			mustCarry(t, sp, cl.only())
			s.e.Limit(sp, out.InboundSPI, false)
			settle(time.Second)
			if _, next := sp.state(); next == out || next.PFS != g {
				t.Errorf("the new child has PFS %v", next.PFS)
			}
			mustCarry(t, sp, cl.only())
			w.shutdown(cl, s)
		})
	}
}

// TestBothPhasesAtTheSameTime: a new ISAKMP SA and a new child that are due together are made one after the other, whichever is
// first: a child that is not complete when its peer moves to the new ISAKMP SA may be lost there with the old one.
func TestBothPhasesAtTheSameTime(t *testing.T) {
	for _, tc := range []struct {
		name  string
		begin func(m *peer, now time.Time)
		want  []wireike.ExchangeType // the server's, each until the next begins
	}{
		{"ISAKMP first", func(m *peer, now time.Time) {
			m.rekeySA(now, m.newest())
			m.rekeyChild(now, m.children[0])
		}, []wireike.ExchangeType{wireike.ExchangeMain, wireike.ExchangeQuick}},
		{"child first", func(m *peer, now time.Time) {
			m.rekeyChild(now, m.children[0])
			m.rekeySA(now, m.newest())
		}, []wireike.ExchangeType{wireike.ExchangeQuick, wireike.ExchangeMain}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				w.delay = 100 * time.Millisecond
				s, cl := pair(w, linux("10.0.0.2", "secret"), pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
				sp := s.only()
				var seen []wireike.ExchangeType
				var ids []wireike.Cookie
				w.tap = func(from, _ netip.AddrPort, msg []byte) bool {
					h, err := wireike.ParseHeader(msg)
					if err != nil || h.Exchange == wireike.ExchangeInformational || from.Addr() != s.addr {
						return true
					}
					if len(seen) == 0 || seen[len(seen)-1] != h.Exchange {
						seen, ids = append(seen, h.Exchange), append(ids, h.Initiator)
					}
					return true
				}
				s.e.postPeer(sp, tc.begin)
				settle(8 * time.Second)
				if !slices.Equal(seen, tc.want) {
					t.Fatalf("the server sends %v, want %v", seen, tc.want)
				}
				if seen[0] == wireike.ExchangeMain && ids[0] != ids[1] {
					t.Error("the child is not made in the new ISAKMP SA")
				}
				mustCarry(t, sp, cl.only())
				w.shutdown(cl, s)
			})
		})
	}
}
