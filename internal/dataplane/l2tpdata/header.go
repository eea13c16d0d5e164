package l2tpdata

import (
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/l2tp"
)

// Strip takes the header off the data message in b, which starts with it, and leaves the PPP frame. Headers with and
// without Length, Ns and Nr, and Offset are all accepted; octets behind Length are cut off. A control message is not
// touched: Control.
func Strip(b *pktbuf.Buf) (l2tp.Header, Verdict) {
	h, frame, err := l2tp.ParseHeader(b.Bytes())
	switch {
	case err != nil:
		return l2tp.Header{}, Malformed
	case h.Control:
		return h, Control
	}
	b.TrimFront(h.Len())
	b.Truncate(len(frame))
	return h, OK
}

// Prepend puts the header of a data message before the PPP frame in b: 8 octets with the length, as all clients send and
// take it, and 12 with the next Ns when seq is not nil (Nr means nothing in data messages and is 0). False, and nothing has
// changed, if b has no room for it.
func Prepend(b *pktbuf.Buf, tunnelID, sessionID uint16, seq *Sequencer) bool {
	h := l2tp.Header{HasLength: true, TunnelID: tunnelID, SessionID: sessionID, HasSequence: seq != nil}
	n := h.Len()
	frame := b.Len()
	room := b.Prepend(n)
	if room == nil {
		return false
	}
	h.Length = uint16(n + frame)
	if seq != nil {
		h.Ns = seq.next()
	}
	h.Put(room)
	return true
}
