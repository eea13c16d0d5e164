package ikev1

import (
	"fmt"
	"sync"
	"time"

	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// outcome is who has authenticated, and by what.
type outcome struct {
	tenant         *TenantPolicy
	psk            PSK
	identity       Identity
	idOwn, idPeer  []byte // bodies of the ID payloads
	initialContact bool
	path           Path
}

// establish asks the Host for the Peer and hands the new ISAKMP SA to its machine, which sends the last message. It
// reports a refusal itself.
func (hs *handshake) establish(now time.Time, o outcome, final func() []byte) {
	isa := newISAKMP(hs, o, now)
	e := hs.e
	e.border.Lock()
	unlock := sync.OnceFunc(e.border.Unlock)
	defer unlock() // where the Host panics too
	p, err := e.hostEstablished(isa, o)
	if err != nil {
		unlock()
		if msg := hs.protectedNotify(wireike.NotifyAuthenticationFailed); msg != nil {
			e.h.Send(o.path, msg)
		}
		hs.failWith(o.tenant.Name, o.identity.String(), err)
		return
	}
	var pieces [][]byte
	if final != nil {
		if msg := final(); msg != nil {
			pieces = hs.out.cut(o.path, msg)
		}
		hs.last.replies = pieces
	}
	isa.last, isa.lastIV = hs.last, hs.iv
	if f := hs.initiation.KeyLog; f != nil {
		isa.keys.Reveal(f)
	}
	isa.keys.EndPhase1()
	e.adopt(hs, p, isa, pieces, o.initialContact)
	unlock()
	hs.state, hs.keys = stateClosed, nil // they are the SA's
	hs.wipe()
}

// hostEstablished asks the Host. It is called with Engine.border held.
func (e *Engine) hostEstablished(isa *isakmp, o outcome) (Peer, error) {
	e.mu.Lock()
	closing := e.closing
	e.mu.Unlock()
	if closing {
		return nil, &RefusedError{tenant.ReasonDraining, "the server is shutting down"}
	}
	p, err := e.h.Established(isa.describe(o))
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	full := e.peers[p] == nil && len(e.peers) >= e.cfg.MaxPeers
	peers := len(e.peers)
	e.mu.Unlock()
	if full {
		detail := fmt.Sprintf("%d peers are connected", peers)
		p.Empty(tenant.ReasonInstanceLimit, detail)
		return nil, &RefusedError{tenant.ReasonInstanceLimit, detail}
	}
	return p, nil
}

// protectedNotify is an encrypted informational message for a peer whose SA is not established but has keys.
func (hs *handshake) protectedNotify(t wireike.NotifyType) []byte {
	if hs.keys == nil {
		return nil
	}
	body, _ := wireike.Notify{Protocol: wireike.ProtocolISAKMP, Type: t}.AppendBinary(nil) // it never fails
	return informational(hs.id, hs.keys, hs.iv, hs.e.random32(), payload{wireike.PayloadNotify, body})
}

// adopt makes a Peer's machine the one that an SA's messages go to, those that wait already included, and lets it send the
// last message of phase 1. It is called with border held, so the machine can't end in between.
func (e *Engine) adopt(hs *handshake, p Peer, isa *isakmp, pieces [][]byte, initialContact bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.peers[p]
	if s == nil {
		s = newStrand()
		s.m = &peer{e: e, s: s, host: p, path: isa.path}
		e.peers[p] = s
	}
	if m, ok := s.m.(*peer); ok {
		m.incoming++
	}
	e.stats.EstablishedSAs++
	e.leaveLocked(hs)
	e.routes[isa.id] = s
	if !hs.initiated {
		e.initiators[hs.key] = s
	}
	queue := hs.s.queue
	e.endLocked(hs.s)
	children := hs.initiation.Children
	e.postLocked(s, event{call: func(now time.Time) {
		m, ok := s.m.(*peer) // by now, perhaps, the one that its Peer was merged into
		if !ok {
			return
		}
		sendAll(e.h, isa.path, pieces)
		m.addSA(now, isa, initialContact)
		if len(pieces) > 0 && len(m.children) == 0 { // else it rekeys, and need not say anything now
			isa.remind.start(now, pieces)
		}
		for _, q := range children {
			m.initiateQuick(now, isa, q, nil)
		}
	}}, 0)
	for _, ev := range queue {
		e.postLocked(s, ev, maxQueue)
	}
}
