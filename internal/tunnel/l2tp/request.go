package l2tp

import (
	"bytes"
	"fmt"
	"time"

	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/l2tp"
)

// What a tunnel is asked for with, and whether it begins.
const (
	// reopenDelay is how long after the SCCCN an SCCRQ of the same octets counts as a repetition that was overtaken. A
	// client that dies and comes back takes longer, or asks again.
	reopenDelay = time.Second
	// So many SCCRQs a second, and so many at once, begin a tunnel at once although nobody has logged in from their plain
	// source. Others must come twice, and no more of these than that begin one either.
	strangersPerSecond, strangersBurst = 250, 500
	// So many refusals are answered, and told, to plain sources that have more tunnels half open than they may.
	refusalsPerSecond, refusalsBurst = 20, 50
)

// receiveNew takes a message without a tunnel ID: an SCCRQ, or the StopCCN of a peer that never learned our ID.
func (s *Server) receiveNew(p Peer, port uint16, h wire.Header, body []byte) {
	t, _, err := wire.TypeOf(body)
	switch {
	case err == nil && t == wire.TypeStopCCN:
		s.mu.Lock()
		old := s.byKey[key{p, port, wire.FindID(body, wire.AttributeAssignedTunnelID)}]
		if old == nil {
			s.stats.Unknown++
		}
		s.mu.Unlock()
		if old != nil {
			s.put(old, packet{port: port, header: h, body: body})
		}
	case err != nil || t != wire.TypeSCCRQ || h.Ns != 0:
		s.countMessage(&s.stats.Malformed)
	default:
		m, err := wire.Parse(body, nil)
		if r, ok := m.(*wire.SCCRQ); ok {
			s.request(p, port, r, body)
			return
		}
		s.refuseBad(p, port, body, err)
	}
}

// Welcome says whether a control message of a plain source may come to Receive, and counts those that may not. It does not block,
// nor keep anything of msg. An SCCRQ costs a hundred times what it costs to send, so from where nobody has logged in there may not be
// many, unless they come twice; all else may.
func (s *Server) Welcome(p Peer, port uint16, msg []byte) bool {
	h, body, err := wire.ParseHeader(msg)
	if err != nil || h.TunnelID != 0 {
		return true
	}
	if t, _, err := wire.TypeOf(body); err != nil || t != wire.TypeSCCRQ || h.Ns != 0 {
		return true
	}
	now := time.Now()
	src := source(p.Remote())
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.byKey[key{p, port, wire.FindID(body, wire.AttributeAssignedTunnelID)}] != nil: // it comes again
		return true
	case s.cfg.MaxHalfOpenPerSource > 0 && s.halfOpen[src] >= s.cfg.MaxHalfOpenPerSource && !s.refusals.AllowN(now, 1):
		s.stats.TurnedAway++
		return false
	case s.strangers.Knows(src), s.strangers.Again(now, p.Remote(), body), s.strangers.May(now):
		return true
	default:
		s.stats.TurnedAway++
		return false
	}
}

// refuseBad answers an SCCRQ that can't be read, if it says at least whom to answer.
func (s *Server) refuseBad(p Peer, port uint16, body []byte, err error) {
	s.countMessage(&s.stats.Malformed)
	code := wire.ErrorVendor
	if bad, ok := err.(*wire.Error); ok { //nolint:errorlint // Parse says that it is one
		code = bad.Code
	}
	s.turnAway(p, port, wire.FindID(body, wire.AttributeAssignedTunnelID),
		wire.Result{Code: wire.StopResultGeneralError, Error: code})
	s.h.Refused(p, tenant.StageL2TPTunnel, tenant.ReasonProtocolError, fmt.Sprint(err))
}

// turnAway answers an SCCRQ with a StopCCN of which nothing is kept: a repetition gets another one. It says that the
// tunnel which never was had the peer's own ID, since an ID of ours would be one more thing to run out of.
func (s *Server) turnAway(p Peer, port, peerTunnel uint16, r wire.Result) {
	if peerTunnel != 0 {
		h := wire.Header{TunnelID: peerTunnel, Nr: 1}
		p.Send(port, wire.Append(nil, h, &wire.StopCCN{AssignedTunnelID: peerTunnel, Result: r}, nil))
	}
}

// request handles an SCCRQ: a repetition goes to the tunnel that it has begun, a new one begins a tunnel if the limits
// allow.
func (s *Server) request(p Peer, port uint16, r *wire.SCCRQ, body []byte) {
	k := key{p, port, r.AssignedTunnelID}
	now := time.Now()
	s.mu.Lock()
	old := s.byKey[k]
	if old != nil && old.repeats(body, now) {
		s.stats.Repeated++
		s.mu.Unlock()
		s.put(old, packet{repeat: true})
		return
	}
	s.forgetSame(k)
	if reason, detail := s.room(p); reason != "" {
		s.stats.TurnedAway++
		s.mu.Unlock()
		s.turnAway(p, port, r.AssignedTunnelID, stopResult(reason))
		s.h.Refused(p, tenant.StageL2TPTunnel, reason, detail)
		return
	}
	t := &tunnel{
		server: s, key: k, port: port, peer: p, request: body, plain: p.Plain(), wake: make(chan struct{}, 1),
		log: s.cfg.Log.With(telemetry.Peer, p.Remote(), telemetry.Local, p.Local()),
	}
	if old != nil && !old.leaving {
		t.older = old
		if !old.loggedIn {
			t.older, old.older = old.older, nil
			s.end(old, tenant.ReasonLostCarrier, "the client has begun anew before it logged in")
		}
	}
	if t.older != nil {
		t.older.post(command{do: suspend})
	}
	plain := t.plain
	s.enter(t)
	s.mu.Unlock()
	go func() {
		defer s.running.Done()
		t.run(r, port, plain)
	}()
}

// repeats says whether an SCCRQ with this body is the one that began the tunnel, come again.
func (t *tunnel) repeats(body []byte, now time.Time) bool {
	if t.leaving || !bytes.Equal(t.request, body) {
		return false
	}
	return t.state != established || now.Sub(t.establishedAt) < reopenDelay
}

// forgetSame ends tunnels that only linger and whose peer begins anew with the same ID: it would take what they send for
// the new one's.
func (s *Server) forgetSame(k key) {
	for _, t := range s.peers[k.peer] {
		if t.key == k && t.state == stopped {
			s.end(t, "", "")
		}
	}
}

// room says whether there is room for one more tunnel of p; a reason means that there is none.
func (s *Server) room(p Peer) (tenant.Reason, string) {
	open := 0
	var oldest *tunnel // of those that nobody would miss
	for _, t := range s.peers[p] {
		if t.state >= stopped || t.leaving {
			continue
		}
		open++
		if oldest == nil && !t.loggedIn {
			oldest = t
		}
	}
	if open >= s.cfg.MaxTunnelsPerPeer && oldest != nil && !s.draining {
		s.end(oldest, tenant.ReasonLostCarrier, "the peer has opened too many tunnels")
		open--
	}
	src := source(p.Remote())
	switch {
	case s.draining:
		return tenant.ReasonDraining, "the server is shutting down"
	case open >= s.cfg.MaxTunnelsPerPeer:
		return tenant.ReasonInstanceLimit, fmt.Sprintf("the peer has %d tunnels", open)
	case p.Plain() && s.cfg.MaxHalfOpenPerSource > 0 && s.halfOpen[src] >= s.cfg.MaxHalfOpenPerSource:
		return tenant.ReasonInstanceLimit, fmt.Sprintf("%d tunnels of %s are half open", s.halfOpen[src], src)
	case s.count-s.closing >= s.cfg.MaxTunnels && !s.push():
		return tenant.ReasonInstanceLimit, fmt.Sprintf("there are %d tunnels", s.count-s.closing)
	}
	return "", ""
}

// push ends the oldest tunnel in which nobody has logged in, to make room for a new one, or whoever opens many and makes no
// call would keep everybody out. It says whether there was one.
func (s *Server) push() bool {
	for e := s.waiting.Front(); e != nil; e = s.waiting.Front() {
		t, ok := s.waiting.Remove(e).(*tunnel)
		if !ok {
			continue
		}
		t.place = nil
		if t.leaving || t.state >= stopped {
			continue
		}
		s.stats.Pushed++
		s.end(t, tenant.ReasonInstanceLimit, "made room for another tunnel before anybody had logged in")
		return true
	}
	return false
}
