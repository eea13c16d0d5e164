package ppp

import (
	"encoding/binary"
	"slices"

	"concentrator/internal/ppp/automaton"
	"concentrator/internal/tenant"
	wirelcp "concentrator/internal/wire/lcp"
	wire "concentrator/internal/wire/ppp"
)

// maxRejected is how much of a packet is sent back in a Protocol-Reject, in octets.
const maxRejected = 512

// wireAuth says how LCP names a method.
func wireAuth(m tenant.AuthMethod) wirelcp.Auth {
	switch m {
	case tenant.AuthPAP:
		return wirelcp.Auth{Protocol: wire.ProtocolPAP}
	case tenant.AuthCHAP:
		return wirelcp.Auth{Protocol: wire.ProtocolCHAP, Algorithm: wirelcp.AlgorithmMD5}
	case tenant.AuthMSCHAPv2:
		return wirelcp.Auth{Protocol: wire.ProtocolCHAP, Algorithm: wirelcp.AlgorithmMSCHAPv2}
	case tenant.AuthEAP:
		return wirelcp.Auth{Protocol: wire.ProtocolEAP}
	}
	return wirelcp.Auth{}
}

// newMagic puts a magic number into our request where it wants one.
func (c *Machine) newMagic() {
	for i, o := range c.lcp.ask {
		if o.Type != wirelcp.OptionMagic {
			continue
		}
		b := make([]byte, 4)
		c.random(b)
		c.magic = max(binary.BigEndian.Uint32(b), 1)
		c.lcp.ask[i].Value = binary.BigEndian.AppendUint32(nil, c.magic)
	}
}

// judgeLCP takes everything that it knows and keeps what the server asked for.
func (c *Machine) judgeLCP(a *automaton.Answer) {
	c.peer.method, c.peer.mru, c.peer.pfc, c.peer.acfc = "", wirelcp.DefaultMRU, false, false
	for o := range a.Options() {
		if slices.Contains(c.cfg.LCPRejects, o.Type) {
			a.Reject(o)
			continue
		}
		switch o.Type {
		case wirelcp.OptionMRU:
			if mru, err := wirelcp.ParseMRU(o.Value); err == nil {
				c.peer.mru = int(mru)
			}
		case wirelcp.OptionACCM, wirelcp.OptionMagic:
		case wirelcp.OptionPFC:
			c.peer.pfc = true
		case wirelcp.OptionACFC:
			c.peer.acfc = true
		case wirelcp.OptionAuth:
			c.judgeAuth(a, o)
		default:
			a.Reject(o)
		}
	}
}

func (c *Machine) judgeAuth(a *automaton.Answer, o wire.Option) {
	if len(c.cfg.Methods) == 0 {
		a.Reject(o)
		return
	}
	got, err := wirelcp.ParseAuth(o.Value)
	for _, m := range c.cfg.Methods {
		if err == nil && wireAuth(m) == got {
			c.peer.method = m
			return
		}
	}
	// An appended option without its type and length is the value to propose.
	want := wirelcp.AppendAuth(nil, wireAuth(c.cfg.Methods[0]))
	a.Nak(o, want[2:]...)
}

func (c *Machine) sendIdents() {
	for _, text := range c.cfg.Idents {
		data, _ := wirelcp.Numbered{Magic: c.magic, Rest: []byte(text)}.AppendBinary(nil) // never fails
		c.send(wire.ProtocolLCP, wirelcp.CodeIdentification, c.lcp.m.NextID(), data)
	}
}

// extraLCP handles the codes that only LCP has.
func (c *Machine) extraLCP(p wire.Packet) {
	switch p.Code {
	case wirelcp.CodeEchoRequest:
		if n, err := wirelcp.ParseNumbered(p.Data); err == nil && !c.cfg.Deaf {
			n.Magic = c.magic
			data, _ := n.AppendBinary(nil) // never fails
			c.send(wire.ProtocolLCP, wirelcp.CodeEchoReply, p.ID, data)
		}
	case wirelcp.CodeProtocolReject:
		protocol, _, err := wirelcp.ParseProtocolReject(p.Data)
		switch {
		case err != nil:
		case protocol == wire.ProtocolCCP && c.network:
			c.ccp.m.Fail(c.now)
		case protocol == wire.ProtocolIPCP && c.network:
			c.ipcp.m.Fail(c.now)
		}
	}
}

func (c *Machine) rejectProtocol(protocol uint16, packet []byte) {
	data := wirelcp.AppendProtocolReject(nil, protocol, packet[:min(len(packet), maxRejected)])
	c.send(wire.ProtocolLCP, wirelcp.CodeProtocolReject, c.lcp.m.NextID(), data)
}
