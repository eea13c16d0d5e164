package ikev1

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"concentrator/internal/ike/group"
	"concentrator/internal/ike/keymat"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// initiateQuick sends message 1 of a Quick Mode. replaces is the child whose place the new one takes; nil: none.
func (p *peer) initiateQuick(now time.Time, s *isakmp, mode QuickMode, replaces *child) {
	fail := func(err error) {
		if replaces != nil {
			replaces.rekeying = false
		}
		p.refused(s, err)
	}
	q := &quick{
		initiated: true, state: quickAwait2, mode: mode, replaces: replaces, nonceI: p.e.random(ownNonce),
		encap: wireike.EncapTransport, expires: now.Add(10 * quickLifetime), // the resender gives up before
	}
	if s.begun.NonceLen != 0 {
		q.nonceI = p.e.random(s.begun.NonceLen)
	}
	if s.nat.Detected() {
		q.encap = s.natt.transport
	}
	for q.id == 0 || s.seen.has(q.id) || s.quicks[q.id] != nil {
		if q.id = p.e.random32(); s.nextID != 0 {
			q.id = s.nextID
			s.nextID++
		}
	}
	spi, err := p.host.NewSPI()
	if err != nil {
		fail(fmt.Errorf("no SPI: %w", err))
		return
	}
	q.spi = spi
	offers := mode.offers(spi, q.encap)
	for _, o := range offers {
		for _, t := range o.Transforms {
			suite, _, _ := readESPSuite(t)
			q.offered = append(q.offered, suite)
		}
	}
	payloads := []payload{
		{wireike.PayloadSA, wireike.AppendSA(nil, offers...)},
		{wireike.PayloadNonce, q.nonceI},
	}
	if mode.PFS != wireike.GroupNone {
		g, ok := group.Get(mode.PFS)
		if ok {
			q.private, err = g.Generate(p.e.cfg.Rand)
		}
		if !ok || err != nil {
			p.host.FreeSPI(spi)
			fail(errors.Join(errors.New("no key exchange"), err))
			return
		}
		payloads = append(payloads, payload{wireike.PayloadKE, q.private.Public()})
	}
	local, _ := mode.Local.AppendBinary(nil)   // it never fails
	remote, _ := mode.Remote.AppendBinary(nil) // it never fails
	payloads = append(payloads, payload{wireike.PayloadID, local}, payload{wireike.PayloadID, remote})
	if mode.NATOA && s.nat.Detected() {
		own := p.path.Local.Addr()
		if a := mode.Local.Addr(); a.IsValid() {
			own = a
		}
		payloads = append(payloads,
			payload{s.natt.natOA, wireike.AppendNATOA(nil, own)},
			payload{s.natt.natOA, wireike.AppendNATOA(nil, p.path.Remote.Addr())})
	}
	s.seen.add(q.id)
	var msg []byte
	msg, q.iv = hashed(q.header(s), s.keys, s.keys.ExchangeIV(s.lastIV, q.id), payloads, func(rest []byte) []byte {
		return s.keys.Hash1(q.id, rest)
	})
	p.keepQuick(s, q)
	q.resend.start(now, p.transmit(s, msg))
}

// quick2 takes message 2 and sends message 3: HDR*, HASH(3).
func (p *peer) quick2(now time.Time, s *isakmp, q *quick, path Path, h wireike.Header, msg []byte) {
	m, next, err := decryptMessage(h, msg, s.keys, q.iv)
	if err != nil || !authentic(m, s.keys.Hash2(q.id, q.nonceI, m.AfterFirst())) {
		p.e.count(func(st *Stats) { st.Unauthentic++ })
		return
	}
	p.heard(now, s, path)
	c, err := p.acceptQuick(now, s, q, m)
	if err != nil {
		if q.replaces != nil {
			q.replaces.rekeying = false
		}
		q.done(now, msg, nil)
		p.refused(s, err)
		return
	}
	reply, _ := hashed(q.header(s), s.keys, next, nil, func([]byte) []byte {
		return s.keys.Hash3(q.id, q.nonceI, q.nonceR)
	})
	q.done(now, msg, p.transmit(s, reply))
	p.finish(c)
}

// acceptQuick reads message 2 and installs the child. The SPI is given back with an error.
func (p *peer) acceptQuick(now time.Time, s *isakmp, q *quick, m wireike.Payloads) (*child, error) {
	give := func(err error) (*child, error) {
		p.host.FreeSPI(q.spi)
		return nil, fmt.Errorf("message 2 of quick mode: %w", err)
	}
	r, err := readRequest(m, s.natt.natOA)
	if err != nil {
		return give(err)
	}
	prop, t, err := single(r.sa)
	if err != nil {
		return give(err)
	}
	suite, _, ok := readESPSuite(t)
	spi, okSPI := espSPI(prop.SPI)
	if !ok || !okSPI || prop.Protocol != wireike.ProtocolESP || !q.matches(suite) {
		return give(errNotOffered)
	}
	var shared tenant.Secret
	if q.private != nil {
		shared, err = q.private.Shared(r.ke)
		q.private.Wipe()
		if err != nil {
			return give(err)
		}
		defer clear(shared)
	}
	q.nonceR = r.nonce
	wish := q.mode.Lifetime
	suite.lifetime = r.responderLife
	c := p.newChild(now, s, suite, wish, true)
	c.InboundSPI, c.OutboundSPI = q.spi, spi
	c.ours, _ = q.mode.Local.AppendBinary(nil)    // it never fails
	c.theirs, _ = q.mode.Remote.AppendBinary(nil) // it never fails
	c.OurPort, c.PeerPort = q.mode.Local.Port, q.mode.Remote.Port
	c.OurOA, c.PeerOA = originals(r.oas)
	c.mode, c.replaces = q.mode, q.replaces
	if err := p.install(s, c, q, suite, shared); err != nil {
		return nil, err // install has given the SPI back
	}
	return c, nil
}

// newChild makes a child from a suite.
func (p *peer) newChild(now time.Time, s *isakmp, suite espSuite, own time.Duration, initiated bool) *child {
	life, rekey := lifetimes(own, suite.lifetime, DefaultESPLifetime, initiated)
	c := &child{
		Child: &Child{
			Encryption: suite.encryption, Integrity: suite.integrity, ESN: suite.esn, UDPEncap: suite.udp(), PFS: suite.group,
			Lifetime: life,
		},
		by: s, created: now, expires: now.Add(life), rekeyAt: now.Add(rekey),
	}
	if !initiated {
		c.wish = min(suite.lifetime, DefaultIKELifetime)
	}
	if suite.kilobytes != 0 && suite.kilobytes < 1<<40 {
		// charon takes a kilobyte for 1000 octets, most others for 1024: the soft limit is below the one, the hard above the other.
		c.HardBytes = suite.kilobytes << 10
		c.SoftBytes = suite.kilobytes * rekeyTheirFrom
	}
	return c
}

// install takes an SPI if the child has none yet, derives the keys and installs the inbound SA.
func (p *peer) install(s *isakmp, c *child, q *quick, suite espSuite, shared tenant.Secret) error {
	if c.InboundSPI == 0 {
		spi, err := p.host.NewSPI()
		if err != nil {
			return fmt.Errorf("no SPI: %w", err)
		}
		c.InboundSPI = spi
	}
	enc, auth := suite.keyLens()
	qm := keymat.QuickMode{Shared: shared, Protocol: wireike.ProtocolESP, NonceI: q.nonceI, NonceR: q.nonceR}
	in, out := s.keys.SAKeys(qm, c.InboundSPI, enc, auth), s.keys.SAKeys(qm, c.OutboundSPI, enc, auth)
	c.InboundKey, c.InboundAuthKey = in.Encryption, in.Integrity
	c.OutboundKey, c.OutboundAuthKey = out.Encryption, out.Integrity
	if err := p.host.AddInbound(c.Child); err != nil {
		c.WipeKeys()
		p.host.FreeSPI(c.InboundSPI)
		return fmt.Errorf("the SA can't be installed: %w", err)
	}
	p.addChild(c)
	return nil
}

// rekeyProposal is the ESP transform of a child, to be offered when we replace it.
func rekeyProposal(c chosenESP) ESPProposal {
	out := ESPProposal{Transform: wireike.ESPTransformID(c.transform.ID), ESN: c.suite.esn}
	for attr, v := range c.transform.Attributes.All() {
		switch attr {
		case wireike.AttrESPAuth:
			out.Auth = wireike.ESPAuthID(v)
		case wireike.AttrESPKeyLength:
			out.KeyBits = int(v)
		}
	}
	return out
}

// originals reads NAT-OA payloads: the peer's own address, and ours as the peer knows it.
func originals(oas [][]byte) (first, second netip.Addr) {
	if len(oas) > 0 {
		first, _ = wireike.ParseNATOA(oas[0])
	}
	if len(oas) > 1 {
		second, _ = wireike.ParseNATOA(oas[1])
	}
	return first, second
}
