package ikev1

import (
	"fmt"
	"slices"
	"time"

	"concentrator/internal/ike/keymat"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// aggressive takes message 1 of Aggressive Mode, RFC 2409 section 5.4: HDR, SA, KE, Ni, IDii. The identity names the
// tenant, which must have Aggressive Mode on. As Diffie-Hellman is due before the address is proven, an exchange takes a
// place among the handshakes at once.
func (d *door) aggressive(now time.Time, p Path, m wireike.Message, msg []byte) {
	e := d.e
	policy := e.h.Policy(p.Listener)
	if policy == nil {
		e.count(func(s *Stats) { s.Unexpected++ })
		return
	}
	body, _ := m.Payloads.Get(wireike.PayloadSA)
	sa, err := wireike.ParseSA(body)
	if err != nil {
		d.malformedSA(now, p, m, err)
		return
	}
	idi, _ := m.Payloads.Get(wireike.PayloadID)
	name, _ := groupName(idi)
	i := slices.IndexFunc(policy.Tenants, func(t *TenantPolicy) bool {
		return t.Aggressive && t.GroupName != "" && t.GroupName == name
	})
	if i < 0 || m.Payloads.Count(wireike.PayloadID) != 1 {
		d.refuse(now, p, m, &errNoProposal{
			tenant.ReasonNoCommonProposal,
			fmt.Sprintf("no tenant of the listener allows aggressive mode for the group name %q", printable(idi[min(4, len(idi)):])),
		})
		return
	}
	t := policy.Tenants[i]
	at, chosen, err := policy.chooseSuite([]*TenantPolicy{t}, sa, true)
	if err != nil {
		d.refuse(now, p, m, err)
		return
	}
	hs := &handshake{
		e: e, s: newStrand(), path: p, aggressive: true, state: awaitAggressive1,
		id:      SAID{m.Header.Initiator, e.newCookie()},
		key:     initiatorKey{m.Header.Initiator, p.Remote.Addr()},
		expires: now.Add(e.cfg.HandshakeLifetime), vendor: vendorsOf(m.Payloads), suite: chosen, tenant: t, idi: idi,
		psk: e.aggressiveKey(t, p),
	}
	hs.natt = wayOf(hs.vendor)
	hs.out.able = hs.vendor.Has(wireike.VendorFragmentation)
	hs.phase1 = keymat.Phase1{
		Hash: chosen.hash, Cipher: chosen.cipher, SA: body,
		Cookies: keymat.Cookies{Initiator: hs.id.Initiator, Responder: hs.id.Responder},
	}
	answer, err := hs.aggressiveAnswer(at)
	e.mu.Lock()
	defer e.mu.Unlock()
	_, known := e.lastGood.get(p.Remote.Addr())
	if err != nil || hs.aggressiveLen(answer) > len(msg) && !known && !e.guard.Again(now, p.Remote, msg) {
		// Two copies together are longer than the answer.
		e.stats.Limited++
		return
	}
	hs.s.m = hs
	hs.answer = answer
	hs.s.stranger = !known
	if !e.roomLocked() {
		e.stats.Limited++
		return
	}
	e.sources.add(p.Remote.Addr())
	e.enterLocked(hs.s, hs.id, hs.key)
	e.postLocked(hs.s, event{path: p, msg: msg}, maxQueue)
}

// aggressiveKey picks the key that message 2 is made with, as nothing can be tried: the one that was good for the source
// last, else the one that is named like the group, else the first.
func (e *Engine) aggressiveKey(t *TenantPolicy, p Path) PSK {
	e.mu.Lock()
	good, ok := e.lastGood.get(p.Remote.Addr())
	e.mu.Unlock()
	for _, k := range t.PSKs {
		if ok && good == (goodKey{t.Name, k.ID}) {
			return k
		}
	}
	for _, k := range t.PSKs {
		if k.ID == t.GroupName {
			return k
		}
	}
	return t.PSKs[0] // chooseSuite has seen that there is one
}

// aggressiveAnswer is the SA payload of message 2.
func (hs *handshake) aggressiveAnswer(at choice) ([]byte, error) {
	sa, err := wireike.ParseSA(hs.phase1.SA)
	if err != nil {
		return nil, err
	}
	prop, t, err := at.at(sa)
	if err != nil {
		return nil, err
	}
	return wireike.AppendChosen(nil, prop, nil, t), nil
}

// aggressiveLen is how long message 2 will be, in octets.
func (hs *handshake) aggressiveLen(answer []byte) int {
	const generic, id = 4, 4 + 16 // an IPv6 address at most
	n := wireike.HeaderLen + generic + len(answer) + generic + hs.suite.group.PublicLen() + generic + ownNonce
	n += generic + id + generic + hs.suite.hash.Size()
	for _, v := range mirrored(hs.vendor) {
		n += generic + len(v.ID())
	}
	if hs.natt.vendor != 0 {
		n += 2 * (generic + hs.suite.hash.Size())
	}
	return n
}

// aggressive1 answers message 1: HDR, SA, KE, Nr, IDir, HASH_R, vendor IDs [, NAT-D, NAT-D] (RFC 3947 section 3.2).
func (hs *handshake) aggressive1(p Path, m wireike.Message, msg []byte) {
	ke, nonce, err := keyMessage(m.Payloads)
	if err != nil {
		hs.refuseClear(wireike.NotifyPayloadMalformed, "message 1 of aggressive mode: "+err.Error())
		return
	}
	if err := hs.exchangeKeys(ke); err != nil {
		hs.refuseClear(wireike.NotifyInvalidKeyInformation, "message 1 of aggressive mode: "+err.Error())
		return
	}
	hs.phase1.PublicI, hs.phase1.NonceI = ke, nonce
	hs.phase1.PublicR, hs.phase1.NonceR = hs.private.Public(), hs.e.random(ownNonce)
	hs.iv = hs.phase1.FirstIV()
	hs.keys = hs.phase1.WithPSK(hs.psk.Secret)
	id := ownID(p, nil, false, hs.vendor)

	b := wireike.NewBuilder(hs.header())
	b.Add(wireike.PayloadSA, hs.answer)
	b.Add(wireike.PayloadKE, hs.phase1.PublicR)
	b.Add(wireike.PayloadNonce, hs.phase1.NonceR)
	b.Add(wireike.PayloadID, id)
	b.Add(wireike.PayloadHASH, hs.proofR(hs.keys, id))
	for _, v := range mirrored(hs.vendor) {
		b.Add(wireike.PayloadVID, v.ID())
	}
	if hs.natt.vendor != 0 {
		hs.natt.append(b, hs.phase1.Hash, hs.phase1.Cookies, p.Local, p.Remote)
	}
	hs.ownID = id
	pieces := hs.out.cut(p, b.Bytes())
	hs.last.store(msg, pieces)
	hs.state = awaitAggressive3
	sendAll(hs.e.h, p, pieces)
}

// aggressive3 takes message 3: HDR(*), HASH_I [, NAT-D, NAT-D], encrypted or not.
func (hs *handshake) aggressive3(now time.Time, p Path, h wireike.Header, msg []byte) {
	var (
		m   wireike.Payloads
		err error
	)
	iv := hs.iv
	if h.Encrypted() {
		m, iv, err = decryptMessage(h, msg, hs.keys, hs.iv)
	} else {
		m, err = wireike.ParsePayloads(h.Next, msg[wireike.HeaderLen:], false)
	}
	hash, ok := m.Get(wireike.PayloadHASH)
	if err != nil || !ok || !keymat.Equal(hash, hs.proofI(hs.keys, hs.idi)) {
		hs.e.h.Send(p, hs.e.clearNotify(hs.id, wireike.NotifyAuthenticationFailed))
		hs.failFor(hs.tenant.Name, "", tenant.ReasonPSKMismatch, "the pre-shared key of the group does not fit")
		return
	}
	identity, err := identityOf(hs.idi)
	if err != nil {
		hs.failFor(hs.tenant.Name, "", tenant.ReasonProtocolError, "message 1 of aggressive mode: "+err.Error())
		return
	}
	hs.iv = iv
	// The hashes cover what is in the message's sight: message 3 has come over the path that it names.
	hs.nat, _ = hs.natt.detect(m, hs.phase1.Hash, hs.phase1.Cookies, p)
	hs.last.store(msg, nil)
	hs.remember(candidate{hs.tenant, hs.psk})
	o := outcome{tenant: hs.tenant, psk: hs.psk, identity: identity, idOwn: hs.ownID, idPeer: hs.idi, path: p}
	for q := range m.All() {
		if q.Type == wireike.PayloadNotify {
			n, err := wireike.ParseNotify(q.Body)
			o.initialContact = o.initialContact || err == nil && n.Type == wireike.NotifyInitialContact
		}
	}
	hs.path = p
	hs.establish(now, o, nil)
}

// beginAggressive adds to message 1 what Aggressive Mode has in it. All offers must name one group.
func (hs *handshake) beginAggressive(b *wireike.Builder) bool {
	suite, _, ok := readSuite(hs.offered[0])
	if !ok {
		hs.failFor(hs.initiation.Tenant, "", tenant.ReasonNoCommonProposal, "the first proposal can't be done")
		return false
	}
	private, err := suite.group.Generate(hs.e.cfg.Rand)
	if err != nil {
		hs.failWith(hs.initiation.Tenant, "", err)
		return false
	}
	hs.private = private
	hs.phase1.PublicI, hs.phase1.NonceI = private.Public(), hs.e.random(hs.initiation.NonceLen)
	id, _ := hs.initiation.Identity.AppendBinary(nil) // it never fails
	b.Add(wireike.PayloadKE, hs.phase1.PublicI)
	b.Add(wireike.PayloadNonce, hs.phase1.NonceI)
	b.Add(wireike.PayloadID, id)
	hs.state = awaitAggressive2
	return true
}

// aggressive2 takes message 2 and sends message 3: HDR*, HASH_I [, NAT-D, NAT-D].
func (hs *handshake) aggressive2(now time.Time, p Path, m wireike.Message, msg []byte) {
	ke, nonce, err := keyMessage(m.Payloads)
	if err != nil || p.Remote.Addr() != hs.path.Remote.Addr() || m.Header.Responder.IsZero() || !hs.accept(m) {
		hs.unexpected()
		return
	}
	hs.phase1.PublicR, hs.phase1.NonceR = ke, nonce
	if err := hs.exchangeKeys(ke); err != nil {
		hs.failWith(hs.initiation.Tenant, "", err)
		return
	}
	hs.iv = hs.phase1.FirstIV()
	hs.keys = hs.phase1.WithPSK(hs.initiation.PSK)
	proof, err := readProof(m.Payloads)
	if err != nil || proof.hash == nil || !keymat.Equal(proof.hash, hs.proofR(hs.keys, proof.id)) {
		hs.failFor(hs.initiation.Tenant, "", tenant.ReasonPSKMismatch, "the responder does not have our pre-shared key")
		return
	}
	identity, err := identityOf(proof.id)
	if err != nil {
		hs.failWith(hs.initiation.Tenant, "", err)
		return
	}
	hs.detectNAT(m)
	b := wireike.NewBuilder(hs.header())
	id, _ := hs.initiation.Identity.AppendBinary(nil) // it never fails
	b.Add(wireike.PayloadHASH, hs.proofI(hs.keys, id))
	hs.addNATD(b)
	if hs.initiation.InitialContact {
		b.Add(wireike.PayloadNotify, hs.initialContact())
	}
	o := outcome{
		tenant: &TenantPolicy{Name: hs.initiation.Tenant, Legacy: true}, identity: identity, idOwn: id, idPeer: proof.id,
		psk: PSK{ID: hs.initiation.pskID, Secret: hs.initiation.PSK}, path: hs.path,
	}
	if err := hs.expected(o); err != nil {
		hs.failWith(hs.initiation.Tenant, "", err)
		return
	}
	hs.last.store(msg, nil)
	hs.resend.stop()
	hs.establish(now, o, func() []byte { return hs.encrypt(b) })
}
