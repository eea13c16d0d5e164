package ppp

import (
	"net/netip"

	"concentrator/internal/ppp/automaton"
	wireipcp "concentrator/internal/wire/ipcp"
)

// judgeIPCP takes the server's address and rejects the rest: header compression.
func (c *Machine) judgeIPCP(a *automaton.Answer) {
	c.server = netip.Addr{}
	for o := range a.Options() {
		addr, err := wireipcp.ParseAddr(o.Value)
		if o.Type != wireipcp.OptionAddress || err != nil {
			a.Reject(o)
			continue
		}
		c.server = addr
	}
}

// given returns the address in an option of our request; the zero Addr if there is none.
func (c *Machine) given(typ byte) netip.Addr {
	value, _ := c.ipcp.asked(typ)
	addr, err := wireipcp.ParseAddr(value)
	if err != nil || addr.IsUnspecified() {
		return netip.Addr{}
	}
	return addr
}

// agreed is the outcome of LCP and IPCP.
func (c *Machine) agreed() Network {
	n := Network{
		Address: c.given(wireipcp.OptionAddress), Server: c.server,
		MRU: c.peer.mru, PFC: c.peer.pfc, ACFC: c.peer.acfc,
	}
	for _, o := range []struct {
		typ byte
		to  *[]netip.Addr
	}{
		{wireipcp.OptionPrimaryDNS, &n.DNS},
		{wireipcp.OptionSecondaryDNS, &n.DNS},
		{wireipcp.OptionPrimaryNBNS, &n.WINS},
		{wireipcp.OptionSecondaryNBNS, &n.WINS},
	} {
		if a := c.given(o.typ); a.IsValid() {
			*o.to = append(*o.to, a)
		}
	}
	return n
}
