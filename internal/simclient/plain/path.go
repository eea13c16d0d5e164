package plain

import (
	"encoding/binary"
	"errors"
	"time"

	"concentrator/internal/dataplane/gre"
	"concentrator/internal/dataplane/l2tpdata"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/simclient/traffic"
	"concentrator/internal/tenant"
	wiregre "concentrator/internal/wire/gre"
	wireppp "concentrator/internal/wire/ppp"
)

// ErrStateful is returned by Path for a session whose packets must be opened one after the other.
var ErrStateful = errors.New("stateful MPPE has no fast way")

// Path is the way of the client's packets for package traffic, without Socket and Receive. ErrDown, ErrStateful.
func (c *Client) Path() (traffic.Path, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return traffic.Path{}, ErrDown
	}
	p := traffic.Path{Address: c.network.Address, MTU: c.network.MRU, Gate: c.cfg.Gate}
	switch l := c.line.(type) {
	case *pptpLine:
		if r := l.data.receiver; r != nil && r.Stateful() {
			return traffic.Path{}, ErrStateful
		}
		p.Protocol, p.Link = tenant.ProtocolPPTP, pptpLink{l}
	case *l2tpLine:
		p.Protocol, p.Link = tenant.ProtocolL2TP, l2tpLink{l}
	}
	return p, nil
}

// putHeader puts the header of a PPP data frame before b.
func (c *Client) putHeader(b *pktbuf.Buf, protocol uint16) bool {
	var head [4]byte
	h := wireppp.AppendHeader(head[:0], protocol, c.network.ACFC, c.network.PFC)
	room := b.Prepend(len(h))
	copy(room, h)
	return room != nil
}

// judge says what the frame in in.Buf is, and takes the header off an inner packet.
func judge(in *traffic.Incoming) {
	protocol, info, err := wireppp.ParseFrame(in.Buf.Bytes())
	switch {
	case err != nil:
		in.Kind = traffic.KindDropped
	case protocol == wireppp.ProtocolIPv4:
		in.Buf.TrimFront(in.Buf.Len() - len(info))
		in.Kind = traffic.KindData
	default:
		in.Kind = traffic.KindControl
	}
}

// control takes back a frame that is no inner packet.
func (c *Client) control(b []byte) {
	c.do(func(now time.Time) {
		if protocol, info, err := wireppp.ParseFrame(b); err == nil {
			c.frame(now, protocol, info)
		}
	})
}

// l2tpLink is a session of L2TP as package traffic uses it. The Gate is held but for Control.
type l2tpLink struct{ l *l2tpLine }

// Pack implements traffic.Link.
func (k l2tpLink) Pack(o *traffic.Outgoing) bool {
	d := &k.l.data
	return k.l.c.open && d.session != 0 && k.l.c.putHeader(o.Buf, wireppp.ProtocolIPv4) &&
		l2tpdata.Prepend(o.Buf, d.tunnel, d.session, d.outbound)
}

// Finish implements traffic.Link.
func (l2tpLink) Finish(*traffic.Outgoing) bool { return true }

// Unpack implements traffic.Link.
func (k l2tpLink) Unpack(in *traffic.Incoming, _ time.Time) {
	h, v := l2tpdata.Strip(in.Buf)
	switch {
	case v == l2tpdata.Control:
		in.Kind = traffic.KindRaw
	case v != l2tpdata.OK, h.TunnelID != k.l.cfg.Start.AssignedTunnelID, h.SessionID != sessionID,
		h.HasSequence && !k.l.data.inTurn(h.Ns):
		in.Kind = traffic.KindDropped
	default:
		in.Kind = traffic.KindData
	}
}

// Opened implements traffic.Link.
func (l2tpLink) Opened(in *traffic.Incoming, _ time.Time) { judge(in) }

// Owed implements traffic.Link.
func (l2tpLink) Owed(*pktbuf.Buf, time.Time) bool { return false }

// Control implements traffic.Link.
func (k l2tpLink) Control(_ traffic.Kind, b []byte) { k.l.c.control(b) }

// pptpLink is a call of PPTP as package traffic uses it. The Gate is held but for Control.
type pptpLink struct{ l *pptpLine }

// Pack implements traffic.Link.
func (k pptpLink) Pack(o *traffic.Outgoing) bool {
	d := &k.l.data
	if !k.l.c.open || d.gre == nil {
		return false
	}
	if o.Sender = d.sender; o.Sender == nil {
		return true
	}
	protocol := o.Buf.Prepend(2)
	if protocol == nil {
		return false
	}
	binary.BigEndian.PutUint16(protocol, wireppp.ProtocolIPv4)
	return true
}

// Finish implements traffic.Link.
func (k pptpLink) Finish(o *traffic.Outgoing) bool {
	protocol := wireppp.ProtocolIPv4
	if o.Sender != nil {
		protocol = wireppp.ProtocolCompressed
	}
	return k.l.c.putHeader(o.Buf, protocol) && k.l.data.gre.Wrap(o.Buf)
}

// Unpack implements traffic.Link, by the recipe of package gre.
func (k pptpLink) Unpack(in *traffic.Incoming, _ time.Time) {
	d, b := &k.l.data, in.Buf
	h, payload, err := wiregre.ParseHeader(b.Bytes())
	in.Kind = traffic.KindDropped
	switch {
	case err != nil, d.gre == nil, h.CallID != k.l.request.CallID:
		return
	case !h.HasSeq:
		in.Kind = traffic.KindNothing // an acknowledgement
		return
	}
	place := d.gre.Place(h.Seq)
	protocol, info, err := wireppp.ParseFrame(payload)
	encrypted := protocol == wireppp.ProtocolCompressed
	switch {
	case err != nil, place == gre.Late, place == gre.Duplicate,
		encrypted && d.receiver == nil,                        // there is no key
		d.receiver != nil && protocol == wireppp.ProtocolIPv4: // it must have been encrypted
		return
	}
	b.TrimFront(h.Len())
	b.Truncate(len(payload))
	in.Kind, in.Seq = traffic.KindData, h.Seq
	if encrypted {
		b.TrimFront(len(payload) - len(info))
		in.Receiver, in.Credible = d.receiver, credible
	}
}

// Opened implements traffic.Link. What comes early is handed on at once: package traffic has its own opinion of order, and
// GRE's place is only kept.
func (k pptpLink) Opened(in *traffic.Incoming, now time.Time) {
	d := &k.l.data
	evidence := gre.Clear
	switch {
	case in.Receiver != nil && in.MPPE == mppe.OK:
		evidence = gre.Verified
	case in.Receiver != nil && in.MPPE == mppe.Resynced:
		evidence = gre.Confirmed
	case in.Receiver != nil:
		in.Kind = traffic.KindDropped
		return
	case d.receiver != nil:
		evidence = gre.Control
		d.receiver.NoteClear(in.Seq)
	}
	early := d.gre.Place(in.Seq) == gre.Early
	outcome := d.gre.Accept(in.Seq, in.Buf, evidence, nanos(now))
	k.forget()
	if (outcome == gre.Waiting || outcome == gre.Refused) && !early {
		in.Kind = traffic.KindDropped
		return
	}
	judge(in)
}

// forget lets go of packets whose turn has come: they were handed on when they came.
func (k pptpLink) forget() {
	for {
		p, ok := k.l.data.gre.Pop()
		if !ok {
			return
		}
		k.l.data.pool.Put(p.Buf)
	}
}

// Owed implements traffic.Link.
func (k pptpLink) Owed(b *pktbuf.Buf, now time.Time) bool {
	d, at := &k.l.data, nanos(now)
	if d.gre == nil {
		return false
	}
	if due, ok := d.gre.Deadline(); ok && due <= at && d.gre.Expire(at) {
		k.forget()
	}
	if !d.gre.AckDue(at) {
		return false
	}
	d.gre.Ack(b)
	return true
}

// Control implements traffic.Link.
func (k pptpLink) Control(_ traffic.Kind, b []byte) { k.l.c.control(b) }
