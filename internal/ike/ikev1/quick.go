package ikev1

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"concentrator/internal/ike/group"
	"concentrator/internal/ike/keymat"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// quickState is what a Quick Mode waits for.
type quickState uint8

const (
	quickUnset  quickState = iota
	quickAwait2            // as initiator
	quickAwait3            // as responder
	quickDone              // kept for copies of its last message
)

// quick is one Quick Mode, RFC 2409 section 5.5, as either side.
type quick struct {
	id        uint32
	initiated bool
	state     quickState
	iv        keymat.IV // of the next message
	last      cache
	expires   time.Time // when it is given up or, done, forgotten
	child     *child    // as responder: installed inbound

	nonceI, nonceR []byte

	resend resender // of message 1 or 2

	// As initiator.
	mode     QuickMode
	spi      uint32
	encap    wireike.Encapsulation
	private  *group.Private
	offered  []espSuite
	replaces *child
}

// pending says whether the exchange is under way.
func (q *quick) pending() bool { return q.state == quickAwait2 || q.state == quickAwait3 }

func (q *quick) header(s *isakmp) wireike.Header {
	return wireike.Header{
		Initiator: s.id.Initiator, Responder: s.id.Responder, Exchange: wireike.ExchangeQuick, MessageID: q.id,
	}
}

// quickMode takes any message of a Quick Mode.
func (p *peer) quickMode(now time.Time, s *isakmp, path Path, h wireike.Header, msg []byte) {
	q := s.quicks[h.MessageID]
	switch {
	case q == nil:
		p.quick1(now, s, path, h, msg)
	case q.last.knows(msg):
		p.again(&q.last, path)
	case q.state == quickAwait2:
		p.quick2(now, s, q, path, h, msg)
	case q.state == quickAwait3:
		p.quick3(now, s, q, path, h, msg)
	default:
		p.e.count(func(st *Stats) { st.Unexpected++ })
	}
}

// request is what message 1 or 2 of a Quick Mode holds.
type request struct {
	sa            wireike.SA
	nonce, ke     []byte
	hasKE         bool
	ids           [][]byte // bodies of the ID payloads: the initiator's, then the responder's
	parsedIDs     []wireike.ID
	oas           [][]byte      // bodies of the NAT-OA payloads, in the same order
	responderLife time.Duration // RESPONDER-LIFETIME; 0: none
}

// readRequest reads the payloads of message 1 or 2. Of several SA payloads only the first counts.
func readRequest(m wireike.Payloads, oa wireike.PayloadType) (request, error) {
	var (
		r  request
		sa []byte
	)
	for q := range m.All() {
		switch q.Type {
		case wireike.PayloadSA:
			if sa == nil {
				sa = q.Body
			}
		case wireike.PayloadNonce:
			if r.nonce != nil {
				return r, errors.New("there are two nonces")
			}
			r.nonce = q.Body
		case wireike.PayloadKE:
			if r.hasKE {
				return r, errors.New("there are two key exchange payloads")
			}
			r.ke, r.hasKE = q.Body, true
		case wireike.PayloadID:
			id, err := wireike.ParseID(q.Body)
			if err != nil {
				return r, err
			}
			r.ids, r.parsedIDs = append(r.ids, q.Body), append(r.parsedIDs, id)
		case wireike.PayloadNotify:
			r.responderLife = max(r.responderLife, readResponderLifetime(q.Body))
		case oa:
			r.oas = append(r.oas, q.Body)
		default: // the hash and what we don't know
		}
	}
	if len(r.nonce) < minNonce || len(r.nonce) > maxNonce {
		return r, fmt.Errorf("a nonce of %d octets", len(r.nonce))
	}
	var err error
	r.sa, err = wireike.ParseSA(sa)
	return r, err
}

// readResponderLifetime returns the seconds of a RESPONDER-LIFETIME notify, 0 for any other.
func readResponderLifetime(body []byte) time.Duration {
	n, err := wireike.ParseNotify(body)
	if err != nil || n.Type != wireike.NotifyResponderLifetime || n.Protocol != wireike.ProtocolESP {
		return 0
	}
	a, err := wireike.ParseAttributes(n.Data)
	if err != nil {
		return 0
	}
	var kind uint64
	for attr, v := range a.All() {
		switch {
		case attr == wireike.AttrESPLifeType:
			kind = v
		case attr == wireike.AttrESPLifeDuration && kind == wireike.LifeSeconds:
			return seconds(v)
		}
	}
	return 0
}

// quick1 takes message 1: HDR*, HASH(1), SA, Ni [, KE] [, IDci, IDcr] [, NAT-OA, NAT-OA].
func (p *peer) quick1(now time.Time, s *isakmp, path Path, h wireike.Header, msg []byte) {
	pending := 0
	for _, q := range s.quicks {
		if q.pending() && !q.initiated {
			pending++
		}
	}
	if s.seen.has(h.MessageID) {
		p.e.count(func(st *Stats) { st.Duplicates++ })
		return
	}
	if pending >= maxPendingQuick {
		p.e.count(func(st *Stats) { st.Limited++ })
		return
	}
	m, next, err := decryptMessage(h, msg, s.keys, s.keys.ExchangeIV(s.lastIV, h.MessageID))
	if err != nil || !authentic(m, s.keys.Hash1(h.MessageID, m.AfterFirst())) {
		p.e.count(func(st *Stats) { st.Unauthentic++ })
		return
	}
	s.seen.add(h.MessageID)
	p.heard(now, s, path)
	q := &quick{id: h.MessageID, iv: next, state: quickDone, expires: now.Add(replyLifetime)}
	p.keepQuick(s, q)
	refuse := func(t wireike.NotifyType, err error) {
		id := p.e.random32()
		body, _ := wireike.Notify{Protocol: wireike.ProtocolESP, Type: t}.AppendBinary(nil) // it never fails
		note := informational(s.id, s.keys, s.lastIV, id, payload{wireike.PayloadNotify, body})
		s.seen.add(id)
		q.last.store(msg, p.transmit(s, note))
		p.refused(s, err)
	}
	r, err := readRequest(m, s.natt.natOA)
	if err != nil {
		refuse(wireike.NotifyPayloadMalformed, fmt.Errorf("message 1 of quick mode: %w", err))
		return
	}
	if err := p.checkIDs(r); err != nil {
		refuse(wireike.NotifyInvalidIDInformation, err)
		return
	}
	reply, t, err := p.answerQuick(now, s, q, r)
	if err != nil {
		refuse(t, err)
		return
	}
	q.last.store(msg, p.transmit(s, reply))
	q.state, q.expires = quickAwait3, now.Add(quickLifetime)
	// The peer is authenticated, so message 2 may be repeated to get a message 3 that was lost.
	q.resend.start(now, q.last.replies)
}

// portL2TP is what an L2TP server's packets come from, RFC 3193 section 3.
const portL2TP = 1701

// protocolUDP is UDP's number.
const protocolUDP = 17

// checkIDs checks the identities of message 1: both UDP, ours on port 1701 or any. Addresses mean nothing, a NATed client
// can only name its private one. What a child has already may be asked for again the other way round.
func (p *peer) checkIDs(r request) error {
	if len(r.ids) != 2 {
		return fmt.Errorf("quick mode with %d identities", len(r.ids))
	}
	for _, c := range p.children {
		if bytes.Equal(c.theirs, r.ids[0]) && bytes.Equal(c.ours, r.ids[1]) {
			return nil
		}
	}
	peer, own := r.parsedIDs[0], r.parsedIDs[1]
	if peer.Protocol != protocolUDP || own.Protocol != protocolUDP {
		return fmt.Errorf("quick mode for protocols %d and %d instead of UDP, %d", peer.Protocol, own.Protocol, protocolUDP)
	}
	if own.Port != portL2TP && own.Port != 0 {
		return fmt.Errorf("quick mode for our port %d instead of %d", own.Port, portL2TP)
	}
	return nil
}

// answerQuick installs the inbound SA and builds message 2: HDR*, HASH(2), SA, Nr [, KE] [, IDci, IDcr] [, NAT-OA, NAT-OA].
// With an error comes the notify that tells the peer.
func (p *peer) answerQuick(now time.Time, s *isakmp, q *quick, r request) ([]byte, wireike.NotifyType, error) {
	wish := espWish{
		legacy: s.who.tenant.Legacy, racoon: racoon(s.vendor), nat: s.nat.Detected(),
		floated: p.path.Local.Port() == portNATT, ke: len(r.ke),
	}
	chosen, err := wish.choose(r.sa)
	if err != nil {
		return nil, wireike.NotifyNoProposalChosen, err
	}
	var (
		ke     []byte
		shared tenant.Secret
	)
	if r.hasKE {
		g, _ := group.Get(chosen.suite.group) // choose has seen to it
		private, err := g.Generate(p.e.cfg.Rand)
		if err != nil {
			return nil, wireike.NotifyInvalidKeyInformation, err
		}
		shared, err = private.Shared(r.ke)
		private.Wipe()
		if err != nil {
			return nil, wireike.NotifyInvalidKeyInformation, err
		}
		defer clear(shared)
		ke = private.Public()
	}
	q.nonceI, q.nonceR = r.nonce, p.e.random(ownNonce)
	own := s.who.tenant.ESPLifetime
	c := p.newChild(now, s, chosen.suite, own, false)
	c.OutboundSPI = chosen.spi
	c.ours, c.theirs = r.ids[1], r.ids[0]
	c.PeerPort, c.OurPort = r.parsedIDs[0].Port, r.parsedIDs[1].Port
	c.PeerOA, c.OurOA = originals(r.oas)
	c.mode = QuickMode{
		Proposals: []ESPProposal{rekeyProposal(chosen)}, PFS: chosen.suite.group, Local: r.parsedIDs[1], Remote: r.parsedIDs[0],
		NATOA: len(r.oas) > 0, Lifetime: c.Lifetime, Kilobytes: uint32(min(chosen.suite.kilobytes, 1<<31)),
	}
	if err := p.install(s, c, q, chosen.suite, shared); err != nil {
		return nil, wireike.NotifyNoProposalChosen, err
	}
	q.child = c
	payloads := []payload{
		{wireike.PayloadSA, wireike.AppendChosen(nil, chosen.proposal, putID32(c.InboundSPI), chosen.transform)},
		{wireike.PayloadNonce, q.nonceR},
	}
	if ke != nil {
		payloads = append(payloads, payload{wireike.PayloadKE, ke})
	}
	payloads = append(payloads, payload{wireike.PayloadID, r.ids[0]}, payload{wireike.PayloadID, r.ids[1]})
	if c.UDPEncap && s.natt.natOA == wireike.PayloadNATOA {
		payloads = append(payloads,
			payload{s.natt.natOA, wireike.AppendNATOA(nil, p.path.Remote.Addr())},
			payload{s.natt.natOA, wireike.AppendNATOA(nil, p.path.Local.Addr())})
	} else if c.UDPEncap && s.natt.natOA != wireike.PayloadNone && s.nat.Local {
		// The drafts have one, that of the sender, if it is behind the NAT.
		payloads = append(payloads, payload{s.natt.natOA, wireike.AppendNATOA(nil, p.path.Local.Addr())})
	}
	if chosen.suite.lifetime > c.Lifetime {
		payloads = append(payloads,
			payload{wireike.PayloadNotify, responderLifetime(wireike.ProtocolESP, putID32(c.InboundSPI), c.Lifetime)})
	}
	var reply []byte
	reply, q.iv = hashed(q.header(s), s.keys, q.iv, payloads, func(rest []byte) []byte {
		return s.keys.Hash2(q.id, q.nonceI, rest)
	})
	return reply, 0, nil
}

// quick3 takes message 3: HDR*, HASH(3). From now on we may send through the child.
func (p *peer) quick3(now time.Time, s *isakmp, q *quick, path Path, h wireike.Header, msg []byte) {
	m, _, err := decryptMessage(h, msg, s.keys, q.iv)
	if err != nil || !authentic(m, s.keys.Hash3(q.id, q.nonceI, q.nonceR)) {
		p.e.count(func(st *Stats) { st.Unauthentic++ })
		return
	}
	p.heard(now, s, path)
	c := q.child
	q.done(now, msg, nil)
	if c != nil {
		p.finish(c)
	}
}

// done keeps a finished exchange for copies of its last message.
func (q *quick) done(now time.Time, msg []byte, replies [][]byte) {
	q.wipe()
	q.last.store(msg, replies)
	q.state, q.expires, q.child = quickDone, now.Add(replyLifetime), nil
	q.resend.stop()
}

// maxQuicks bounds the exchanges of one SA that are kept, finished ones included.
const maxQuicks = 16

// keepQuick lists an exchange; of those that are done the oldest goes if there are too many.
func (p *peer) keepQuick(s *isakmp, q *quick) {
	if len(s.quicks) >= maxQuicks {
		var oldest *quick
		for _, o := range s.quicks {
			if !o.pending() && (oldest == nil || o.expires.Before(oldest.expires)) {
				oldest = o
			}
		}
		if oldest != nil {
			delete(s.quicks, oldest.id)
		}
	}
	s.quicks[q.id] = q
}

// tickQuick does what is due in a Quick Mode.
func (p *peer) tickQuick(now time.Time, s *isakmp, q *quick) {
	if q.state == quickAwait3 && q.child != nil && q.child.complete {
		// A packet has stood in for message 3, which the peer need not be asked for any more.
		q.state, q.child, q.expires = quickDone, nil, now.Add(replyLifetime)
		q.resend.stop()
		return
	}
	again, dead := q.resend.tick(now)
	switch {
	case again:
		sendAll(p.e.h, p.path, q.resend.pieces)
	case !dead && now.Before(q.expires):
	case q.pending():
		delete(s.quicks, q.id)
		if old := q.replaces; old != nil && !old.superseded {
			p.retryRekey(now, old)
		}
		message := 2
		if q.state == quickAwait3 {
			message = 3
		}
		p.abandon(q)
		p.refused(s, &RefusedError{
			tenant.ReasonPeerTimeout, fmt.Sprintf("the peer did not send message %d of quick mode", message),
		})
	default:
		delete(s.quicks, q.id)
	}
}

// abandon gives up what a Quick Mode under way has taken.
func (p *peer) abandon(q *quick) {
	if !q.pending() {
		return
	}
	if q.state == quickAwait3 && q.child != nil && !q.child.complete {
		p.removeChild(q.child)
	}
	if q.state == quickAwait2 {
		p.host.FreeSPI(q.spi)
		if q.replaces != nil {
			q.replaces.rekeying = false
		}
	}
	q.wipe()
	q.state = quickDone
	q.resend.stop()
}

// wipe clears the secret that an exchange of ours begins with.
func (q *quick) wipe() {
	if q.private != nil {
		q.private.Wipe()
	}
}

// refused reports a Quick Mode that has failed.
func (p *peer) refused(s *isakmp, err error) {
	reason, detail := reasonOf(err)
	p.e.count(func(st *Stats) { st.Refused++ })
	p.e.h.Refused(Refusal{
		Path: p.path, Tenant: s.who.tenant.Name, Identity: s.who.identity.String(), Stage: tenant.StageIKEQuickMode,
		Reason: reason, Detail: detail,
	})
}

// peerRefused takes an authentic error notify, which ends the only Quick Mode under way: one of ours that the peer does not
// want, or one of its own whose message 2 it can't use.
func (p *peer) peerRefused(now time.Time, s *isakmp, n wireike.Notify) {
	var it *quick
	for _, q := range s.quicks {
		if q.pending() {
			if it != nil {
				return // which one it means is not said
			}
			it = q
		}
	}
	if it == nil {
		return
	}
	if old := it.replaces; old != nil && !old.superseded {
		p.retryRekey(now, old)
	}
	p.abandon(it)
	delete(s.quicks, it.id)
	reason := tenant.ReasonProtocolError
	if n.Type == wireike.NotifyNoProposalChosen {
		reason = tenant.ReasonNoCommonProposal
	}
	p.refused(s, &RefusedError{reason, "the peer refused quick mode: " + n.Type.String()})
}

// retryRekey lets a rekey that failed be tried once more if there is time.
func (p *peer) retryRekey(now time.Time, c *child) {
	const pause = 10 * time.Second
	if c.rekeyAt = now.Add(pause); c.expires.Sub(now) < 2*pause || c.retried {
		c.rekeyAt = time.Time{}
	}
	c.retried = true
}

// extend lets a child live as long as the peer wished, if that is longer than we wanted and the peer did not let us replace
// it: some clients take no Quick Mode from the server, and begin their own by their own clock.
func (c *child) extend(now time.Time) bool {
	until := c.created.Add(c.wish)
	if !c.complete || c.superseded || !c.retried || !until.After(c.expires) || !until.After(now) {
		return false
	}
	c.expires = until
	return true
}

// matches says whether an answer is one of the transforms that we offered.
func (q *quick) matches(s espSuite) bool {
	return slices.ContainsFunc(q.offered, func(o espSuite) bool {
		return o.encryption == s.encryption && o.keyLen == s.keyLen && o.integrity == s.integrity && o.encap == s.encap &&
			o.group == s.group && o.esn == s.esn
	})
}
