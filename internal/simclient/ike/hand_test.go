package ike

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"concentrator/internal/ike/group"
	"concentrator/internal/ike/ikev1"
	"concentrator/internal/ike/keymat"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// hand is an initiator that puts each message together by hand, as a Client says, and takes each answer apart.
type hand struct {
	t   *testing.T
	r   *responder
	c   Client
	own netip.Addr // its own address
	nat bool       // it is behind natAddr
	psk tenant.Secret

	id     [2]wireike.Cookie
	phase1 keymat.Phase1
	keys   *keymat.Keys
	iv     keymat.IV // chain of phase 1, then what it left
	way    way       // of NAT traversal
	port   uint16    // of the path: 500 or 4500
	idii   []byte
	nextID uint32
	auth   wireike.AuthMethod
	cut    int // message 5 goes in fragments of so many octets, the last one first; 0: whole

	suite   string   // phase 1, as message 2 says
	lengths []int    // of the messages of phase 1, both sides
	order   []string // their payloads
	spi     uint32   // of the last child
}

// way is a way of NAT traversal by its numbers. The zero way is none.
type way struct {
	natD, natOA wireike.PayloadType
	encap       wireike.Encapsulation
}

var (
	rfc3947 = way{wireike.PayloadNATD, wireike.PayloadNATOA, wireike.EncapUDPTransport}
	draft02 = way{wireike.PayloadDraftNATD, wireike.PayloadDraftNATOA, wireike.EncapDraftUDPTransport}
)

// by makes the hand of a client: behind a NAT, or with a public address.
func (r *responder) by(c Client, nat bool) *hand {
	h := &hand{
		t: r.t, r: r, c: c, own: natAddr, nat: nat, psk: tenant.Secret(secret), port: 500, auth: wireike.AuthPSK,
		nextID: c.FirstMessageID,
	}
	if nat {
		h.own = privateAddr
	}
	_, _ = rand.Read(h.id[0][:]) // it never fails
	return h
}

// path is where the server sees the client. The NAT gives each port another.
func (h *hand) path() ikev1.Path {
	from := netip.AddrPortFrom(natAddr, h.port)
	if h.nat {
		from = netip.AddrPortFrom(natAddr, 30000+h.port)
	}
	return ikev1.Path{Listener: testListener, Local: netip.AddrPortFrom(serverAddr, h.port), Remote: from}
}

func nonce(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return b
}

// names lists the payloads of a message.
func names(m wireike.Payloads) string {
	var out []byte
	for p := range m.All() {
		out = fmt.Appendf(out, "%v ", p.Type)
	}
	return string(bytes.TrimSpace(out))
}

// one returns the only message that the server has sent, with where it went checked.
func (h *hand) one(out []sent) []byte {
	h.t.Helper()
	if len(out) != 1 {
		h.t.Fatalf("%s: %d answers, want one; refused: %+v", h.c.Name, len(out), h.r.refused())
	}
	if out[0].path != h.path() {
		h.t.Errorf("%s: the answer goes to %v, want %v", h.c.Name, out[0].path, h.path())
	}
	return out[0].msg
}

func (h *hand) note(msg []byte, m wireike.Payloads) {
	h.lengths = append(h.lengths, len(msg))
	h.order = append(h.order, names(m))
}

// transform is a proposal of phase 1.
func transform(p ikev1.Phase1Proposal, number int) wireike.Transform {
	var a wireike.Attributes
	a = a.With(wireike.AttrEncryption, uint16(p.Encryption))
	if p.KeyBits != 0 {
		a = a.With(wireike.AttrKeyLength, uint16(p.KeyBits))
	}
	a = a.With(wireike.AttrHash, uint16(p.Hash)).With(wireike.AttrGroup, uint16(p.Group))
	a = a.With(wireike.AttrAuthMethod, uint16(max(p.Auth, wireike.AuthPSK)))
	a = a.With(wireike.AttrLifeType, uint16(wireike.LifeSeconds))
	a = a.WithLong(wireike.AttrLifeDuration, uint32(p.Lifetime/time.Second))
	return wireike.Transform{Number: uint8(number), ID: wireike.TransformKeyIKE, Attributes: a}
}

// offers is the SA payload of message 1.
func (h *hand) offers() []byte {
	var ts []wireike.Transform
	for i, p := range h.c.Phase1 {
		ts = append(ts, transform(p, i+1))
	}
	return wireike.AppendSA(nil, wireike.Offer{Number: 1, Protocol: wireike.ProtocolISAKMP, Transforms: ts})
}

// message1 is HDR, SA, vendor IDs.
func (h *hand) message1() []byte {
	h.phase1.SA = h.offers()
	b := wireike.NewBuilder(wireike.Header{Initiator: h.id[0], Exchange: wireike.ExchangeMain})
	b.Add(wireike.PayloadSA, h.phase1.SA)
	for _, v := range h.c.VendorIDs {
		b.Add(wireike.PayloadVID, v)
	}
	return b.Bytes()
}

// accept reads an SA payload of phase 1 that answers ours.
func (h *hand) accept(body []byte) group.Group {
	h.t.Helper()
	sa, err := wireike.ParseSA(body)
	if err != nil {
		h.t.Fatal(err)
	}
	var (
		t  wireike.Transform
		n  int
		of wireike.Proposal
	)
	for of = range sa.Proposals() {
		for t = range of.Transforms() {
			n++
		}
	}
	if n != 1 || of.Number != 1 || len(of.SPI) != 0 || int(t.Number) < 1 || int(t.Number) > len(h.c.Phase1) {
		h.t.Fatalf("%s: %d transforms answer, the last is %d of %d", h.c.Name, n, t.Number, of.Number)
	}
	p := h.c.Phase1[t.Number-1]
	if got, want := t.Attributes.Bytes(), transform(p, 0).Attributes.Bytes(); !bytes.Equal(got, want) {
		h.t.Errorf("%s: attributes come back as % x, want % x", h.c.Name, got, want)
	}
	h.suite = phase1Name(p)
	var ok [3]bool
	var g group.Group
	h.phase1.Hash, ok[0] = keymat.HashByID(p.Hash)
	h.phase1.Cipher, ok[1] = keymat.CipherByID(p.Encryption, p.KeyBits)
	g, ok[2] = group.Get(p.Group)
	if !ok[0] || !ok[1] || !ok[2] {
		h.t.Fatalf("%s: %s can't be done", h.c.Name, h.suite)
	}
	h.phase1.Cookies = keymat.Cookies{Initiator: h.id[0], Responder: h.id[1]}
	return g
}

func phase1Name(p ikev1.Phase1Proposal) string {
	c := p.Encryption.String()
	if p.KeyBits != 0 {
		c = fmt.Sprintf("%s-%d", c, p.KeyBits)
	}
	return fmt.Sprintf("%s %v %v", c, p.Hash, p.Group)
}

// vendors reads the vendor IDs of message 2, which all must answer one of ours, and finds the way of NAT traversal.
func (h *hand) vendors(m wireike.Payloads) (v wireike.Vendor) {
	h.t.Helper()
	for p := range m.All() {
		if p.Type != wireike.PayloadVID {
			continue
		}
		id := wireike.ParseVendor(p.Body)
		if id == 0 || !h.c.Announces(id) {
			h.t.Errorf("%s: the server announces %v (% x), which we did not", h.c.Name, id, p.Body)
		}
		if id == wireike.VendorMicrosoft {
			h.t.Errorf("%s: the server says that it is Windows", h.c.Name)
		}
		v |= id
	}
	switch {
	case v.Has(wireike.VendorNATTRFC3947):
		h.way = rfc3947
	case v.Has(wireike.VendorNATTDraft02NL | wireike.VendorNATTDraft02 | wireike.VendorNATTDraft03):
		h.way = draft02
	}
	return v
}

// natD are the NAT-D payloads of a message of ours: the server's address as we know it, then our own.
func (h *hand) natD(b *wireike.Builder) {
	if h.way.natD == 0 {
		return
	}
	hash := h.phase1.Hash
	b.Add(h.way.natD, hash.NATD(h.phase1.Cookies, netip.AddrPortFrom(serverAddr, h.port)))
	b.Add(h.way.natD, hash.NATD(h.phase1.Cookies, netip.AddrPortFrom(h.own, h.port)))
}

// checkNATD checks the server's: where it sees us, then its own address.
func (h *hand) checkNATD(m wireike.Payloads) {
	h.t.Helper()
	var got [][]byte
	for p := range m.All() {
		if p.Type == h.way.natD {
			got = append(got, p.Body)
		}
	}
	p := h.path()
	hash, c := h.phase1.Hash, h.phase1.Cookies
	if len(got) != 2 || !bytes.Equal(got[0], hash.NATD(c, p.Remote)) || !bytes.Equal(got[1], hash.NATD(c, p.Local)) {
		h.t.Errorf("%s: NAT-D payloads % x", h.c.Name, got)
	}
}

// float goes to port 4500 if there is a NAT, RFC 3947 section 4.
func (h *hand) float() {
	if h.nat && h.way.natD != 0 {
		h.port = 4500
	}
}

// mainMode does Main Mode. It returns false if the server refuses it.
func (h *hand) mainMode() bool {
	h.t.Helper()
	msg := h.message1()
	out := h.r.ask(h.path(), msg)
	sa, _ := wireike.ParseMessage(msg)
	h.note(msg, sa.Payloads)
	m := h.parse(h.one(out))
	if m.Header.Exchange == wireike.ExchangeInformational {
		h.wantNotify(m.Payloads, wireike.NotifyNoProposalChosen)
		return false
	}
	if len(out[0].msg) > len(msg) {
		h.t.Errorf("%s: message 2 has %d octets, message 1 %d", h.c.Name, len(out[0].msg), len(msg))
	}
	h.id[1] = m.Header.Responder
	h.note(out[0].msg, m.Payloads)
	body, _ := m.Payloads.Get(wireike.PayloadSA)
	g := h.accept(body)
	h.vendors(m.Payloads)
	h.messages3And4(g)
	h.float()
	return h.messages5And6()
}

func (h *hand) parse(msg []byte) wireike.Message {
	h.t.Helper()
	m, err := wireike.ParseMessage(msg)
	if err != nil {
		h.t.Fatal(err)
	}
	if m.Header.Initiator != h.id[0] {
		h.t.Fatalf("%s: the answer is for %x", h.c.Name, m.Header.Initiator)
	}
	return m
}

func (h *hand) wantNotify(m wireike.Payloads, want wireike.NotifyType) {
	h.t.Helper()
	body, _ := m.Get(wireike.PayloadNotify)
	n, err := wireike.ParseNotify(body)
	if err != nil || n.Type != want {
		h.t.Errorf("%s: the server says %v %v, want %v", h.c.Name, n.Type, err, want)
	}
}

func (h *hand) messages3And4(g group.Group) {
	h.t.Helper()
	private, err := g.Generate(rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	h.phase1.PublicI, h.phase1.NonceI = private.Public(), nonce(h.c.NonceLen)
	b := wireike.NewBuilder(wireike.Header{Initiator: h.id[0], Responder: h.id[1], Exchange: wireike.ExchangeMain})
	b.Add(wireike.PayloadKE, h.phase1.PublicI)
	b.Add(wireike.PayloadNonce, h.phase1.NonceI)
	h.natD(b)
	msg := b.Bytes()
	reply := h.one(h.r.ask(h.path(), msg))
	own, m := h.parse(msg), h.parse(reply)
	h.note(msg, own.Payloads)
	h.note(reply, m.Payloads)
	if h.way.natD != 0 {
		h.checkNATD(m.Payloads)
	}
	h.derive(private, m.Payloads)
}

// derive takes the responder's public value and nonce and makes the keys.
func (h *hand) derive(private *group.Private, m wireike.Payloads) {
	h.t.Helper()
	h.phase1.PublicR, _ = m.Get(wireike.PayloadKE)
	h.phase1.NonceR, _ = m.Get(wireike.PayloadNonce)
	shared, err := private.Shared(h.phase1.PublicR)
	if err != nil {
		h.t.Fatal(err)
	}
	h.phase1.Shared = shared
	h.keys = h.phase1.WithPSK(h.psk)
	h.iv = h.phase1.FirstIV()
}

// identity is the body of our ID payload.
func (h *hand) identity() []byte {
	id := h.c.Identity
	if id.Type == 0 {
		id = wireike.AddrID(h.own)
	}
	b, _ := id.AppendBinary(nil) // it never fails
	return b
}

func (h *hand) messages5And6() bool {
	h.t.Helper()
	h.idii = h.identity()
	b := wireike.NewBuilder(wireike.Header{Initiator: h.id[0], Responder: h.id[1], Exchange: wireike.ExchangeMain})
	b.Add(wireike.PayloadID, h.idii)
	b.Add(wireike.PayloadHASH, h.keys.HashI(h.auth, h.idii))
	if h.c.Contact == ContactInID {
		b.Add(wireike.PayloadNotify, h.notify(wireike.NotifyInitialContact))
	}
	msg := h.encrypt(b, &h.iv)
	out := h.one(h.r.ask(h.path(), h.allButOne(msg)))
	h.lengths = append(h.lengths, len(msg))
	head, err := wireike.ParseHeader(out)
	if err != nil {
		h.t.Fatal(err)
	}
	if head.Exchange == wireike.ExchangeInformational {
		return false
	}
	m := h.decrypt(out, &h.iv)
	h.note(out, m)
	idir, _ := m.Get(wireike.PayloadID)
	hash, _ := m.Get(wireike.PayloadHASH)
	if head.Exchange != wireike.ExchangeMain || !bytes.Equal(hash, h.keys.HashR(h.auth, idir)) {
		h.t.Fatalf("%s: message 6 proves nothing: %s", h.c.Name, names(m))
	}
	if h.c.Contact == ContactAfter {
		if more := h.inform(payload{wireike.PayloadNotify, h.notify(wireike.NotifyInitialContact)}); len(more) != 0 {
			h.t.Errorf("%s: INITIAL-CONTACT was answered by %d messages", h.c.Name, len(more))
		}
	}
	return true
}

// allButOne cuts a message if the client does, [MS-IKEE] section 2.2.3.1, sends all fragments but the first, which cause
// nothing, and returns that one.
func (h *hand) allButOne(msg []byte) []byte {
	h.t.Helper()
	if h.cut == 0 {
		return msg
	}
	head, _ := wireike.ParseHeader(msg) // our own
	var pieces [][]byte
	for rest := msg; len(rest) > 0; {
		n := min(h.cut, len(rest))
		pieces = append(pieces, wireike.AppendFragment(nil, head, wireike.Fragment{
			ID: 1, Number: uint8(len(pieces) + 1), Last: n == len(rest), Data: rest[:n],
		}))
		rest = rest[n:]
	}
	if len(pieces) < 2 {
		h.t.Fatal("nothing to put together")
	}
	for _, p := range slices.Backward(pieces[1:]) {
		if out := h.r.ask(h.path(), p); len(out) != 0 {
			h.t.Errorf("%s: a fragment is answered", h.c.Name)
		}
	}
	return pieces[0]
}

// notify is the body of a notify about the ISAKMP SA.
func (h *hand) notify(n wireike.NotifyType) []byte {
	body, _ := wireike.Notify{
		Protocol: wireike.ProtocolISAKMP, Type: n, SPI: slices.Concat(h.id[0][:], h.id[1][:]),
	}.AppendBinary(nil) // it never fails
	return body
}

// aggressiveMode does Aggressive Mode. It returns false if the server refuses message 1.
func (h *hand) aggressiveMode() bool {
	h.t.Helper()
	g, ok := group.Get(h.c.Phase1[0].Group)
	if !ok {
		h.t.Fatal("no group")
	}
	private, err := g.Generate(rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	h.phase1.SA, h.idii = h.offers(), h.identity()
	h.phase1.PublicI, h.phase1.NonceI = private.Public(), nonce(h.c.NonceLen)
	b := wireike.NewBuilder(wireike.Header{Initiator: h.id[0], Exchange: wireike.ExchangeAggressive})
	b.Add(wireike.PayloadSA, h.phase1.SA)
	b.Add(wireike.PayloadKE, h.phase1.PublicI)
	b.Add(wireike.PayloadNonce, h.phase1.NonceI)
	b.Add(wireike.PayloadID, h.idii)
	for _, v := range h.c.VendorIDs {
		b.Add(wireike.PayloadVID, v)
	}
	msg := b.Bytes()
	reply := h.one(h.r.ask(h.path(), msg))
	own, m := h.parse(msg), h.parse(reply)
	h.note(msg, own.Payloads)
	if m.Header.Exchange == wireike.ExchangeInformational {
		h.wantNotify(m.Payloads, wireike.NotifyNoProposalChosen)
		return false
	}
	h.note(reply, m.Payloads)
	h.id[1] = m.Header.Responder
	body, _ := m.Payloads.Get(wireike.PayloadSA)
	h.accept(body)
	h.vendors(m.Payloads)
	h.derive(private, m.Payloads)
	idir, _ := m.Payloads.Get(wireike.PayloadID)
	hash, _ := m.Payloads.Get(wireike.PayloadHASH)
	if !bytes.Equal(hash, h.keys.HashR(h.auth, idir)) {
		h.t.Fatalf("%s: message 2 proves nothing", h.c.Name)
	}
	if h.way.natD != 0 {
		h.checkNATD(m.Payloads)
	}

	b = wireike.NewBuilder(wireike.Header{Initiator: h.id[0], Responder: h.id[1], Exchange: wireike.ExchangeAggressive})
	b.Add(wireike.PayloadHASH, h.keys.HashI(h.auth, h.idii))
	h.float() // before the hashes are made: racoon and charon do so
	h.natD(b)
	if more := h.r.ask(h.path(), h.encrypt(b, &h.iv)); len(more) != 0 {
		h.t.Fatalf("%s: message 3 is answered by %d messages; %+v", h.c.Name, len(more), h.r.refused())
	}
	return true
}

// phaseOne does what the client does in phase 1.
func (h *hand) phaseOne() bool {
	h.t.Helper()
	if h.c.Aggressive {
		return h.aggressiveMode()
	}
	return h.mainMode()
}
