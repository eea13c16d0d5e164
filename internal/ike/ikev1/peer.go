package ikev1

import (
	"fmt"
	"slices"
	"time"

	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// peer is the machine of one Peer: all its ISAKMP SAs and children. A child belongs to the peer and not to the SA that
// negotiated it, so that a new Main Mode takes all over, and any of the SAs may rekey or delete any child.
type peer struct {
	e    *Engine
	s    *strand
	host Peer
	path Path      // where the peer is
	at   time.Time // of the event that is worked on

	sas      []*isakmp // oldest first
	children []*child  // oldest first
	outbound *child    // what UseOutbound was called for last
	waiting  []*child  // to be rekeyed when an ISAKMP SA is there
	renewing bool      // a Main Mode of ours is under way
	dpd      dpd

	childlessSince time.Time // zero: there are children
	orphanedAt     time.Time // when to look whether children without an ISAKMP SA are in use; zero: there is an SA
	incoming       int       // SAs on their way to the machine, guarded by Engine.mu
}

// newest returns the newest ISAKMP SA, nil if there is none.
func (p *peer) newest() *isakmp {
	if len(p.sas) == 0 {
		return nil
	}
	return p.sas[len(p.sas)-1]
}

// find returns an ISAKMP SA by its cookies, nil if there is none.
func (p *peer) find(id SAID) *isakmp {
	i := slices.IndexFunc(p.sas, func(s *isakmp) bool { return s.id == id })
	if i < 0 {
		return nil
	}
	return p.sas[i]
}

// addSA takes over a new ISAKMP SA. The oldest goes if there are too many, all of them and what they negotiated if the
// peer says that it has nothing else.
func (p *peer) addSA(now time.Time, s *isakmp, initialContact bool) {
	p.at = now
	p.e.mu.Lock()
	p.incoming--
	p.e.mu.Unlock()
	p.sas = append(p.sas, s)
	p.orphanedAt = time.Time{}
	if initialContact {
		p.initialContact(s)
	}
	for len(p.sas) > maxSAs {
		old := p.sas[0]
		p.send(old, payload{wireike.PayloadDelete, wireike.AppendDelete(nil, wireike.ProtocolISAKMP, old.spi())})
		p.closeSA(old, tenant.ReasonReplaced, "a newer SA of the peer has taken its place")
	}
	p.renewing = false
	if len(p.children) == 0 {
		p.childlessSince = now
	}
	p.heard(now, s, s.path)
	if s.who.tenant.IKELifetime != 0 && !s.initiated && s.suite.lifetime > s.who.tenant.IKELifetime {
		p.send(s, payload{wireike.PayloadNotify, responderLifetime(wireike.ProtocolISAKMP, s.spi(), s.who.tenant.IKELifetime)})
	}
	waiting := p.waiting
	p.waiting = nil
	for _, c := range waiting {
		if slices.Contains(p.children, c) && !c.superseded {
			p.initiateQuick(now, s, c.mode, c)
		}
	}
}

// responderLifetime is the body of a RESPONDER-LIFETIME notify, RFC 2407 section 4.6.3.1.
func responderLifetime(proto wireike.Protocol, spi []byte, d time.Duration) []byte {
	kind, duration := wireike.AttrESPLifeType, wireike.AttrESPLifeDuration
	if proto == wireike.ProtocolISAKMP {
		kind, duration = wireike.AttrLifeType, wireike.AttrLifeDuration
	}
	a := wireike.Attributes{}.With(kind, uint16(wireike.LifeSeconds)).WithLong(duration, uint32(d/time.Second))
	body, _ := wireike.Notify{
		Protocol: proto, Type: wireike.NotifyResponderLifetime, SPI: spi, Data: a.Bytes(),
	}.AppendBinary(nil) // it never fails
	return body
}

// initialContact drops all that the peer had before an SA, which it has forgotten.
func (p *peer) initialContact(s *isakmp) {
	const detail = "the peer has begun anew (INITIAL-CONTACT)"
	for _, old := range slices.Clone(p.sas) {
		if old != s && old.created.Before(s.created) {
			p.closeSA(old, tenant.ReasonReplaced, detail)
		}
	}
	for _, c := range slices.Clone(p.children) {
		if c.created.Before(s.created) {
			p.removeChild(c)
		}
	}
}

// heard notes an authentic and fresh message of the peer. Behind a NAT it may come from elsewhere than before.
func (p *peer) heard(now time.Time, s *isakmp, path Path) {
	p.dpd.heard(now)
	s.remind.stop()
	s.path = path
	if path == p.path {
		return
	}
	sameAddr := path.Remote.Addr() == p.path.Remote.Addr()
	if !s.nat.Remote && !sameAddr {
		return // RFC 3947 section 6: who has no NAT does not move
	}
	p.path = path
	p.host.Move(path)
}

func (p *peer) receive(now time.Time, path Path, msg []byte) {
	p.at = now
	h, err := wireike.ParseHeader(msg)
	if err != nil {
		return // Receive has parsed it already
	}
	s := p.find(SAID{h.Initiator, h.Responder})
	if s == nil && h.Responder.IsZero() {
		// A late copy of message 1 of an exchange that is done.
		i := slices.IndexFunc(p.sas, func(s *isakmp) bool { return s.id.Initiator == h.Initiator })
		if i >= 0 {
			p.e.count(func(st *Stats) { st.Duplicates++ })
			return
		}
	}
	if s == nil {
		p.e.count(func(st *Stats) { st.Unknown++ })
		return
	}
	if h.Next == wireike.PayloadFragment {
		s.out.narrow = true
		if msg = s.frags.add(now, h, msg); msg == nil {
			return
		}
		if h, err = wireike.ParseHeader(msg); err != nil {
			return
		}
	}
	switch {
	case s.last.knows(msg):
		p.again(&s.last, path)
	case h.Exchange == wireike.ExchangeInformational && !h.Encrypted():
		p.e.count(func(st *Stats) { st.Unprotected++ })
	case !h.Encrypted() || h.MessageID == 0:
		p.e.count(func(st *Stats) { st.Unexpected++ })
	case h.Exchange == wireike.ExchangeQuick:
		p.quickMode(now, s, path, h, msg)
	case h.Exchange == wireike.ExchangeInformational:
		p.informational(now, s, path, h, msg)
	default:
		p.refuseExchange(now, s, path, h, msg)
	}
	p.checkEmpty(tenant.ReasonUserRequest, "the peer has deleted its SAs")
}

// again answers a copy of a message. It goes to another port, as the NAT may have changed it, but to no other address: a
// copy proves nothing.
func (p *peer) again(c *cache, path Path) {
	p.e.count(func(st *Stats) { st.Duplicates++ })
	if path.Remote.Addr() == p.path.Remote.Addr() {
		c.again(p.e.h, path)
	}
}

// send sends a protected informational message in an SA.
func (p *peer) send(s *isakmp, payloads ...payload) {
	id := p.e.random32()
	s.seen.add(id)
	p.transmit(s, informational(s.id, s.keys, s.lastIV, id, payloads...))
}

// transmit sends a message to where the peer is, and returns the pieces for a copy.
func (p *peer) transmit(s *isakmp, msg []byte) [][]byte {
	pieces := s.out.cut(p.path, msg)
	sendAll(p.e.h, p.path, pieces)
	return pieces
}

// closeSA ends an ISAKMP SA, without a word to the peer. Quick Modes under way in it come to nothing; children live on.
func (p *peer) closeSA(s *isakmp, reason tenant.Reason, detail string) {
	i := slices.Index(p.sas, s)
	if i < 0 {
		return
	}
	p.sas = slices.Delete(p.sas, i, i+1)
	if len(p.sas) == 0 {
		p.orphanedAt = p.at.Add(orphanIdle)
	}
	for _, q := range s.quicks {
		p.abandon(q)
	}
	e := p.e
	e.mu.Lock()
	delete(e.routes, s.id)
	if e.initiators[s.key] == p.s {
		delete(e.initiators, s.key)
	}
	e.mu.Unlock()
	s.keys.Wipe()
	p.e.cfg.Log.Debug("ISAKMP SA is gone", telemetry.Peer, p.path.Remote, telemetry.Reason, reason, telemetry.Detail, detail)
	p.host.SADown(s.id, reason, detail)
}

// checkEmpty ends the machine if it has nothing left and nothing on its way.
func (p *peer) checkEmpty(reason tenant.Reason, detail string) {
	if len(p.sas) > 0 || len(p.children) > 0 {
		return
	}
	e := p.e
	e.border.Lock()
	defer e.border.Unlock()
	e.mu.Lock()
	if p.incoming > 0 || p.s.dead {
		e.mu.Unlock()
		return
	}
	delete(e.peers, p.host)
	e.endLocked(p.s)
	e.mu.Unlock()
	p.host.Empty(reason, detail)
}

// drop ends everything, with Delete messages.
func (p *peer) drop(reason tenant.Reason, detail string) {
	p.deleteChildren(slices.Clone(p.children)...)
	for _, s := range slices.Clone(p.sas) {
		p.send(s, payload{wireike.PayloadDelete, wireike.AppendDelete(nil, wireike.ProtocolISAKMP, s.spi())})
		p.closeSA(s, reason, detail)
	}
	p.checkEmpty(reason, detail)
}

// mergeInto hands everything over to the machine of another Peer.
func (p *peer) mergeInto(into Peer) {
	e := p.e
	e.border.Lock()
	defer e.border.Unlock()
	e.mu.Lock()
	t := e.peers[into]
	if t == nil || t == p.s {
		e.mu.Unlock()
		return
	}
	m, ok := t.m.(*peer)
	if !ok {
		e.mu.Unlock()
		return
	}
	m.incoming += p.incoming + 1
	delete(e.peers, p.host)
	for id, s := range e.routes {
		if s == p.s {
			e.routes[id] = t
		}
	}
	for key, s := range e.initiators {
		if s == p.s {
			e.initiators[key] = t
		}
	}
	queue := p.s.queue
	e.endLocked(p.s)
	p.s.m = m // events that wait find the machine by the strand
	e.postLocked(t, event{call: func(now time.Time) { m.take(now, p) }}, 0)
	for _, ev := range queue {
		e.postLocked(t, ev, maxQueue)
	}
	e.mu.Unlock()
	p.host.Empty(tenant.ReasonReplaced, "merged into another peer")
}

// take takes over everything of another machine, which has ended. What that one used last is what the client uses now.
func (p *peer) take(now time.Time, from *peer) {
	p.at = now
	p.e.mu.Lock()
	p.incoming--
	p.e.mu.Unlock()
	p.sas = append(p.sas, from.sas...)
	if len(p.sas) > 0 {
		p.orphanedAt = time.Time{}
	}
	slices.SortStableFunc(p.sas, func(a, b *isakmp) int { return a.created.Compare(b.created) })
	p.children = append(p.children, from.children...)
	slices.SortStableFunc(p.children, func(a, b *child) int { return a.created.Compare(b.created) })
	if len(p.children) > 0 {
		p.childlessSince = time.Time{}
	}
	p.waiting = append(p.waiting, from.waiting...)
	if from.outbound != nil {
		p.use(from.outbound)
	}
	if from.path != p.path {
		p.path = from.path
		p.host.Move(p.path)
	}
	p.dpd.heard(now)
	p.checkEmpty(tenant.ReasonUserRequest, "the peer has deleted its SAs")
}

// refuseExchange answers an exchange that we don't do, such as XAUTH and mode config: once authentic, with an error.
func (p *peer) refuseExchange(now time.Time, s *isakmp, path Path, h wireike.Header, msg []byte) {
	const most = 3
	m, _, err := decryptMessage(h, msg, s.keys, s.keys.ExchangeIV(s.lastIV, h.MessageID))
	if err != nil || !authentic(m, s.keys.Hash1(h.MessageID, m.AfterFirst())) {
		p.e.count(func(st *Stats) { st.Unauthentic++ })
		return
	}
	p.e.count(func(st *Stats) { st.Unexpected++ })
	if s.seen.has(h.MessageID) || s.refused >= most {
		return
	}
	s.seen.add(h.MessageID)
	s.refused++
	p.heard(now, s, path)
	p.e.cfg.Log.Debug("exchange refused", telemetry.Peer, path.Remote, telemetry.Message, h.Exchange.String())
	p.notify(s, wireike.NotifyUnsupportedExchangeType, wireike.ProtocolISAKMP, s.spi())
}

// notify sends a protected notify.
func (p *peer) notify(s *isakmp, t wireike.NotifyType, proto wireike.Protocol, spi []byte) {
	body, _ := wireike.Notify{Protocol: proto, Type: t, SPI: spi}.AppendBinary(nil) // it never fails
	p.send(s, payload{wireike.PayloadNotify, body})
}

func (p *peer) breakOff() { p.drop(tenant.ReasonLostCarrier, ownFault) }

func (p *peer) String() string { return "IKE peer " + p.path.Remote.String() }

func (p *peer) deadline() time.Time {
	due := p.dpd.due(p)
	if !p.childlessSince.IsZero() && len(p.sas) > 0 {
		due = earliest(due, p.childlessSince.Add(childlessSA))
	}
	due = earliest(due, p.orphanedAt)
	for _, s := range p.sas {
		due = earliest(due, s.expires, s.rekeyAt, s.remind.due)
		for _, q := range s.quicks {
			due = earliest(due, q.expires, q.resend.due)
		}
	}
	for _, c := range p.children {
		due = earliest(due, c.expires, c.rekeyAt, c.endAt)
	}
	return due
}

func (p *peer) tick(now time.Time) {
	p.at = now
	reached := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	for _, s := range slices.Clone(p.sas) {
		for _, q := range s.quicks {
			p.tickQuick(now, s, q)
		}
		if s.remind.tick(now) {
			sendAll(p.e.h, p.path, s.remind.pieces)
		}
		if reached(s.rekeyAt) {
			p.rekeySA(now, s)
		}
		if reached(s.expires) {
			p.send(s, payload{wireike.PayloadDelete, wireike.AppendDelete(nil, wireike.ProtocolISAKMP, s.spi())})
			p.closeSA(s, tenant.ReasonSessionTimeout, "its lifetime is over")
		}
	}
	for _, c := range slices.Clone(p.children) {
		switch {
		case reached(c.expires) && c.extend(now):
		case reached(c.expires), reached(c.endAt):
			p.deleteChildren(c)
		case reached(c.rekeyAt):
			p.rekeyChild(now, c)
		}
	}
	if p.dpd.tick(now, p) {
		p.dead()
		return
	}
	if reached(p.orphanedAt) {
		p.orphans(now)
	}
	if !p.childlessSince.IsZero() && len(p.children) == 0 && reached(p.childlessSince.Add(childlessSA)) {
		p.drop(tenant.ReasonIdleTimeout, "the peer has had no ESP SA for too long")
		return
	}
	p.checkEmpty(tenant.ReasonSessionTimeout, "the lifetime of its SAs is over")
}

// orphans ends children that are left without an ISAKMP SA once nothing comes through them any more: a peer that goes
// deletes all it has, but one of the messages may have been lost.
func (p *peer) orphans(now time.Time) {
	if idle := p.host.Idle(); idle < orphanIdle {
		p.orphanedAt = now.Add(max(time.Second, orphanIdle-idle))
		return
	}
	p.orphanedAt = time.Time{}
	for _, c := range slices.Clone(p.children) {
		p.removeChild(c)
	}
	p.checkEmpty(tenant.ReasonLostCarrier, "the peer has deleted its ISAKMP SA and sends nothing any more")
}

// dead ends everything of a peer that does not answer.
func (p *peer) dead() {
	p.e.count(func(st *Stats) { st.DeadPeers++ })
	detail := fmt.Sprintf("the peer did not answer %d times", dpdTries)
	for _, c := range slices.Clone(p.children) {
		p.removeChild(c)
	}
	for _, s := range slices.Clone(p.sas) {
		p.closeSA(s, tenant.ReasonLostCarrier, detail)
	}
	p.checkEmpty(tenant.ReasonLostCarrier, detail)
}

// rekeySA negotiates a new ISAKMP SA in the place of one, unless there is a newer one already or nobody needs it. It waits for a Quick
// Mode that is under way, as that waits for it (rekeyChild), if there is time.
func (p *peer) rekeySA(now time.Time, s *isakmp) {
	s.rekeyAt = time.Time{}
	if s != p.newest() || len(p.children) == 0 {
		return
	}
	if s.expires.Sub(now) > renewalPause {
		for _, q := range s.quicks {
			if q.pending() {
				s.rekeyAt = now.Add(time.Second)
				return
			}
		}
	}
	p.renew(s)
}

// renew begins a Main Mode like the one of an SA.
func (p *peer) renew(s *isakmp) {
	if p.renewing {
		return
	}
	c := s.begun
	if !s.initiated {
		policy := p.e.h.Policy(s.path.Listener)
		if policy == nil {
			return
		}
		id, err := wireike.ParseID(s.who.idOwn)
		if err != nil {
			return
		}
		c.Initiator = Initiator{
			Tenant: s.who.tenant.Name, Identity: id, PSK: s.who.psk.Secret, Certificate: policy.Certificate,
			Proposals: []Phase1Proposal{{
				Encryption: s.suite.cipher.ID(), KeyBits: s.suite.keyBits, Hash: s.suite.hash.ID(), Group: s.suite.group.ID(),
				Auth: s.suite.auth, Lifetime: s.expires.Sub(s.created),
			}},
			Vendors: mirrored(s.vendor),
		}
		if s.suite.auth == wireike.AuthPSK {
			c.Certificate = nil
		}
	}
	c.Path, c.Children, c.InitialContact, c.Aggressive = p.path, nil, false, false
	c.rekeyOf, c.expect, c.pskID, c.tenants = p.s, s.who.identity, s.who.psk.ID, s.who.tenant
	p.renewing = true
	p.e.initiate(c)
}

// rekeyFailed hears that a Main Mode of ours has failed: one more try if there is time.
func (p *peer) rekeyFailed(now time.Time) {
	const tries, pause = 2, 10 * time.Second
	p.renewing = false
	s := p.newest()
	if s == nil {
		return
	}
	if s.rekeys++; s.rekeys < tries && s.expires.Sub(now) > 2*pause {
		s.rekeyAt = now.Add(pause)
	}
}
