package ipsec

import (
	"slices"
	"time"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/l2tpdata"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/simclient/traffic"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/esphdr"
	wireppp "concentrator/internal/wire/ppp"
)

// Path is the way of the client's packets for package traffic, without Socket and Receive. It follows to new SAs, by whoever
// they were made. ErrDown.
func (c *Client) Path() (traffic.Path, error) {
	c.link.mu.Lock()
	n, open := c.link.network, c.link.open
	c.link.mu.Unlock()
	if !open {
		return traffic.Path{}, ErrDown
	}
	c.sas.gate.Lock()
	defer c.sas.gate.Unlock()
	if c.sas.current == nil {
		return traffic.Path{}, ErrNoSA
	}
	return traffic.Path{
		Protocol: tenant.ProtocolL2TPIPsec, Address: n.Address, MTU: n.MRU, Gate: c.sas.gate,
		Link: fastLink{c, c.sas.current.encap},
	}, nil
}

// fastLink is a client's session as package traffic uses it. The Gate is held but for Control.
type fastLink struct {
	c     *Client
	encap bool // ESP is in UDP
}

// Pack implements traffic.Link.
func (k fastLink) Pack(o *traffic.Outgoing) bool {
	l, current := &k.c.link, k.c.sas.current
	if !l.up || current == nil || current.encap != k.encap {
		return false
	}
	o.SA = current.sa
	var head [4]byte
	h := wireppp.AppendHeader(head[:0], wireppp.ProtocolIPv4, l.acfc, l.pfc)
	room := o.Buf.Prepend(len(h))
	copy(room, h)
	return room != nil && l2tpdata.Prepend(o.Buf, l.peerTunnel, l.peerSession, l.outbound) && k.c.putUDP(o.Buf)
}

// Finish implements traffic.Link.
func (fastLink) Finish(*traffic.Outgoing) bool { return true }

// Unpack implements traffic.Link.
func (k fastLink) Unpack(in *traffic.Incoming, _ time.Time) {
	kind := esphdr.KindESP
	switch in.Port {
	case PortIKE:
		kind = esphdr.KindIKE
	case PortNATT:
		kind = esphdr.Classify(in.Buf.Bytes())
	}
	if kind == esphdr.KindESP {
		in.SA = k.c.find(in.Buf.Bytes())
	}
	switch {
	case in.SA != nil:
		in.Kind = traffic.KindData
	case kind == esphdr.KindIKE, kind == esphdr.KindESP:
		in.Kind = traffic.KindRaw
	case kind == esphdr.KindKeepalive:
		in.Kind = traffic.KindNothing
	default:
		in.Kind = traffic.KindDropped
	}
}

// Opened implements traffic.Link.
func (k fastLink) Opened(in *traffic.Incoming, now time.Time) {
	c, b := k.c, in.Buf
	in.Kind = traffic.KindDropped
	if !c.opened(in.SA, in.ESP, now) || in.NextHeader != esphdr.NextHeaderUDP || !c.stripUDP(b) {
		if in.ESP == esp.Dummy {
			in.Kind = traffic.KindNothing
		}
		return
	}
	h, v := l2tpdata.Strip(b)
	switch {
	case v == l2tpdata.Control:
		in.Kind = traffic.KindMessage
		return
	case v != l2tpdata.OK, h.TunnelID != c.cfg.L2TP.Start.AssignedTunnelID, h.SessionID != sessionID:
		return
	case !c.link.inTurn(h):
		c.lost.Add(1)
		return
	}
	protocol, info, err := wireppp.ParseFrame(b.Bytes())
	switch {
	case err != nil:
	case protocol == wireppp.ProtocolIPv4:
		b.TrimFront(b.Len() - len(info))
		in.Kind = traffic.KindData
	default:
		in.Kind = traffic.KindControl
	}
}

// Owed implements traffic.Link.
func (fastLink) Owed(*pktbuf.Buf, time.Time) bool { return false }

// Control implements traffic.Link.
func (k fastLink) Control(kind traffic.Kind, b []byte) {
	c := k.c
	c.sas.in.Lock()
	defer c.sas.in.Unlock()
	if kind == traffic.KindMessage {
		if t := c.l2tpClient(); t != nil {
			t.Receive(slices.Clone(b))
		}
		return
	}
	if protocol, info, err := wireppp.ParseFrame(b); err == nil {
		c.frame(protocol, info, b)
	}
}
