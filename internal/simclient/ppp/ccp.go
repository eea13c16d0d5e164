package ppp

import (
	"encoding/binary"

	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/ppp/automaton"
	wireccp "concentrator/internal/wire/ccp"
	"concentrator/internal/wire/mschap"
	wire "concentrator/internal/wire/ppp"
)

// encryption is MPPE on this link. A Configure-Request names what its sender can decrypt: ours is about what the server
// sends, the server's about what we send.
type encryption struct {
	keyed      bool                // there are start keys: only MS-CHAPv2 gives any
	send, recv [mschap.KeyLen]byte // start keys, RFC 3079 section 3.3
	peer       mppe.Params         // what the server's latest request names; no Bits: nothing
	installed  mppe.Params         // what MPPEReceive was told last; no Bits: nothing
	open       bool                // MPPEOpen was called
}

// setKeys derives the start keys from the login. The server's send key is what we receive with.
func (e *encryption) setKeys(password string, r mschap.Response) {
	hashHash := mschap.HashNTPasswordHash(mschap.NTPasswordHash(password))
	e.recv, e.send = mschap.StartKeys(hashHash, r.NTResponse)
	e.keyed = true
}

func (c *Machine) receiveCCP(p wire.Packet, packet []byte) {
	switch {
	case !c.auth.passed || c.cfg.CCPMode == CCPMute:
	case c.cfg.CCPMode == CCPNone:
		c.rejectProtocol(wire.ProtocolCCP, packet)
	default:
		c.ccp.m.Receive(c.now, p)
	}
}

// favourite is what we propose: the strongest of what we take.
func (c *Machine) favourite() wireccp.MPPE {
	for _, bits := range []int{128, 56, 40} {
		if s := wireccp.Strength(bits); c.cfg.MPPE&s != 0 {
			return s | c.cfg.MPPE&wireccp.Stateless
		}
	}
	return 0
}

func params(m wireccp.MPPE, key [mschap.KeyLen]byte) mppe.Params {
	return mppe.Params{Bits: m.KeyBits(), Stateful: m&wireccp.Stateless == 0, StartKey: key}
}

func (c *Machine) judgeCCP(a *automaton.Answer) {
	c.mppe.peer = mppe.Params{}
	for o := range a.Options() {
		bits, err := wireccp.ParseMPPE(o.Value)
		switch {
		case o.Type != wireccp.OptionMPPE || err != nil || c.cfg.CCPMode == CCPReject || !c.mppe.keyed:
			a.Reject(o)
		case bits.KeyBits() == 0, bits&^(c.cfg.MPPE|wireccp.Stateless) != 0, c.cfg.MPPE&^bits&wireccp.Stateless != 0:
			a.Nak(o, binary.BigEndian.AppendUint32(nil, uint32(c.favourite()))...)
		default:
			c.mppe.peer = params(bits, c.mppe.send)
		}
	}
}

// installReceive tells the owner what our request permits the server to send.
func (c *Machine) installReceive() {
	value, ok := c.ccp.asked(wireccp.OptionMPPE)
	if !ok || !c.mppe.keyed {
		return
	}
	bits, err := wireccp.ParseMPPE(value)
	p := params(bits, c.mppe.recv)
	if err != nil || p.Bits == 0 || p == c.mppe.installed {
		return
	}
	c.mppe.installed = p
	c.ev.MPPEReceive(p)
}

// ccpUp is called when CCP opens. Without MPPE in both directions it is as good as closed.
func (c *Machine) ccpUp() {
	c.installReceive()
	if c.mppe.installed.Bits == 0 || c.mppe.peer.Bits == 0 {
		c.ccp.failed = true
		return
	}
	c.mppe.open = true
	c.ev.MPPEOpen(c.mppe.peer)
}

func (c *Machine) ccpDown() {
	if c.cfg.CCPMode == CCPRequire {
		c.networkDown()
	}
	if c.mppe.open || c.mppe.installed.Bits != 0 {
		c.mppe.open, c.mppe.installed = false, mppe.Params{}
		c.ev.MPPEDown()
	}
}
