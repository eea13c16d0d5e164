package ike

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"concentrator/internal/ike/group"
	"concentrator/internal/ike/ikev1"
	"concentrator/internal/ike/keymat"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// quickMode is what a Quick Mode of a hand has come to.
type quickMode struct {
	id      uint32
	length  int    // of message 1
	suite   string // chosen; empty: refused
	order   string // payloads of message 2
	life    time.Duration
	spi     uint32 // the server's
	own     uint32 // ours, of the proposal that was chosen
	oas     []netip.Addr
	notify  wireike.NotifyType
	keysIn  keymat.SAKeys // of the server's SA, so towards it
	message []byte        // 1
}

// espTransform is a transform of ESP. Its attributes stand in another order than the engine's.
func (h *hand) espTransform(p ikev1.ESPProposal, number int) wireike.Transform {
	encap := wireike.EncapTransport
	if h.port == 4500 {
		encap = h.way.encap
	}
	var a wireike.Attributes
	if h.c.PFS != wireike.GroupNone {
		a = a.With(wireike.AttrESPGroup, uint16(h.c.PFS))
	}
	a = a.With(wireike.AttrESPEncapsulation, uint16(encap))
	if p.KeyBits != 0 {
		a = a.With(wireike.AttrESPKeyLength, uint16(p.KeyBits))
	}
	if p.Auth != wireike.ESPAuthNone {
		a = a.With(wireike.AttrESPAuth, uint16(p.Auth))
	}
	a = a.With(wireike.AttrESPLifeType, uint16(wireike.LifeSeconds))
	a = a.WithLong(wireike.AttrESPLifeDuration, uint32(h.c.Lifetime/time.Second))
	if h.c.Kilobytes != 0 {
		a = a.With(wireike.AttrESPLifeType, uint16(wireike.LifeKilobytes))
		a = a.WithLong(wireike.AttrESPLifeDuration, h.c.Kilobytes)
	}
	return wireike.Transform{Number: uint8(number), ID: uint8(p.Transform), Attributes: a}
}

// espOffers is the SA payload of message 1. Each proposal has an SPI of its own, base and those behind it.
func (h *hand) espOffers(base uint32) []wireike.Offer {
	var out []wireike.Offer
	for i, p := range h.c.ESP {
		if i == 0 || p.Separate {
			n := len(out) + 1
			out = append(out, wireike.Offer{
				Number: uint8(n), Protocol: wireike.ProtocolESP, SPI: binary.BigEndian.AppendUint32(nil, base+uint32(n)),
			})
		}
		o := &out[len(out)-1]
		o.Transforms = append(o.Transforms, h.espTransform(p, len(o.Transforms)+1))
	}
	return out
}

// messageID is that of the next Quick Mode.
func (h *hand) messageID() uint32 {
	if h.nextID == 0 {
		return binary.BigEndian.Uint32(nonce(4))
	}
	h.nextID++
	return h.nextID - 1
}

// ids are the identities of a Quick Mode, as they are sent.
func (h *hand) ids() [2][]byte {
	q := h.c.QuickMode(h.own, serverAddr)
	local, _ := q.Local.AppendBinary(nil)   // it never fails
	remote, _ := q.Remote.AppendBinary(nil) // it never fails
	return [2][]byte{local, remote}
}

// quick does a Quick Mode by three messages.
func (h *hand) quick() quickMode {
	h.t.Helper()
	h.spi += 0x1000
	q := quickMode{id: h.messageID()}
	nonceI := nonce(h.c.NonceLen)
	offers, ids := h.espOffers(h.spi), h.ids()
	ps := []payload{{wireike.PayloadSA, wireike.AppendSA(nil, offers...)}, {wireike.PayloadNonce, nonceI}}
	var private *group.Private
	if g, ok := group.Get(h.c.PFS); ok {
		var err error
		if private, err = g.Generate(rand.Reader); err != nil {
			h.t.Fatal(err)
		}
		ps = append(ps, payload{wireike.PayloadKE, private.Public()})
	}
	ps = append(ps, payload{wireike.PayloadID, ids[0]}, payload{wireike.PayloadID, ids[1]})
	if h.c.NATOA && h.port == 4500 {
		ps = append(ps, payload{h.way.natOA, wireike.AppendNATOA(nil, h.own)},
			payload{h.way.natOA, wireike.AppendNATOA(nil, serverAddr)})
	}
	iv := h.keys.ExchangeIV(h.iv, q.id)
	q.message = h.hashed(wireike.ExchangeQuick, q.id, &iv, func(rest []byte) []byte { return h.keys.Hash1(q.id, rest) }, ps...)
	q.length = len(q.message)
	reply := h.one(h.r.ask(h.path(), q.message))
	head, err := wireike.ParseHeader(reply)
	if err != nil {
		h.t.Fatal(err)
	}
	if head.Exchange == wireike.ExchangeInformational {
		body, _ := h.informed(reply).Get(wireike.PayloadNotify)
		n, err := wireike.ParseNotify(body)
		if err != nil {
			h.t.Fatal(err)
		}
		q.notify = n.Type
		return q
	}
	if head.Exchange != wireike.ExchangeQuick || head.MessageID != q.id {
		h.t.Fatalf("%s: quick mode %d is answered by %v %d", h.c.Name, q.id, head.Exchange, head.MessageID)
	}
	m := h.decrypt(reply, &iv)
	hash, _ := m.Get(wireike.PayloadHASH)
	if !bytes.Equal(hash, h.keys.Hash2(q.id, nonceI, m.AfterFirst())) {
		h.t.Fatalf("%s: HASH(2) is wrong", h.c.Name)
	}
	q.order = names(m)
	h.readQuick(&q, m, offers, ids)
	nonceR, _ := m.Get(wireike.PayloadNonce)
	var shared tenant.Secret
	if private != nil {
		ke, _ := m.Get(wireike.PayloadKE)
		if shared, err = private.Shared(ke); err != nil {
			h.t.Fatal(err)
		}
	}
	qm := keymat.QuickMode{Shared: shared, Protocol: wireike.ProtocolESP, NonceI: nonceI, NonceR: nonceR}
	if c, used := h.r.only().newest(); c == nil || used {
		h.t.Errorf("%s: before message 3 the child is %+v, used %v", h.c.Name, c, used)
	} else {
		q.keysIn = h.keys.SAKeys(qm, q.spi, len(c.InboundKey), len(c.InboundAuthKey))
	}
	last := h.hashed(wireike.ExchangeQuick, q.id, &iv, func([]byte) []byte { return h.keys.Hash3(q.id, nonceI, nonceR) })
	if more := h.r.ask(h.path(), last); len(more) != 0 {
		h.t.Errorf("%s: message 3 of quick mode is answered by %d messages", h.c.Name, len(more))
	}
	return q
}

// readQuick reads message 2: one transform of ours as we sent it, our identities as we sent them.
func (h *hand) readQuick(q *quickMode, m wireike.Payloads, offers []wireike.Offer, ids [2][]byte) {
	h.t.Helper()
	body, _ := m.Get(wireike.PayloadSA)
	sa, err := wireike.ParseSA(body)
	if err != nil {
		h.t.Fatal(err)
	}
	n := 0
	for p := range sa.Proposals() {
		for t := range p.Transforms() {
			n++
			if int(p.Number) < 1 || int(p.Number) > len(offers) {
				h.t.Fatalf("%s: proposal %d", h.c.Name, p.Number)
			}
			o := offers[p.Number-1]
			if int(t.Number) < 1 || int(t.Number) > len(o.Transforms) {
				h.t.Fatalf("%s: transform %d", h.c.Name, t.Number)
			}
			ours := o.Transforms[t.Number-1]
			if ours.ID != t.ID || !bytes.Equal(ours.Attributes.Bytes(), t.Attributes.Bytes()) {
				h.t.Errorf("%s: the transform comes back as %d % x", h.c.Name, t.ID, t.Attributes.Bytes())
			}
			q.spi, q.own = binary.BigEndian.Uint32(p.SPI), binary.BigEndian.Uint32(o.SPI)
			q.suite = espName(t)
		}
	}
	if n != 1 {
		h.t.Errorf("%s: %d transforms answer", h.c.Name, n)
	}
	var got [][]byte
	for p := range m.All() {
		switch p.Type {
		case wireike.PayloadID:
			got = append(got, p.Body)
		case h.way.natOA:
			a, err := wireike.ParseNATOA(p.Body)
			if err != nil {
				h.t.Error(err)
			}
			q.oas = append(q.oas, a)
		case wireike.PayloadNotify:
			q.life = h.responderLifetime(p.Body)
		}
	}
	if len(got) != 2 || !bytes.Equal(got[0], ids[0]) || !bytes.Equal(got[1], ids[1]) {
		h.t.Errorf("%s: the identities come back as % x, want % x", h.c.Name, got, ids)
	}
}

// responderLifetime reads the seconds of a RESPONDER-LIFETIME notify.
func (h *hand) responderLifetime(body []byte) time.Duration {
	h.t.Helper()
	n, err := wireike.ParseNotify(body)
	if err != nil || n.Type != wireike.NotifyResponderLifetime {
		h.t.Errorf("%s: notify %v %v", h.c.Name, n.Type, err)
		return 0
	}
	a, err := wireike.ParseAttributes(n.Data)
	if err != nil {
		h.t.Error(err)
	}
	for t, v := range a.All() {
		if t == wireike.AttrESPLifeDuration {
			return time.Duration(v) * time.Second
		}
	}
	return 0
}

// espName is a transform of ESP in words.
func espName(t wireike.Transform) string {
	var (
		auth wireike.ESPAuthID
		bits uint64
	)
	for a, v := range t.Attributes.All() {
		switch a {
		case wireike.AttrESPAuth:
			auth = wireike.ESPAuthID(v)
		case wireike.AttrESPKeyLength:
			bits = v
		}
	}
	name := wireike.ESPTransformID(t.ID).String()
	if bits != 0 {
		name = fmt.Sprintf("%s-%d", name, bits)
	}
	if auth == wireike.ESPAuthNone {
		return name
	}
	return fmt.Sprintf("%s %v", name, auth)
}

// newest returns the newest child and whether packets leave through it.
func (p *peer) newest() (c *ikev1.Child, used bool) {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	if len(p.children) == 0 {
		return nil, false
	}
	c = p.children[len(p.children)-1]
	return c, p.out == c
}
