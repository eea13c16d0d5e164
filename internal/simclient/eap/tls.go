package eap

import (
	"bytes"

	wire "concentrator/internal/wire/eap"
)

// tlsMethod is what EAP-TLS and PEAP have in common: TLS in fragments (RFC 5216 section 2.1.5), and the keys.
type tlsMethod struct {
	typ byte
	cfg Config
	tun *tunnel // nil before the server's Start

	in   []byte // the fragments of the server's message so far
	out  []byte // what is left of ours
	sent int    // how much of it has been sent
	err  error  // why it has failed
}

// carry takes the server's next fragment, or sends our next one. inside is what to do with what the server says in the
// tunnel; it returns what to say there.
func (m *tlsMethod) carry(data []byte, inside func(said []byte) []byte) step {
	f, err := wire.ParseTLS(data)
	if err != nil || f.Start != (m.tun == nil) {
		return step{silent: true}
	}
	if f.Start {
		m.tun = newTunnel(m.cfg.TLS.config())
	}
	if len(m.out) > 0 { // the server waits for the rest
		if len(f.Data) > 0 || f.More {
			return step{silent: true}
		}
		return m.fragment()
	}
	if len(m.in)+len(f.Data) > msgLimit || f.Length > msgLimit {
		m.fail(ErrProtocol)
	}
	if m.err != nil {
		return m.fragment()
	}
	m.in = append(m.in, f.Data...)
	if f.More {
		return m.fragment()
	}
	m.message(inside)
	return m.fragment()
}

// message hands TLS a message that is whole.
func (m *tlsMethod) message(inside func(said []byte) []byte) {
	in := m.in
	m.in = nil
	out, err := m.tun.step(in)
	if err != nil {
		m.fail(err)
	}
	m.out = out
	if m.err != nil || !m.tun.established {
		return
	}
	said := m.tun.said()
	if len(said) == 0 {
		return
	}
	answer := inside(said)
	if len(answer) == 0 {
		return
	}
	out, err = m.tun.write(answer)
	if err != nil {
		m.fail(err)
	}
	m.out = append(m.out, out...)
}

func (m *tlsMethod) fail(err error) {
	if m.err == nil {
		m.err = err
	}
}

// fragment sends what is left, as much as fits. Nothing left: an acknowledgement.
func (m *tlsMethod) fragment() step {
	room := m.cfg.MTU - tlsHeaderLen
	var f wire.TLS
	if m.sent == 0 && len(m.out) > room {
		f.HasLength, f.Length = true, uint32(len(m.out))
		room -= tlsLengthLen
	}
	n := min(len(m.out), max(room, 1))
	f.Data, f.More = m.out[:n], n < len(m.out)
	data, err := f.AppendBinary(nil)
	m.out, m.sent = m.out[n:], m.sent+n
	if len(m.out) == 0 {
		m.out, m.sent = nil, 0
	}
	return step{data: data, silent: err != nil}
}

// Octets of a packet that are not TLS's: header, type and flags, and the length where it is there.
const (
	tlsHeaderLen = wire.HeaderLen + 2
	tlsLengthLen = 4
)

func (m *tlsMethod) up() bool       { return m.err == nil && m.tun != nil && m.tun.established }
func (m *tlsMethod) failure() error { return m.err }

// keys implements method: Enc-RECV-Key of RFC 5216 section 2.3 is the server's, so what we send with.
func (m *tlsMethod) keys() (*Keys, error) {
	if !m.up() {
		return nil, errNotDone
	}
	material, err := m.tun.export(m.typ)
	if err != nil {
		return nil, err
	}
	k := Keys{MSK: material[:mskLen]}
	copy(k.Send[:], k.MSK)
	copy(k.Recv[:], k.MSK[mskLen/2:])
	return &k, nil
}

func (m *tlsMethod) close() {
	if m.tun != nil {
		m.tun.close()
	}
}

// eapTLS is EAP-TLS.
type eapTLS struct {
	tlsMethod
	committed bool // TLS 1.3: the server will not say more (RFC 9190 section 2.1.1)
}

func newEAPTLS(cfg Config) *eapTLS {
	return &eapTLS{tlsMethod: tlsMethod{typ: wire.TypeTLS, cfg: cfg}}
}

func (m *eapTLS) handle(_ byte, data []byte) step {
	return m.carry(data, func(said []byte) []byte {
		if m.committed || !m.tun.tls13() || !bytes.Equal(said, []byte{0}) {
			m.fail(ErrProtocol)
		}
		m.committed = true
		return nil
	})
}

func (m *eapTLS) done() bool { return m.up() && (m.committed || !m.tun.tls13()) }
