package plain

import (
	"slices"
	"time"

	"concentrator/internal/dataplane/gre"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/simclient/traffic"
	wiregre "concentrator/internal/wire/gre"
	wireppp "concentrator/internal/wire/ppp"
)

// maxHeld is how many GRE packets wait for one that is missing.
const maxHeld = 4

// nanos is a time as GRE and MPPE count it, by the clock of package traffic.
func nanos(t time.Time) int64 { return traffic.Nanos(t) }

// data is the GRE of a call, with MPPE as far as it was agreed on. Guarded by Client.mu and by the Gate.
type data struct {
	gre      *gre.Session // nil: there is no call
	pool     *pktbuf.Pool
	sender   *mppe.Sender   // nil: what we send is not encrypted
	receiver *mppe.Receiver // nil: what comes is not encrypted
	scratch  *mppe.Scratch
	ready    [][]byte // frames to be handed on
}

func (d *data) begin(peerCallID uint16) {
	d.pool = pktbuf.NewPool(maxHeld)
	d.gre = gre.NewSession(peerCallID, d.pool)
}

func (d *data) end() {
	if d.gre != nil {
		d.gre.Close()
		*d = data{}
	}
}

// working is the scratch of MPPE, made when it is first wanted.
func (d *data) working() *mppe.Scratch {
	if d.scratch == nil {
		d.scratch = mppe.NewScratch()
	}
	return d.scratch
}

// receive reads a packet under the Gate, and hands on what was in it, and in those that have waited for it, afterwards.
func (l *pptpLine) receive(now time.Time, packet []byte) {
	if !l.stand { // GRE and TCP come by different ways: it may belong to a call whose reply is still to come
		if l.m != nil && len(l.early) < maxEarly {
			l.early = append(l.early, slices.Clone(packet))
		}
		return
	}
	gate := l.c.cfg.Gate
	gate.Lock()
	l.unwrap(now, packet)
	l.acknowledge(now)
	gate.Unlock()
	l.hand(now)
}

// unwrap follows the recipe of package gre.
func (l *pptpLine) unwrap(now time.Time, packet []byte) {
	d := &l.data
	h, payload, err := wiregre.ParseHeader(packet)
	if err != nil || d.gre == nil || h.CallID != l.request.CallID || !h.HasSeq {
		return
	}
	b := &l.c.opened
	place := d.gre.Place(h.Seq)
	protocol, info, err := wireppp.ParseFrame(payload)
	encrypted := err == nil && protocol == wireppp.ProtocolCompressed
	switch {
	case err != nil, place == gre.Late, place == gre.Duplicate, !b.SetBytes(payload),
		encrypted && d.receiver == nil,                        // there is no key
		d.receiver != nil && protocol == wireppp.ProtocolIPv4: // it must have been encrypted
		l.c.lost++
		return
	}
	evidence := gre.Clear
	switch {
	case encrypted:
		b.TrimFront(len(payload) - len(info))
		evidence = gre.Unverified
		if place != gre.Early || !d.receiver.Stateful() {
			evidence = l.decrypt(now, b, h.Seq)
		}
	case d.receiver != nil:
		evidence = gre.Control
	}
	if evidence == 0 {
		l.c.lost++
		return
	}
	switch d.gre.Accept(h.Seq, b, evidence, nanos(now)) {
	case gre.Deliver:
		l.deliver(b, h.Seq, evidence)
		l.pop(now)
	case gre.DeliverLast:
		l.pop(now)
		l.deliver(b, h.Seq, evidence)
	case gre.Held:
		l.pop(now)
	case gre.Waiting, gre.Refused:
		l.c.lost++
	}
}

// decrypt opens an MPPE packet in b; no evidence: it can't be.
func (l *pptpLine) decrypt(now time.Time, b *pktbuf.Buf, seq uint32) gre.Evidence {
	d := &l.data
	switch v := d.receiver.Open(b, seq, credible, nanos(now), d.working()); v {
	case mppe.OK:
		return gre.Verified
	case mppe.Resynced:
		return gre.Confirmed
	default:
		return 0
	}
}

// credible says whether plaintext begins as an inner IPv4 packet of its length does.
func credible(head []byte, n int, _ bool) bool {
	protocol, info, err := wireppp.ParseFrame(head)
	return err == nil && protocol == wireppp.ProtocolIPv4 && len(info) >= 20 && info[0]>>4 == 4 &&
		int(info[2])<<8|int(info[3]) == n-(len(head)-len(info))
}

// pop delivers the packets whose turn has come.
func (l *pptpLine) pop(now time.Time) {
	d := &l.data
	for {
		p, ok := d.gre.Pop()
		if !ok {
			return
		}
		if p.Evidence == gre.Unverified && (d.receiver == nil || l.decrypt(now, p.Buf, p.Seq) == 0) {
			l.c.lost++
		} else {
			l.deliver(p.Buf, p.Seq, p.Evidence)
		}
		d.pool.Put(p.Buf)
	}
}

// deliver keeps a copy of a frame that is in its turn until the Gate is free.
func (l *pptpLine) deliver(b *pktbuf.Buf, seq uint32, evidence gre.Evidence) {
	d := &l.data
	if d.receiver != nil && evidence == gre.Control {
		d.receiver.NoteClear(seq)
	}
	d.ready = append(d.ready, slices.Clone(b.Bytes()))
}

// hand gives the frames that are ready to PPP, or to who wants IP.
func (l *pptpLine) hand(now time.Time) {
	ready := l.data.ready
	l.data.ready = nil
	for _, f := range ready {
		if protocol, info, err := wireppp.ParseFrame(f); err == nil {
			l.c.frame(now, protocol, info)
		}
	}
}

// acknowledge sends a bare acknowledgement if one is due.
func (l *pptpLine) acknowledge(now time.Time) {
	if d := &l.data; d.gre != nil && d.gre.AckDue(nanos(now)) {
		b := &l.c.sealed
		b.Reset()
		d.gre.Ack(b)
		l.c.cfg.Send(b.Bytes())
	}
}

func (l *pptpLine) tickData(now time.Time) {
	gate := l.c.cfg.Gate
	gate.Lock()
	if d := &l.data; d.gre != nil {
		if at, ok := d.gre.Deadline(); ok && at <= nanos(now) && d.gre.Expire(nanos(now)) {
			l.pop(now)
		}
		l.acknowledge(now)
	}
	gate.Unlock()
	l.hand(now)
}

func (l *pptpLine) dataDeadline() (time.Time, bool) {
	l.c.cfg.Gate.Lock()
	defer l.c.cfg.Gate.Unlock()
	if l.data.gre == nil {
		return time.Time{}, false
	}
	first, some := l.data.gre.Deadline()
	if at, ok := l.data.gre.AckDeadline(); ok && (!some || at < first) {
		first, some = at, true
	}
	return traffic.Time(first), some
}

func (l *pptpLine) send(protocol uint16, n simppp.Network) error {
	l.c.cfg.Gate.Lock()
	defer l.c.cfg.Gate.Unlock()
	d, b := &l.data, &l.c.sealed
	if d.gre == nil {
		return ErrDown
	}
	var head [4]byte
	h := head[:0]
	if protocol == wireppp.ProtocolIPv4 && d.sender != nil {
		copy(b.Prepend(2), []byte{byte(protocol >> 8), byte(protocol)})
		if !d.sender.Seal(b, d.working()) {
			return ErrTooLong
		}
		protocol = wireppp.ProtocolCompressed
	}
	h = wireppp.AppendHeader(h, protocol, n.ACFC, n.PFC)
	copy(b.Prepend(len(h)), h)
	if !d.gre.Wrap(b) {
		return ErrTooLong
	}
	l.c.cfg.Send(b.Bytes())
	return nil
}
