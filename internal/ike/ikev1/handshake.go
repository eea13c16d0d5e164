package ikev1

import (
	"container/list"
	"errors"
	"fmt"
	"time"

	"concentrator/internal/ike/group"
	"concentrator/internal/ike/keymat"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// handshakeState is what a handshake waits for.
type handshakeState uint8

const (
	stateUnset handshakeState = iota
	awaitMessage2
	awaitMessage3
	awaitMessage4
	awaitMessage5
	awaitMessage6
	awaitAggressive1 // the first message is on its way to the machine
	awaitAggressive2
	awaitAggressive3
	stateClosed
)

var handshakeWaits = map[handshakeState]string{
	awaitMessage2: "message 2 of main mode", awaitMessage3: "message 3 of main mode", awaitMessage4: "message 4 of main mode",
	awaitMessage5: "message 5 of main mode", awaitMessage6: "message 6 of main mode",
	awaitAggressive1: "message 1 of aggressive mode", awaitAggressive2: "message 2 of aggressive mode",
	awaitAggressive3: "message 3 of aggressive mode",
}

// handshake is the machine for an ISAKMP SA in phase 1, as either side, until the peer is authenticated: RFC 2409 sections
// 5.1, 5.4 and RFC 3947. As responder it begins behind message 3. The peer's machine takes over from it.
type handshake struct {
	e          *Engine
	s          *strand
	id         SAID
	path       Path
	initiated  bool
	aggressive bool
	state      handshakeState
	expires    time.Time

	vendor wireike.Vendor // the peer's
	natt   natt
	nat    NAT
	suite  suite

	private *group.Private
	phase1  keymat.Phase1
	keys    *keymat.Keys
	iv      keymat.IV

	last   cache
	frags  reassembler
	out    fragmenter
	remark string // what the peer said in the clear, for the detail of a refusal

	// As responder.
	key    initiatorKey
	place  *list.Element // in Engine.strangers; nil: not there. Guarded by Engine.mu
	left   bool          // the Engine does not count it any more; likewise
	tenant *TenantPolicy // Aggressive Mode only: named by message 1
	psk    PSK           // likewise
	idi    []byte        // likewise: IDii_b
	ownID  []byte        // likewise: IDir_b
	answer []byte        // likewise: the SA payload of message 2
	remind reminder      // of message 4

	// As initiator.
	initiation initiation
	offered    []wireike.Transform
	resend     resender
}

// newResponder is a handshake that goes on from a half-open exchange. It is called with Engine.mu held.
func newResponder(e *Engine, s *strand, h *halfOpen) *handshake {
	hs := &handshake{
		e: e, s: s, id: h.id, path: h.path, key: h.initiatorKey(), state: awaitMessage3,
		expires: h.created.Add(e.cfg.HalfOpenLifetime), vendor: h.vendor, natt: wayOf(h.vendor),
		out: fragmenter{able: h.vendor.Has(wireike.VendorFragmentation)},
	}
	hs.phase1 = keymat.Phase1{Cookies: keymat.Cookies{Initiator: h.id.Initiator, Responder: h.id.Responder}, SA: h.sa}
	if sa, err := wireike.ParseSA(h.sa); err == nil { // it was parsed before
		if _, t, err := h.choice.at(sa); err == nil {
			hs.suite, _, _ = readSuite(t)
		}
	}
	hs.phase1.Hash, hs.phase1.Cipher = hs.suite.hash, hs.suite.cipher
	return hs
}

func (hs *handshake) breakOff() { hs.fail(tenant.ReasonProtocolError, ownFault) }

func (hs *handshake) String() string { return "IKE exchange with " + hs.path.Remote.String() }

func (hs *handshake) deadline() time.Time {
	if hs.state == stateClosed {
		return time.Time{}
	}
	return earliest(hs.expires, hs.resend.due, hs.remind.due)
}

func (hs *handshake) tick(now time.Time) {
	switch again, dead := hs.resend.tick(now); {
	case hs.state == stateClosed:
	case again:
		sendAll(hs.e.h, hs.path, hs.resend.pieces)
	case dead, !hs.expires.IsZero() && !now.Before(hs.expires):
		detail := "the peer did not send " + handshakeWaits[hs.state]
		if hs.remark != "" {
			detail += "; it said " + hs.remark + " without protection"
		}
		hs.fail(tenant.ReasonPeerTimeout, detail)
	case hs.remind.tick(now):
		sendAll(hs.e.h, hs.path, hs.remind.pieces)
	}
}

// header is the header of our messages in phase 1.
func (hs *handshake) header() wireike.Header {
	h := wireike.Header{
		Initiator: hs.id.Initiator, Responder: hs.id.Responder, Exchange: wireike.ExchangeMain,
	}
	if hs.aggressive {
		h.Exchange = wireike.ExchangeAggressive
	}
	return h
}

func (hs *handshake) receive(now time.Time, p Path, msg []byte) {
	if hs.state == stateClosed {
		return
	}
	h, err := wireike.ParseHeader(msg)
	if err != nil {
		return // Receive has parsed it already
	}
	if h.Next == wireike.PayloadFragment {
		hs.out.narrow = true
		if msg = hs.frags.add(now, h, msg); msg == nil {
			return
		}
		if h, err = wireike.ParseHeader(msg); err != nil {
			return
		}
	}
	if hs.last.knows(msg) {
		hs.e.count(func(s *Stats) { s.Duplicates++ })
		if p.Remote.Addr() == hs.path.Remote.Addr() { // or anybody could aim our answers at anybody
			hs.last.again(hs.e.h, p)
		}
		return
	}
	if h.Exchange == wireike.ExchangeInformational {
		hs.informational(h, msg)
		return
	}
	if h.Exchange != hs.header().Exchange || h.MessageID != 0 {
		hs.unexpected()
		if h.Exchange == wireike.ExchangeQuick && hs.state == awaitAggressive3 {
			hs.last.again(hs.e.h, p) // message 3 was lost; its sender repeats it when it sees message 2 again
		}
		return
	}
	switch hs.state {
	case awaitMessage5, awaitMessage6:
		if !h.Encrypted() {
			hs.unexpected()
			return
		}
		if hs.state == awaitMessage5 {
			hs.message5(now, p, h, msg)
		} else {
			hs.message6(now, p, h, msg)
		}
	case awaitAggressive3:
		hs.aggressive3(now, p, h, msg)
	default:
		hs.clear(now, p, h, msg)
	}
}

// clear takes a message that is not encrypted.
func (hs *handshake) clear(now time.Time, p Path, h wireike.Header, msg []byte) {
	m, err := wireike.ParseMessage(msg)
	if err != nil || h.Encrypted() {
		hs.e.count(func(s *Stats) { s.Malformed++ })
		return
	}
	switch hs.state {
	case awaitMessage2:
		hs.message2(now, p, m)
	case awaitMessage3:
		hs.message3(now, p, m, msg)
	case awaitMessage4:
		hs.message4(now, p, m)
	case awaitAggressive1:
		hs.aggressive1(p, m, msg)
	case awaitAggressive2:
		hs.aggressive2(now, p, m, msg)
	default:
		hs.unexpected()
	}
}

func (hs *handshake) unexpected() { hs.e.count(func(s *Stats) { s.Unexpected++ }) }

// informational takes an error that the peer reports. In the clear it is only remembered, as anybody could have sent it;
// what is authentic ends a handshake that we began.
func (hs *handshake) informational(h wireike.Header, msg []byte) {
	if h.Encrypted() {
		if hs.state != awaitMessage6 {
			hs.unexpected()
			return
		}
		m, _, err := decryptMessage(h, msg, hs.keys, hs.keys.ExchangeIV(hs.iv, h.MessageID))
		if err != nil || !authentic(m, hs.keys.HashInformational(h.MessageID, m.AfterFirst())) {
			hs.e.count(func(s *Stats) { s.Unauthentic++ })
			return
		}
		if n, ok := errorNotify(m); ok {
			hs.failFor(hs.initiation.Tenant, "", tenant.ReasonProtocolError, "the peer refused: "+n.Type.String())
		}
		return
	}
	hs.e.count(func(s *Stats) { s.Unprotected++ })
	m, err := wireike.ParseMessage(msg)
	if err != nil {
		return
	}
	if n, ok := errorNotify(m.Payloads); ok {
		hs.remark = n.Type.String()
	}
}

// errorNotify returns the first notify of a message that reports an error.
func errorNotify(m wireike.Payloads) (wireike.Notify, bool) {
	for q := range m.All() {
		if q.Type != wireike.PayloadNotify {
			continue
		}
		if n, err := wireike.ParseNotify(q.Body); err == nil && n.Type.IsError() {
			return n, true
		}
	}
	return wireike.Notify{}, false
}

// authentic says whether a message begins with the HASH payload that it should have.
func authentic(m wireike.Payloads, want []byte) bool {
	got, ok := m.Get(wireike.PayloadHASH)
	return ok && m.First() == wireike.PayloadHASH && keymat.Equal(got, want)
}

// exchangeKeys makes our private value, and with the peer's public one the shared secret.
func (hs *handshake) exchangeKeys(peer []byte) error {
	if hs.private == nil {
		private, err := hs.suite.group.Generate(hs.e.cfg.Rand)
		if err != nil {
			return err
		}
		hs.private = private
	}
	shared, err := hs.private.Shared(peer)
	if err != nil {
		return err
	}
	hs.private.Wipe()
	hs.phase1.Shared = shared
	return nil
}

// keyMessage reads what messages 3 and 4, and 1 and 2 of Aggressive Mode, have in common.
func keyMessage(m wireike.Payloads) (ke, nonce []byte, err error) {
	if m.Count(wireike.PayloadKE) != 1 || m.Count(wireike.PayloadNonce) != 1 {
		return nil, nil, errors.New("there must be one key exchange and one nonce payload")
	}
	ke, _ = m.Get(wireike.PayloadKE)
	nonce, _ = m.Get(wireike.PayloadNonce)
	if len(nonce) < minNonce || len(nonce) > maxNonce {
		return nil, nil, fmt.Errorf("a nonce of %d octets", len(nonce))
	}
	return ke, nonce, nil
}

// signed says whether certificates authenticate, rather than a pre-shared key.
func (hs *handshake) signed() bool { return hs.suite.auth != wireike.AuthPSK }

// encrypt finishes an encrypted message of phase 1 and moves the chain of IVs.
func (hs *handshake) encrypt(b *wireike.Builder) []byte {
	msg, next := encryptMessage(b, hs.keys, hs.iv)
	hs.iv = next
	return msg
}

// encryptMessage encrypts the payloads of a message.
func encryptMessage(b *wireike.Builder, keys *keymat.Keys, iv keymat.IV) ([]byte, keymat.IV) {
	clear := b.Bytes()
	body, next := keys.Encrypt(iv, clear[wireike.HeaderLen:])
	h, _ := wireike.ParseHeader(clear) // the Builder's own
	h.Flags |= wireike.FlagEncryption
	h.Length = uint32(wireike.HeaderLen + len(body))
	msg, _ := h.AppendBinary(make([]byte, 0, wireike.HeaderLen+len(body))) // it never fails
	return append(msg, body...), next
}

// decryptMessage decrypts the payloads of a message, under the IV that it must have.
func decryptMessage(h wireike.Header, msg []byte, keys *keymat.Keys, iv keymat.IV) (wireike.Payloads, keymat.IV, error) {
	plain, next, err := keys.Decrypt(iv, msg[wireike.HeaderLen:])
	if err != nil {
		return wireike.Payloads{}, iv, err
	}
	m, err := wireike.ParsePayloads(h.Next, plain, true)
	return m, next, err
}

// fail ends the handshake and reports it.
func (hs *handshake) fail(reason tenant.Reason, detail string) { hs.failFor("", "", reason, detail) }

// failFor is fail where the tenant or the identity is known.
func (hs *handshake) failFor(tenantName, identity string, reason tenant.Reason, detail string) {
	hs.close()
	hs.e.count(func(s *Stats) { s.Refused++ })
	hs.e.cfg.Log.Debug("phase 1 failed", telemetry.Listener, hs.path.Listener, telemetry.Peer, hs.path.Remote,
		telemetry.Reason, reason, telemetry.Detail, detail)
	if to := hs.initiation.rekeyOf; to != nil {
		hs.e.post(to, func(now time.Time) {
			if m, ok := to.m.(*peer); ok {
				m.rekeyFailed(now)
			}
		})
	}
	hs.e.h.Refused(Refusal{
		Path: hs.path, Tenant: tenantName, Identity: identity, Stage: tenant.StageIKEMainMode, Reason: reason, Detail: detail,
	})
}

// failWith is failFor for an error that may know its reason.
func (hs *handshake) failWith(tenantName, identity string, err error) {
	reason, detail := reasonOf(err)
	hs.failFor(tenantName, identity, reason, detail)
}

// close ends the handshake: the Engine does not find it any more.
func (hs *handshake) close() {
	hs.state = stateClosed
	hs.wipe()
	e := hs.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if hs.s.dead {
		return
	}
	e.loseLocked(hs)
	e.endLocked(hs.s)
}

// loseLocked makes the Engine find a handshake no more, nor count it.
func (e *Engine) loseLocked(hs *handshake) {
	e.leaveLocked(hs)
	if e.routes[hs.id] == hs.s {
		delete(e.routes, hs.id)
	}
	if e.initiators[hs.key] == hs.s {
		delete(e.initiators, hs.key)
	}
}

// leaveLocked makes the Engine count a handshake no more.
func (e *Engine) leaveLocked(hs *handshake) {
	if hs.left {
		return
	}
	hs.left = true
	if hs.place != nil {
		e.strangers.Remove(hs.place)
		hs.place = nil
	}
	e.handshakes--
	if hs.initiated {
		delete(e.ours, hs.id.Initiator)
	} else {
		e.sources.remove(hs.key.addr)
	}
}

// wipe clears secrets that only the handshake needs, and the keys, unless an SA has taken them over.
func (hs *handshake) wipe() {
	if hs.private != nil {
		hs.private.Wipe()
	}
	hs.phase1.Wipe()
	if hs.keys != nil {
		hs.keys.Wipe()
		hs.keys = nil
	}
}

// reasonOf says how an error is reported.
func reasonOf(err error) (tenant.Reason, string) {
	var (
		none    *errNoProposal
		refused *RefusedError
	)
	switch {
	case errors.As(err, &none):
		return none.reason, none.detail
	case errors.As(err, &refused):
		return refused.Reason, refused.Detail
	}
	if reason, detail, ok := certReason(err); ok {
		return reason, detail
	}
	return tenant.ReasonProtocolError, err.Error()
}
