package ikev1

import (
	"slices"
	"time"

	"concentrator/internal/telemetry"
	"concentrator/internal/wire/esphdr"
	wireike "concentrator/internal/wire/ike"
)

// child is a Child with what the Engine needs to keep it going.
type child struct {
	*Child
	ours, theirs []byte    // bodies of the ID payloads: our identity and the peer's
	mode         QuickMode // how to negotiate a new one as initiator

	created, expires time.Time
	wish             time.Duration // the peer's lifetime as responder to it; 0: none
	rekeyAt          time.Time     // zero: not, or not any more
	endAt            time.Time     // the new one is in use; zero: not yet
	complete         bool          // outbound may be used
	superseded       bool          // there is a newer one with the same identities
	rekeying         bool
	putOff           bool    // its rekeying has waited for a new ISAKMP SA
	retried          bool    // a failed rekey was tried again
	replaces         *child  // we negotiated it in the place of this one
	by               *isakmp // that it was negotiated in; it may be gone
}

// addChild lists a child that AddInbound has taken. The oldest goes if there are too many.
func (p *peer) addChild(c *child) {
	p.children = append(p.children, c)
	p.childlessSince = time.Time{}
	for len(p.children) > maxChildren {
		p.deleteChildren(p.children[0])
	}
}

// finish makes a child usable in both directions: the peer has confirmed it.
func (p *peer) finish(c *child) {
	if c.complete {
		return
	}
	c.complete = true
	p.e.count(func(st *Stats) { st.Children++ })
	for _, old := range p.children {
		if old != c && old.complete && string(old.ours) == string(c.ours) && string(old.theirs) == string(c.theirs) {
			old.superseded = true
			old.rekeyAt = time.Time{}
		}
	}
	p.e.cfg.Log.Debug("child", telemetry.Peer, p.path.Remote, telemetry.Cipher, c.cipher())
	p.use(c)
}

// cipher is the child's suite as the API spells it.
func (c *child) cipher() string {
	return esphdr.Name(c.Encryption, len(c.OutboundKey)-c.Encryption.SaltLen(), c.Integrity)
}

// use sends through a child from now on.
func (p *peer) use(c *child) {
	p.outbound = c
	p.host.UseOutbound(c.Child)
}

// removeChild ends a child without a word to the peer. If we sent through it, the newest that is left is next.
func (p *peer) removeChild(c *child) {
	i := slices.Index(p.children, c)
	if i < 0 {
		return
	}
	p.children = slices.Delete(p.children, i, i+1)
	if len(p.children) == 0 {
		p.childlessSince = p.at
	}
	if p.outbound == c {
		p.outbound = nil
		for _, next := range slices.Backward(p.children) {
			if next.complete {
				p.use(next)
				break
			}
		}
	}
	p.host.Remove(c.Child)
	for _, s := range p.sas {
		for _, q := range s.quicks {
			if q.child == c {
				q.child = nil
			}
		}
	}
}

// deleteChildren ends children and tells the peer.
func (p *peer) deleteChildren(cs ...*child) {
	if s := p.newest(); s != nil && len(cs) > 0 {
		spis := make([][]byte, 0, len(cs))
		for _, c := range cs {
			spis = append(spis, putID32(c.InboundSPI))
		}
		p.send(s, payload{wireike.PayloadDelete, wireike.AppendDelete(nil, wireike.ProtocolESP, spis...)})
	}
	for _, c := range cs {
		p.removeChild(c)
	}
}

// byInbound returns a child by our SPI, nil if there is none.
func (p *peer) byInbound(spi uint32) *child {
	i := slices.IndexFunc(p.children, func(c *child) bool { return c.InboundSPI == spi })
	if i < 0 {
		return nil
	}
	return p.children[i]
}

// used hears that the peer sends through a child: it has got our message 2 and gone on, and the child's predecessor may go
// when what is still on its way has come.
func (p *peer) used(now time.Time, spi uint32) {
	c := p.byInbound(spi)
	if c == nil {
		return
	}
	p.finish(c)
	if old := c.replaces; old != nil && old.endAt.IsZero() {
		old.endAt = now.Add(oldChildLinger)
	}
	c.replaces = nil
}

// limit hears that a child has carried as much as it may.
func (p *peer) limit(now time.Time, spi uint32, hard bool) {
	c := p.byInbound(spi)
	switch {
	case c == nil:
	case hard:
		p.deleteChildren(c)
	default:
		p.rekeyChild(now, c)
	}
}

// renewalPause is how long a new child waits for a Main Mode of ours that is under way, and what must be left of an SA's lifetime for
// it to wait for anything.
const renewalPause = 5 * time.Second

// rekeyChild negotiates a new child in the place of one. While a Main Mode of ours is under way it waits: charon, as the client, hands
// its children to the new ISAKMP SA in the midst of that, and a child that is not complete then goes with the old one.
func (p *peer) rekeyChild(now time.Time, c *child) {
	c.rekeyAt = time.Time{}
	if c.superseded || c.rekeying || !c.complete {
		return
	}
	if p.renewing && !c.putOff && c.expires.Sub(now) > renewalPause {
		c.putOff, c.rekeyAt = true, now.Add(renewalPause)
		return
	}
	c.rekeying = true
	if s := p.newest(); s != nil {
		p.initiateQuick(now, s, c.mode, c)
		return
	}
	p.waiting = append(p.waiting, c)
	if !p.renewing && c.by != nil {
		p.renew(c.by)
	}
}
