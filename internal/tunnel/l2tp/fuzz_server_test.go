package l2tp

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/corpus"
	lac "concentrator/internal/simclient/l2tp"
	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/l2tp"
)

// judge is the Handler of a world that checks what it is told against what may be.
type judge struct {
	*world

	mu      sync.Mutex
	open    map[uint16]bool // accepted calls of which the end has not been told; true: connected
	calls   []Call
	ids     []uint16 // theirs
	tunnels int      // accepted
	closed  int
}

// Tunnel implements Handler; it turns every fifth away.
func (j *judge) Tunnel(p Peer, r TunnelRequest) TunnelAnswer {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r.PeerTunnel%5 == 4 {
		return TunnelAnswer{Result: wire.StopResultNotAuthorized}
	}
	j.tunnels++
	return j.world.Tunnel(p, r)
}

// IncomingCall implements Handler; it refuses every fifth.
func (j *judge) IncomingCall(c Call, r CallRequest) Answer {
	if r.PeerSession%5 == 4 {
		return Answer{Result: wire.CallResultTemporary}
	}
	a := j.world.IncomingCall(c, r)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.open[a.SessionID] = false
	j.calls, j.ids = append(j.calls, c), append(j.ids, a.SessionID)
	return a
}

// Connected implements Handler.
func (j *judge) Connected(id uint16, r Connect) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if before, there := j.open[id]; before {
		j.t.Errorf("call %#x is connected twice", id)
	} else if there {
		j.open[id] = true
	}
	j.world.Connected(id, r)
}

// CallClosed implements Handler.
func (j *judge) CallClosed(id uint16, cause tenant.Reason, detail string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, there := j.open[id]; !there {
		j.t.Errorf("the end of call %#x is told, which is not open", id)
	}
	delete(j.open, id)
	j.world.CallClosed(id, cause, detail)
}

// TunnelClosed implements Handler.
func (j *judge) TunnelClosed(p Peer, id uint16) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed++
	j.world.TunnelClosed(p, id)
}

// disconnect ends a call from our side: nothing is told of it any more.
func (j *judge) disconnect(n byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.calls) > 0 {
		i := int(n) % len(j.calls)
		delete(j.open, j.ids[i])
		j.calls[i].Disconnect(tenant.ReasonAdminDisconnect)
	}
}

func (j *judge) authenticate(n byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.calls) > 0 {
		j.calls[int(n)%len(j.calls)].Authenticated()
	}
}

// FuzzServerEvents plays several peers, some in clear, against one Server: clients that log in, come again and hang up, and
// messages for any tunnel from anybody, while peers go, become one and lose packets. Each octet triple is one step. Bounds
// hold at every step; in the end nothing is left, and every accepted tunnel and call was told to be over once.
func FuzzServerEvents(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte{0, 0, 1, 1, 0, 1, 2, 9, 0})                                     // a login, and time
	f.Add([]byte{0, 1, 3, 1, 1, 3, 7, 1, 0, 2, 1, 0, 0, 1, 3, 1, 1, 3, 8, 1, 1}) // it comes again; one peer becomes another
	f.Add([]byte{3, 2, 1, 3, 2, 2, 3, 2, 3, 3, 2, 4, 3, 2, 5, 3, 2, 6, 2, 200, 0})
	f.Add([]byte{0, 0, 1, 1, 0, 1, 4, 16, 3, 4, 16, 10, 5, 0, 0, 6, 0, 0, 10, 0, 0})
	f.Fuzz(func(t *testing.T, steps []byte) {
		if len(steps) > 600 {
			return
		}
		synctest.Test(t, func(t *testing.T) { playServer(t, steps) })
	})
}

func playServer(t *testing.T, steps []byte) {
	const limit = 12
	w := newWorld(t, Config{})
	j := &judge{world: w, open: map[uint16]bool{}}
	w.server = NewServer(Config{
		Log: corpus.Log(t), MaxTunnels: limit, MaxTunnelsPerPeer: 3, MaxCallsPerTunnel: 4, MaxHalfOpenPerSource: 3,
	}, j)
	peers := []*peer{
		w.newPeer("203.0.113.1:4500"), w.newPeer("203.0.113.1:4501"), w.newPeer("203.0.113.2:1701"), w.newPeer("[2001:db8::1]:1701"),
	}
	peers[2].plain, peers[3].plain = true, true
	for i, p := range peers {
		p.idle = time.Duration(i) * 40 * time.Second
	}
	ctx, cancel := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	gone := map[*peer]bool{}
	for ; len(steps) >= 3; steps = steps[3:] {
		op, a, b := steps[0], steps[1], steps[2]
		p, port := peers[int(a)%len(peers)], uint16(1701)+uint16(a/16%2)
		switch op % 12 {
		case 0: // a client begins
			if gone[p] {
				continue
			}
			c := p.client(port, lac.Xl2tpd("linux", uint16(b%7)+1))
			busy.Go(func() { _ = c.Start(ctx) })
		case 1: // and makes a call
			p.mu.Lock()
			c := p.clients[port]
			p.mu.Unlock()
			if c != nil {
				busy.Go(func() { _, _ = c.Call(ctx, uint16(b)+1) })
			}
		case 2:
			time.Sleep(time.Duration(a) * time.Duration(b%4*b%4+1) * 20 * time.Millisecond)
		case 3: // an SCCRQ that nobody stands behind
			p.inject(port, wire.Header{}, request(uint16(b%9)))
		case 4: // any message for any tunnel, from anybody
			h := wire.Header{TunnelID: uint16(a/4) * 16 % 256, SessionID: uint16(b / 32), Ns: uint16(b / 8 % 4), Nr: uint16(a % 4)}
			msg := wire.AppendZLB(nil, h)
			if m := script[int(b)%len(script)]; len(m) > 0 {
				h.Control, h.HasLength, h.HasSequence, h.Length = true, true, true, uint16(wire.ControlHeaderLen+len(m))
				msg, _ = h.AppendBinary(nil)
				msg = append(msg, m...)
			}
			w.receive(p, port, msg)
		case 5:
			j.disconnect(b)
		case 6:
			j.authenticate(b)
		case 7: // two are one, as only peers behind IPsec are found to be
			into := peers[int(b)%len(peers)]
			if !into.plain && !p.plain && !gone[into] && !gone[p] {
				w.server.Merge(p, into)
				gone[p] = p != into
			}
		case 8:
			if w.server.PeerGone(p, tenant.ReasonPeerTimeout, "gone"); b%2 == 0 {
				p.set(func() { p.cut = true })
			}
		case 9:
			p.set(func() { p.loss, p.twice, p.cut = int(b)%60, int(b)%30, false })
		case 10:
			w.mu.Lock()
			w.idsGone = b%2 == 0
			w.mu.Unlock()
		case 11: // octets
			w.receive(p, port, steps[:min(len(steps), int(b))])
		}
		synctest.Wait()
		if st := w.server.Stats(); st.Open > limit || st.Closing > limit {
			t.Fatalf("%d tunnels open and %d closing, of %d", st.Open, st.Closing, limit)
		}
		bounds(t, w.server)
	}
	cancel()
	busy.Wait()
	// Left alone, whoever is not heard of goes.
	for _, p := range peers {
		p.set(func() { p.cut, p.idle = true, time.Hour })
	}
	time.Sleep(10 * time.Minute)
	synctest.Wait()
	if st := w.server.Stats(); st.Open+st.Closing > 0 {
		t.Errorf("left alone: %+v", st)
	}
	for _, p := range peers {
		p.mu.Lock()
		for _, c := range p.clients {
			c.Abort()
		}
		p.mu.Unlock()
	}
	w.end()
	if len(j.open) > 0 || j.closed != j.tunnels {
		t.Errorf("calls %v are open, %d of %d tunnels are closed", j.open, j.closed, j.tunnels)
	}
}

// bounds checks a Server's tables against each other.
func bounds(t *testing.T, s *Server) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	all, lingering, plain := 0, 0, 0
	for p, list := range s.peers {
		for _, u := range list {
			all++
			if u.lingering {
				lingering++
			}
			if u.plain {
				plain++
			}
			if u.key.peer != p || u.id != 0 && s.byID[u.id] != u {
				t.Fatalf("tunnel %d of %v is in the wrong place", u.id, p.Remote())
			}
		}
	}
	half := 0
	for _, n := range s.halfOpen {
		half += n
	}
	if all != s.count || lingering != s.closing || plain != s.plain || half != s.plain || len(s.byID) > all || len(s.byKey) > all {
		t.Fatalf("%d tunnels, counted %d; %d linger, counted %d; %d half open, counted %d and %d; %d IDs, %d keys",
			all, s.count, lingering, s.closing, plain, s.plain, half, len(s.byID), len(s.byKey))
	}
}
