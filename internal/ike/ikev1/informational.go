package ikev1

import (
	"slices"
	"time"

	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// informational takes a protected informational message: HDR*, HASH(1), notifies and deletes.
func (p *peer) informational(now time.Time, s *isakmp, path Path, h wireike.Header, msg []byte) {
	m, _, err := decryptMessage(h, msg, s.keys, s.keys.ExchangeIV(s.lastIV, h.MessageID))
	if err != nil || !authentic(m, s.keys.HashInformational(h.MessageID, m.AfterFirst())) {
		p.e.count(func(st *Stats) { st.Unauthentic++ })
		return
	}
	if s.seen.has(h.MessageID) {
		p.e.count(func(st *Stats) { st.Duplicates++ })
		return
	}
	s.seen.add(h.MessageID)
	p.heard(now, s, path)
	nonce, reliable := m.Get(wireike.PayloadNonce)
	for q := range m.All() {
		switch q.Type {
		case wireike.PayloadNotify:
			if n, err := wireike.ParseNotify(q.Body); err == nil {
				p.notified(now, s, n)
			}
		case wireike.PayloadDelete:
			d, err := wireike.ParseDelete(q.Body)
			if err != nil {
				p.e.count(func(st *Stats) { st.Malformed++ })
				continue
			}
			if reliable {
				p.acknowledgeDelete(s, h, nonce, q.Body)
			}
			p.deleted(d)
		default: // the hash, the nonce and what we don't know
		}
		if !slices.Contains(p.sas, s) {
			return // it has deleted itself
		}
	}
}

// notified takes an authentic notify.
func (p *peer) notified(now time.Time, s *isakmp, n wireike.Notify) {
	p.e.cfg.Log.Debug("notify", telemetry.Peer, p.path.Remote, telemetry.Message, n.Type.String())
	switch {
	case n.Type == wireike.NotifyRUThere:
		p.answerRUThere(s, n)
	case n.Type == wireike.NotifyInitialContact:
		p.initialContact(s)
	case n.Type == wireike.NotifyResponderLifetime && n.Protocol == wireike.ProtocolISAKMP && s.initiated:
		s.shorten(now, n.Data)
	case n.Type.IsError():
		p.peerRefused(now, s, n)
	}
}

// shorten applies the responder's lower lifetime of an ISAKMP SA that we initiated.
func (s *isakmp) shorten(now time.Time, data []byte) {
	a, err := wireike.ParseAttributes(data)
	if err != nil {
		return
	}
	var kind uint64
	for attr, v := range a.All() {
		switch {
		case attr == wireike.AttrLifeType:
			kind = v
		case attr == wireike.AttrLifeDuration && kind == wireike.LifeSeconds:
			if d := seconds(v); d > 0 && s.created.Add(d).Before(s.expires) && s.created.Add(d).After(now) {
				life, rekey := lifetimes(d, 0, d, true)
				s.expires, s.rekeyAt = s.created.Add(life), s.created.Add(rekey)
			}
		}
	}
}

// deleted takes an authentic delete. It can only name what belongs to this peer.
func (p *peer) deleted(d wireike.Delete) {
	const detail = "the peer deleted it"
	switch {
	case d.Protocol == wireike.ProtocolISAKMP && d.SPILen == len(SAID{}.Initiator)+len(SAID{}.Responder):
		for spi := range d.SPIs() {
			if s := p.find(SAID{wireike.Cookie(spi[:8]), wireike.Cookie(spi[8:])}); s != nil {
				p.closeSA(s, tenant.ReasonUserRequest, detail)
			}
		}
	case d.Protocol == wireike.ProtocolESP && d.SPILen == espSPILen:
		for spi := range d.SPIs() {
			v, _ := espSPI(spi)
			// It is the SPI that the peer receives with, the outbound one for us. strongSwan names the other one when it could
			// not install a child.
			i := slices.IndexFunc(p.children, func(c *child) bool { return c.OutboundSPI == v })
			if i < 0 {
				i = slices.IndexFunc(p.children, func(c *child) bool { return c.InboundSPI == v })
			}
			if i >= 0 {
				p.removeChild(p.children[i])
			}
		}
	}
}

// acknowledgeDelete answers a delete that came with a nonce, [MS-IKEE] section 3.8: HDR*, HASH(2), D, Nr with HASH(2) =
// prf(SKEYID_a, Ni_b | M-ID | rest). We never announce to be able to, so Windows should not ask; should another peer do so,
// it gets what it waits for.
func (p *peer) acknowledgeDelete(s *isakmp, h wireike.Header, nonce, body []byte) {
	reply := wireike.Header{
		Initiator: s.id.Initiator, Responder: s.id.Responder, Exchange: wireike.ExchangeInformational, MessageID: h.MessageID,
	}
	iv := s.keys.ExchangeIV(s.lastIV, h.MessageID)
	payloads := []payload{{wireike.PayloadDelete, body}, {wireike.PayloadNonce, p.e.random(ownNonce)}}
	msg, _ := hashed(reply, s.keys, iv, payloads, func(rest []byte) []byte {
		return s.keys.HashDeleteAck(h.MessageID, nonce, rest)
	})
	p.transmit(s, msg)
}
