package ikev1

import (
	"encoding/binary"
	"slices"
	"time"

	wireike "concentrator/internal/wire/ike"
)

// dpd is dead peer detection, RFC 3706: after a silence of dpdIdle the peer is asked, then every dpdRetry, and after
// dpdTries questions without any sign of life it is dead.
type dpd struct {
	last  time.Time // when the peer was heard last over IKE
	next  time.Time // when to look or to ask again; zero: dpdIdle after last
	tries int
}

// heard notes a sign of life.
func (d *dpd) heard(now time.Time) { *d = dpd{last: now} }

// capable returns the newest ISAKMP SA whose peer does dead peer detection, nil if there is none.
func (p *peer) capable() *isakmp {
	for _, s := range slices.Backward(p.sas) {
		if s.vendor.Has(wireike.VendorDPD) {
			return s
		}
	}
	return nil
}

func (d *dpd) due(p *peer) time.Time {
	switch {
	case p.capable() == nil:
		return time.Time{}
	case d.next.IsZero():
		return d.last.Add(dpdIdle)
	default:
		return d.next
	}
}

// tick does what is due; true means that the peer is dead.
func (d *dpd) tick(now time.Time, p *peer) bool {
	due := d.due(p)
	if due.IsZero() || now.Before(due) {
		return false
	}
	if idle := p.host.Idle(); idle < dpdIdle && idle < now.Sub(d.last) {
		d.tries, d.next = 0, now.Add(max(time.Second, dpdIdle-idle))
		return false
	}
	if d.tries == dpdTries {
		return true
	}
	d.tries++
	d.next = now.Add(dpdRetry)
	s := p.capable()
	s.dpdSeq++
	body, _ := wireike.Notify{
		Protocol: wireike.ProtocolISAKMP, Type: wireike.NotifyRUThere, SPI: s.spi(),
		Data: binary.BigEndian.AppendUint32(nil, s.dpdSeq),
	}.AppendBinary(nil) // it never fails
	p.send(s, payload{wireike.PayloadNotify, body})
	return false
}

// answerRUThere answers R-U-THERE, RFC 3706 section 5.4: always, whatever was announced.
func (p *peer) answerRUThere(s *isakmp, n wireike.Notify) {
	body, _ := wireike.Notify{
		Protocol: wireike.ProtocolISAKMP, Type: wireike.NotifyRUThereAck, SPI: s.spi(), Data: n.Data,
	}.AppendBinary(nil) // it never fails
	p.send(s, payload{wireike.PayloadNotify, body})
}
