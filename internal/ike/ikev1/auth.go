package ikev1

import (
	"errors"
	"fmt"
	"time"

	"concentrator/internal/ike/cert"
	"concentrator/internal/ike/keymat"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// maxPSKMessage bounds a message 5 that many keys are tried on, in octets. With a pre-shared key it holds an identity, a
// hash and perhaps a notify.
const maxPSKMessage = 4096

// proof is what message 5 or 6 holds.
type proof struct {
	id             []byte // body of the ID payload
	hash           []byte // of the HASH payload; nil: there is none
	sig            []byte // of the SIG payload; nil: there is none
	certs          [][]byte
	initialContact bool
}

// readProof reads the payloads of message 5 or 6, or of the messages of Aggressive Mode that prove.
func readProof(m wireike.Payloads) (proof, error) {
	var p proof
	ids := 0
	for q := range m.All() {
		switch q.Type {
		case wireike.PayloadID:
			p.id = q.Body
			ids++
		case wireike.PayloadHASH:
			if p.hash != nil {
				return p, errors.New("two HASH payloads")
			}
			p.hash = q.Body
		case wireike.PayloadSIG:
			if p.sig != nil {
				return p, errors.New("two SIG payloads")
			}
			p.sig = q.Body
		case wireike.PayloadCERT:
			if e, der, err := wireike.ParseCert(q.Body); err == nil && e == wireike.CertX509Signature {
				p.certs = append(p.certs, der)
			}
		case wireike.PayloadNotify:
			n, err := wireike.ParseNotify(q.Body)
			p.initialContact = p.initialContact || err == nil && n.Type == wireike.NotifyInitialContact
		default: // vendor IDs, certificate requests and what we don't know prove nothing
		}
	}
	if ids != 1 {
		return p, fmt.Errorf("%d ID payloads", ids)
	}
	return p, nil
}

// candidate is a key that may be the peer's.
type candidate struct {
	tenant *TenantPolicy
	psk    PSK
}

// candidates lists the keys of a listener in the order in which they are tried: the one that was good for the source
// last, then the tenants'. At most maxCandidates.
func (e *Engine) candidates(policy *Policy, p Path) []candidate {
	e.mu.Lock()
	good, ok := e.lastGood.get(p.Remote.Addr())
	e.mu.Unlock()
	var out []candidate
	for _, t := range policy.Tenants {
		for _, k := range t.PSKs {
			c := candidate{t, k}
			switch {
			case ok && good == goodKey{t.Name, k.ID} && len(out) > 0:
				out = append(out, out[0])
				out[0] = c
			default:
				out = append(out, c)
			}
		}
	}
	if len(out) > maxCandidates {
		out = out[:maxCandidates]
	}
	return out
}

// errPSK is a message 5 that none of the keys fits.
func errPSK(tried int) error {
	return &RefusedError{tenant.ReasonPSKMismatch, fmt.Sprintf("none of the listener's %d pre-shared keys fits", tried)}
}

// prove says which hash a proof must have, under keys: HASH_I or HASH_R.
type prove func(k *keymat.Keys, id []byte) []byte

func (hs *handshake) proofI(k *keymat.Keys, id []byte) []byte { return k.HashI(hs.suite.auth, id) }
func (hs *handshake) proofR(k *keymat.Keys, id []byte) []byte { return k.HashR(hs.suite.auth, id) }

// authenticate finds out who sent message 5. Afterwards hs.keys and hs.iv are those of the SA.
func (hs *handshake) authenticate(now time.Time, policy *Policy, h wireike.Header, msg []byte, f prove) (outcome, error) {
	if hs.signed() {
		hs.keys = hs.phase1.WithSignatures()
		m, next, err := decryptMessage(h, msg, hs.keys, hs.iv)
		if err != nil {
			return outcome{}, fmt.Errorf("message 5 can't be read: %w", err)
		}
		hs.iv = next
		return hs.authenticateSignature(now, policy.Tenants, m, f)
	}
	if len(msg) > maxPSKMessage {
		return outcome{}, fmt.Errorf("message 5 has %d octets", len(msg))
	}
	candidates := hs.e.candidates(policy, hs.path)
	for _, c := range candidates {
		keys := hs.phase1.WithPSK(c.psk.Secret)
		o, next, ok := hs.tryPSK(keys, h, msg, f)
		if !ok {
			keys.Wipe()
			continue
		}
		hs.keys, hs.iv = keys, next
		o.tenant, o.psk = c.tenant, c.psk
		hs.remember(c)
		return o, nil
	}
	return outcome{}, errPSK(len(candidates))
}

// remember notes whose key was good for a source.
func (hs *handshake) remember(c candidate) {
	hs.e.mu.Lock()
	defer hs.e.mu.Unlock()
	hs.e.lastGood.put(hs.path.Remote.Addr(), goodKey{c.tenant.Name, c.psk.ID})
}

// tryPSK says whether keys fit an encrypted proof.
func (hs *handshake) tryPSK(keys *keymat.Keys, h wireike.Header, msg []byte, f prove) (outcome, keymat.IV, bool) {
	m, next, err := decryptMessage(h, msg, keys, hs.iv)
	if err != nil {
		return outcome{}, next, false
	}
	p, err := readProof(m)
	if err != nil || p.hash == nil || !keymat.Equal(p.hash, f(keys, p.id)) {
		return outcome{}, next, false
	}
	id, err := identityOf(p.id)
	if err != nil {
		return outcome{}, next, false
	}
	return outcome{identity: id, idPeer: p.id, initialContact: p.initialContact}, next, true
}

// authenticateSignature checks certificates and signature of a proof against the tenants' authorities. With an error the
// outcome names the tenant whose certificate it would be, if that can be told.
func (hs *handshake) authenticateSignature(
	now time.Time, tenants []*TenantPolicy, m wireike.Payloads, f prove,
) (outcome, error) {
	p, err := readProof(m)
	switch {
	case err != nil:
		return outcome{}, fmt.Errorf("message 5: %w", err)
	case p.sig == nil:
		return outcome{}, errors.New("message 5 has no signature")
	}
	peer, err := cert.ParsePeer(p.certs)
	if err != nil {
		return outcome{}, err
	}
	var worst error = &cert.Error{
		Reason: tenant.ReasonCertificateUntrusted, Detail: fmt.Sprintf("no tenant trusts an authority for %q", peer.Subject()),
	}
	var issued outcome // of whose authority the certificate is, though it is not good
	tried := 0
	for _, t := range tenants {
		if t.Trust == nil {
			continue
		}
		if tried++; tried > maxCandidates {
			break
		}
		o := outcome{
			tenant: t, identity: Identity{wireike.IDDERASN1DN, peer.Subject()}, idPeer: p.id, initialContact: p.initialContact,
		}
		if err := t.Trust.Verify(peer, now); err != nil {
			if tried == 1 {
				worst = err
			} else {
				worst = cert.Worst(worst, err)
			}
			if issued.tenant == nil && t.Trust.Issued(peer) {
				issued = o
			}
			continue
		}
		id, err := wireike.ParseID(p.id)
		if err != nil {
			return o, fmt.Errorf("message 5: %w", err)
		}
		if err := peer.CheckSignature(hs.suite.auth, f(hs.keys, p.id), p.sig); err != nil {
			return o, err
		}
		if err := peer.CheckID(id.Type, id.Data); err != nil {
			return o, err
		}
		hs.remember(candidate{tenant: t})
		return o, nil
	}
	return issued, worst
}

// authenticateResponder checks message 6, or 2 of Aggressive Mode, as initiator.
func (hs *handshake) authenticateResponder(now time.Time, h wireike.Header, msg []byte) (outcome, error) {
	t := hs.initiation.tenants
	if t == nil {
		t = &TenantPolicy{Name: hs.initiation.Tenant, Trust: hs.initiation.Trust, Legacy: true}
	}
	var (
		o   outcome
		err error
	)
	if hs.signed() {
		m, next, errRead := decryptMessage(h, msg, hs.keys, hs.iv)
		if errRead != nil {
			return o, errRead
		}
		if o, err = hs.authenticateSignature(now, []*TenantPolicy{t}, m, hs.proofR); err != nil {
			return o, err
		}
		hs.iv = next
	} else {
		found, next, ok := hs.tryPSK(hs.keys, h, msg, hs.proofR)
		if !ok {
			return o, errPSK(1)
		}
		o, hs.iv = found, next
	}
	o.tenant = t
	o.psk = PSK{ID: hs.initiation.pskID, Secret: hs.initiation.PSK}
	o.idOwn, _ = hs.initiation.Identity.AppendBinary(nil) // it never fails
	return o, hs.expected(o)
}

// expected says whether the responder is who a rekey was meant for.
func (hs *handshake) expected(o outcome) error {
	if want := hs.initiation.expect; want != (Identity{}) && want != o.identity {
		return fmt.Errorf("the peer is %v, not %v", o.identity, want)
	}
	return nil
}

// certReason is reasonOf for errors of package cert.
func certReason(err error) (tenant.Reason, string, bool) {
	var c *cert.Error
	if errors.As(err, &c) {
		return c.Reason, c.Detail, true
	}
	return "", "", false
}
