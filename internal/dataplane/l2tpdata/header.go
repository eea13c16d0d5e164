package l2tpdata

import (
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/l2tp"
)

// Strip takes the header off the data message in b, which starts with it, and leaves the PPP frame. Headers with and
// without Length, Ns and Nr, and Offset are all accepted; octets behind Length are cut off. A control message is not
// touched: Control.
func Strip(b *pktbuf.Buf) (h l2tp.Header, v Verdict) {
	frame, v := Read(b, &h)
	if v == Malformed {
		return l2tp.Header{}, v
	}
	if v == OK {
		Cut(b, &h, frame)
	}
	return h, v
}

// Read is the first half of Strip, for who looks at the message between: it reads the header of the message in b into h and
// says how many octets the PPP frame behind it has. After Malformed h is undefined.
func Read(b *pktbuf.Buf, h *l2tp.Header) (frame int, v Verdict) {
	rest, err := h.Parse(b.Bytes())
	switch {
	case err != nil:
		return 0, Malformed
	case h.Control:
		return 0, Control
	}
	return len(rest), OK
}

// Cut is the other half, with what Read has found: it leaves the frame in b.
func Cut(b *pktbuf.Buf, h *l2tp.Header, frame int) {
	b.TrimFront(h.Len())
	b.Truncate(frame)
}

// Prepend puts the header of a data message before the PPP frame in b: 8 octets with the length, as all clients send and
// take it, and 12 with the next Ns when seq is not nil (Nr means nothing in data messages and is 0). False, and nothing has
// changed, if b has no room for it.
func Prepend(b *pktbuf.Buf, tunnelID, sessionID uint16, seq *Sequencer) bool {
	if seq == nil {
		room := b.Prepend(l2tp.DataHeaderLen)
		if room == nil {
			return false
		}
		l2tp.PutData(room, uint16(b.Len()), tunnelID, sessionID)
		return true
	}
	h := l2tp.Header{HasLength: true, TunnelID: tunnelID, SessionID: sessionID, HasSequence: true}
	room := b.Prepend(h.Len())
	if room == nil {
		return false
	}
	h.Length, h.Ns = uint16(b.Len()), seq.next()
	h.Put(room)
	return true
}
