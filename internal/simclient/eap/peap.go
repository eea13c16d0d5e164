package eap

import (
	"encoding/binary"
	"slices"

	wire "concentrator/internal/wire/eap"
)

// peap is PEAPv0: EAP-MSCHAPv2 in TLS. Inside, packets have no header, but for those that carry the result (type 33), and
// FreeRADIUS's question for the identity. The result is not bound to the tunnel: that part of PEAP is optional.
type peap struct {
	tlsMethod
	inner  *Peer
	passed bool   // the server and we agree that the inner login has gone well
	told   Result // what came of the latest inner packet
}

func newPEAP(cfg Config) *peap {
	return &peap{
		tlsMethod: tlsMethod{typ: wire.TypePEAP, cfg: cfg},
		inner: New(Config{
			Methods: []byte{wire.TypeMSCHAPv2}, Name: cfg.Name, Passwords: cfg.Passwords, NewPassword: cfg.NewPassword,
			Rand: cfg.Rand,
		}),
	}
}

func (m *peap) handle(id byte, data []byte) step {
	m.told = Result{}
	s := m.carry(data, func(said []byte) []byte { return m.inside(id, said) })
	s.refused, s.again, s.changed = m.told.Refused, m.told.Again, m.told.Changed
	return s
}

// inside answers what the server says in the tunnel.
func (m *peap) inside(id byte, said []byte) []byte {
	packet := innerPacket(id, said)
	h, err := wire.ParsePacket(packet)
	if err != nil {
		return nil
	}
	if h.Type == wire.TypeTLV {
		return m.result(h)
	}
	r := m.inner.Receive(packet)
	m.told = r
	return r.Reply[min(len(r.Reply), wire.HeaderLen):]
}

// innerPacket completes what the server says to a packet, unless it is one.
func innerPacket(id byte, said []byte) []byte {
	h, err := wire.ParsePacket(said)
	if err == nil && h.Code == wire.CodeRequest && h.Len() == len(said) &&
		(h.Type == wire.TypeTLV || h.Type == wire.TypeIdentity && len(h.Data) == 0) {
		return said
	}
	head := binary.BigEndian.AppendUint16([]byte{wire.CodeRequest, id}, uint16(wire.HeaderLen+len(said)))
	return slices.Concat(head, said)
}

// The result of PEAP: a TLV of type 3, whose highest bit says that it must be understood.
const (
	resultTLV     uint16 = 0x8003
	tlvTypeMask   uint16 = 0x3fff
	tlvHeaderLen         = 4
	resultLen            = 2
	resultSuccess uint16 = 1
	resultFailure uint16 = 2
)

// result agrees to the server's result, unless the inner login has not come that far. Other TLVs are not looked at.
func (m *peap) result(h wire.Packet) []byte {
	said := findResult(h.Data)
	if said == 0 {
		return nil
	}
	ours := resultFailure
	switch {
	case said == resultSuccess && m.inner.proven():
		m.passed, ours = true, resultSuccess
	case said == resultSuccess:
		m.fail(ErrImpostor)
	}
	tlv := binary.BigEndian.AppendUint16(nil, resultTLV)
	tlv = binary.BigEndian.AppendUint16(tlv, resultLen)
	tlv = binary.BigEndian.AppendUint16(tlv, ours)
	b, err := wire.Packet{Code: wire.CodeResponse, ID: h.ID, Type: wire.TypeTLV, Data: tlv}.AppendBinary(nil)
	if err != nil {
		return nil
	}
	return b
}

// findResult returns the value of the first result; 0: there is none.
func findResult(b []byte) uint16 {
	for len(b) >= tlvHeaderLen {
		typ, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		b = b[tlvHeaderLen:]
		if n > len(b) {
			return 0
		}
		if typ&tlvTypeMask == resultTLV&tlvTypeMask && n == resultLen {
			return binary.BigEndian.Uint16(b)
		}
		b = b[n:]
	}
	return 0
}

func (m *peap) done() bool { return m.up() && m.passed }

func (m *peap) failure() error {
	if m.err == nil {
		return m.inner.failure()
	}
	return m.err
}

func (m *peap) close() {
	m.inner.Close()
	m.tlsMethod.close()
}
