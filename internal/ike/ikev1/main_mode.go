package ikev1

import (
	"net/netip"
	"slices"
	"time"

	"concentrator/internal/ike/keymat"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// message3 takes HDR, KE, Ni [, NAT-D, NAT-D ...] and answers with message 4: HDR, KE, Nr [, CERTREQ] [, NAT-D, NAT-D]. Now
// that the peer's address is proved, the rest gets a time of its own.
func (hs *handshake) message3(now time.Time, p Path, m wireike.Message, msg []byte) {
	if p.Remote.Addr() != hs.path.Remote.Addr() {
		hs.unexpected()
		return
	}
	hs.path = p
	ke, nonce, err := keyMessage(m.Payloads)
	if err != nil {
		hs.refuseClear(wireike.NotifyPayloadMalformed, "message 3: "+err.Error())
		return
	}
	if err := hs.exchangeKeys(ke); err != nil {
		hs.refuseClear(wireike.NotifyInvalidKeyInformation, "message 3: "+err.Error())
		return
	}
	hs.vendor |= vendorsOf(m.Payloads)
	hs.phase1.PublicI, hs.phase1.NonceI = ke, nonce
	hs.phase1.PublicR, hs.phase1.NonceR = hs.private.Public(), hs.e.random(ownNonce)
	hs.iv = hs.phase1.FirstIV()
	nat, natt := hs.natt.detect(m.Payloads, hs.phase1.Hash, hs.phase1.Cookies, p)
	hs.nat = nat

	b := wireike.NewBuilder(hs.header())
	b.Add(wireike.PayloadKE, hs.phase1.PublicR)
	b.Add(wireike.PayloadNonce, hs.phase1.NonceR)
	if hs.signed() {
		// An empty list of authorities: a client sends what it has, and learns no tenant's name.
		b.Add(wireike.PayloadCERTREQ, wireike.AppendCert(nil, wireike.CertX509Signature, nil))
	}
	if natt {
		hs.natt.append(b, hs.phase1.Hash, hs.phase1.Cookies, p.Local, p.Remote)
	}
	pieces := hs.out.cut(p, b.Bytes())
	hs.last.store(msg, pieces)
	hs.state, hs.expires = awaitMessage5, now.Add(hs.e.cfg.HandshakeLifetime)
	hs.remind.start(now, pieces)
	sendAll(hs.e.h, p, pieces)
}

// refuseClear ends the handshake before there are keys, with a notify in the clear.
func (hs *handshake) refuseClear(t wireike.NotifyType, detail string) {
	hs.e.h.Send(hs.path, hs.e.clearNotify(hs.id, t))
	hs.fail(tenant.ReasonProtocolError, detail)
}

// message5 takes HDR*, IDii, [CERT,] HASH_I or SIG_I [, INITIAL-CONTACT], finds out whose peer it is and answers with
// message 6: HDR*, IDir, [CERT,] HASH_R or SIG_R.
func (hs *handshake) message5(now time.Time, p Path, h wireike.Header, msg []byte) {
	policy := hs.e.h.Policy(hs.path.Listener)
	if policy == nil {
		policy = &Policy{}
	}
	hs.path = p
	o, err := hs.authenticate(now, policy, h, msg, hs.proofI)
	if err != nil {
		hs.refuseProof(o, err)
		return
	}
	o.path = p
	hs.last.store(msg, nil)
	o.idOwn = ownID(p, policy.Certificate, hs.signed(), hs.vendor)
	if hs.suite.legacy() && !o.tenant.Legacy {
		hs.refuseProtected(o, wireike.NotifyNoProposalChosen, tenant.ReasonLegacyNotAllowed,
			"the tenant does not allow "+hs.suite.String()+" without legacyClients")
		return
	}
	final, err := hs.message6From(policy, o.idOwn)
	if err != nil {
		hs.refuseProtected(o, wireike.NotifyAuthenticationFailed, tenant.ReasonProtocolError, err.Error())
		return
	}
	hs.establish(now, o, final)
}

// refuseProof ends the handshake after a message 5 that proves nothing. o may name whose peer it claims to be.
func (hs *handshake) refuseProof(o outcome, err error) {
	var msg []byte
	if hs.keys != nil { // signatures: the keys don't depend on who it is
		msg = hs.protectedNotify(wireike.NotifyAuthenticationFailed)
	} else {
		msg = hs.e.clearNotify(hs.id, wireike.NotifyAuthenticationFailed)
	}
	hs.e.h.Send(hs.path, msg)
	if o.tenant == nil {
		hs.failWith("", "", err)
		return
	}
	hs.failWith(o.tenant.Name, o.identity.String(), err)
}

// refuseProtected ends the handshake with an authenticated peer.
func (hs *handshake) refuseProtected(o outcome, t wireike.NotifyType, reason tenant.Reason, detail string) {
	if msg := hs.protectedNotify(t); msg != nil {
		hs.e.h.Send(o.path, msg)
	}
	hs.failFor(o.tenant.Name, o.identity.String(), reason, detail)
}

// message6From prepares message 6; the signature, which takes long, is made here, and the result only encrypts.
func (hs *handshake) message6From(policy *Policy, id []byte) (func() []byte, error) {
	b := wireike.NewBuilder(hs.header())
	b.Add(wireike.PayloadID, id)
	hash := hs.keys.HashR(hs.suite.auth, id)
	if hs.signed() {
		sig, err := policy.Certificate.Sign(hash)
		if err != nil {
			return nil, err
		}
		for _, der := range policy.Certificate.Chain() {
			b.Add(wireike.PayloadCERT, wireike.AppendCert(nil, wireike.CertX509Signature, der))
		}
		b.Add(wireike.PayloadSIG, sig)
	} else {
		b.Add(wireike.PayloadHASH, hash)
	}
	return func() []byte { return hs.encrypt(b) }, nil
}

// begin sends our first message as initiator.
func (hs *handshake) begin(now time.Time) {
	c := hs.initiation
	for i, p := range c.Proposals {
		hs.offered = append(hs.offered, p.transform(uint8(i+1)))
	}
	body := wireike.AppendSA(nil, wireike.Offer{
		Number: 1, Protocol: wireike.ProtocolISAKMP, Transforms: hs.offered,
	})
	hs.phase1.SA = body
	b := wireike.NewBuilder(hs.header())
	b.Add(wireike.PayloadSA, body)
	hs.state = awaitMessage2
	if hs.aggressive {
		if !hs.beginAggressive(b) {
			return
		}
	}
	for _, v := range c.Vendors {
		b.Add(wireike.PayloadVID, v.ID())
	}
	for _, v := range c.RawVendors {
		b.Add(wireike.PayloadVID, v)
	}
	hs.transmit(now, b.Bytes())
}

// transmit sends a message as initiator and repeats it until the answer comes.
func (hs *handshake) transmit(now time.Time, msg []byte) {
	pieces := hs.out.cut(hs.path, msg)
	hs.resend.start(now, pieces)
	sendAll(hs.e.h, hs.path, pieces)
}

// ownVendors is the set of vendor IDs that we sent as initiator.
func (hs *handshake) ownVendors() wireike.Vendor {
	var own wireike.Vendor
	for _, v := range hs.initiation.Vendors {
		own |= v
	}
	for _, v := range hs.initiation.RawVendors {
		own |= wireike.ParseVendor(v)
	}
	return own
}

// accept reads the SA payload of the responder, which must be one of our transforms. Its attributes should come back as we
// sent them, but strongSwan sorts them anew, so their meaning counts.
func (hs *handshake) accept(m wireike.Message) bool {
	body, ok := m.Payloads.Get(wireike.PayloadSA)
	if !ok || m.Payloads.Count(wireike.PayloadSA) != 1 {
		return false
	}
	sa, err := wireike.ParseSA(body)
	if err != nil {
		return false
	}
	_, t, err := single(sa)
	if err != nil {
		return false
	}
	answer, _, ok := readSuite(t)
	i := slices.IndexFunc(hs.offered, func(o wireike.Transform) bool {
		s, _, _ := readSuite(o)
		return s.cipher == answer.cipher && s.hash == answer.hash && s.auth == answer.auth && s.group == answer.group
	})
	if !ok || i < 0 {
		return false
	}
	hs.suite, _, _ = readSuite(hs.offered[i])
	hs.id.Responder = m.Header.Responder
	hs.phase1.Hash, hs.phase1.Cipher = hs.suite.hash, hs.suite.cipher
	hs.phase1.Cookies = keymat.Cookies{Initiator: hs.id.Initiator, Responder: hs.id.Responder}
	hs.vendor = vendorsOf(m.Payloads)
	hs.natt = wayOf(hs.vendor & hs.ownVendors())
	hs.out.able = hs.vendor.Has(wireike.VendorFragmentation)
	e := hs.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.routes[hs.id] != nil {
		return false
	}
	delete(e.ours, hs.id.Initiator)
	e.routes[hs.id] = hs.s
	return true
}

// message2 takes HDR, SA and sends message 3.
func (hs *handshake) message2(now time.Time, p Path, m wireike.Message) {
	if p.Remote.Addr() != hs.path.Remote.Addr() || m.Header.Responder.IsZero() || !hs.accept(m) {
		hs.unexpected()
		return
	}
	private, err := hs.suite.group.Generate(hs.e.cfg.Rand)
	if err != nil {
		hs.failWith(hs.initiation.Tenant, "", err)
		return
	}
	hs.private = private
	hs.phase1.PublicI, hs.phase1.NonceI = private.Public(), hs.e.random(hs.initiation.NonceLen)
	b := wireike.NewBuilder(hs.header())
	b.Add(wireike.PayloadKE, hs.phase1.PublicI)
	b.Add(wireike.PayloadNonce, hs.phase1.NonceI)
	hs.addNATD(b)
	hs.state = awaitMessage4
	hs.transmit(now, b.Bytes())
}

// addNATD adds our NAT-D payloads as initiator.
func (hs *handshake) addNATD(b *wireike.Builder) {
	if hs.natt.vendor == 0 {
		return
	}
	local, remote := hs.path.Local, hs.path.Remote
	if hs.initiation.ForceNAT {
		local = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	hs.natt.append(b, hs.phase1.Hash, hs.phase1.Cookies, local, remote)
}

// detectNAT reads the responder's NAT-D payloads and floats to port 4500 behind a NAT, RFC 3947 section 4.
func (hs *handshake) detectNAT(m wireike.Message) {
	nat, ok := hs.natt.detect(m.Payloads, hs.phase1.Hash, hs.phase1.Cookies, hs.path)
	if !ok {
		return
	}
	nat.Local = nat.Local || hs.initiation.ForceNAT
	hs.nat = nat
	if nat.Detected() && hs.path.Local.Port() == portIKE {
		hs.path.Local = netip.AddrPortFrom(hs.path.Local.Addr(), portNATT)
		hs.path.Remote = netip.AddrPortFrom(hs.path.Remote.Addr(), portNATT)
	}
}

// message4 takes HDR, KE, Nr and sends message 5.
func (hs *handshake) message4(now time.Time, p Path, m wireike.Message) {
	ke, nonce, err := keyMessage(m.Payloads)
	if err != nil || p.Remote.Addr() != hs.path.Remote.Addr() {
		hs.unexpected()
		return
	}
	hs.phase1.PublicR, hs.phase1.NonceR = ke, nonce
	if err := hs.exchangeKeys(ke); err != nil {
		hs.failWith(hs.initiation.Tenant, "", err)
		return
	}
	hs.iv = hs.phase1.FirstIV()
	hs.detectNAT(m)
	if hs.signed() {
		hs.keys = hs.phase1.WithSignatures()
	} else {
		hs.keys = hs.phase1.WithPSK(hs.initiation.PSK)
	}
	b := wireike.NewBuilder(hs.header())
	id, _ := hs.initiation.Identity.AppendBinary(nil) // it never fails
	b.Add(wireike.PayloadID, id)
	hash := hs.keys.HashI(hs.suite.auth, id)
	if hs.signed() {
		sig, err := hs.initiation.Certificate.Sign(hash)
		if err != nil {
			hs.failWith(hs.initiation.Tenant, "", err)
			return
		}
		for _, der := range hs.initiation.Certificate.Chain() {
			b.Add(wireike.PayloadCERT, wireike.AppendCert(nil, wireike.CertX509Signature, der))
		}
		b.Add(wireike.PayloadSIG, sig)
		b.Add(wireike.PayloadCERTREQ, wireike.AppendCert(nil, wireike.CertX509Signature, nil))
	} else {
		b.Add(wireike.PayloadHASH, hash)
	}
	if hs.initiation.InitialContact {
		b.Add(wireike.PayloadNotify, hs.initialContact())
	}
	msg := hs.encrypt(b)
	hs.state = awaitMessage6
	hs.transmit(now, msg)
}

// initialContact is the body of an INITIAL-CONTACT notify, RFC 2407 section 4.6.3.3.
func (hs *handshake) initialContact() []byte {
	spi := append(hs.id.Initiator[:len(hs.id.Initiator):len(hs.id.Initiator)], hs.id.Responder[:]...)
	body, _ := wireike.Notify{
		Protocol: wireike.ProtocolISAKMP, Type: wireike.NotifyInitialContact, SPI: spi,
	}.AppendBinary(nil) // it never fails
	return body
}

// message6 takes HDR*, IDir, [CERT,] HASH_R or SIG_R.
func (hs *handshake) message6(now time.Time, p Path, h wireike.Header, msg []byte) {
	o, err := hs.authenticateResponder(now, h, msg)
	if err != nil {
		// It may be a forgery; the real one may still come.
		hs.e.count(func(s *Stats) { s.Unauthentic++ })
		hs.remark = "something that proves nothing (" + err.Error() + ")"
		return
	}
	o.path = p
	hs.last.store(msg, nil)
	hs.resend.stop()
	hs.establish(now, o, nil)
}
