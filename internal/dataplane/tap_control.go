package dataplane

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/capture"
	"concentrator/internal/dataplane/netio"
	wirel2tp "concentrator/internal/wire/l2tp"
)

// controlTap takes copies of the control messages of one L2TP session that runs in clear. They come and go by other shards
// than its data, so that every shard has it.
type controlTap struct {
	tap                     *capture.Tap
	local, remote           [4]byte
	port                    uint16 // the peer's
	tunnel, session         uint16 // ours
	peerTunnel, peerSession uint16
}

func newControlTap(c *call, t *capture.Tap) controlTap {
	l := c.l2tp
	return controlTap{
		t, l.peer.local, l.peer.remote, l.peer.port, l.localTunnel, c.id, l.peerTunnel, l.peerSession,
	}
}

// received copies a control message that came, if it is the session's.
func (x *controlTap) received(d *netio.Datagram, msg []byte) {
	if d.From == x.remote && d.FromPort == x.port && d.To == x.local && concerns(msg, x.tunnel, x.session) {
		x.tap.PutBehind(&capture.Headers{
			From: d.From, To: d.To, FromPort: d.FromPort, ToPort: portL2TP, TOS: d.TOS, Protocol: unix.IPPROTO_UDP,
		}, maskL2TP(msg))
	}
}

// sent copies a control message that goes, if it is the session's.
func (x *controlTap) sent(m *netio.Message) {
	if m.To == x.remote && m.Port == x.port && m.From == x.local && concerns(m.Data, x.peerTunnel, x.peerSession) {
		x.tap.PutBehind(&capture.Headers{
			From: m.From, To: m.To, FromPort: portL2TP, ToPort: m.Port, TOS: m.TOS, Protocol: unix.IPPROTO_UDP,
		}, m.Data)
	}
}

// What a control message begins with, behind its header, RFC 2661 section 4.4.1: the Message Type AVP.
const (
	messageTypeAt  = 6
	messageTypeLen = 8
)

// concerns says whether a control message is about one session, or about its tunnel only: an acknowledgement, HELLO or
// StopCCN. What a carrier's tunnel says of its other sessions may be of other tenants.
func concerns(msg []byte, tunnel, session uint16) bool {
	h, body, err := wirel2tp.ParseHeader(msg)
	if err != nil || !h.Control || h.TunnelID != tunnel {
		return false
	}
	switch {
	case h.SessionID == session || len(body) == 0:
		return true
	case h.SessionID != 0 || len(body) < messageTypeLen:
		return false
	}
	t := wirel2tp.Type(binary.BigEndian.Uint16(body[messageTypeAt:]))
	return t == wirel2tp.TypeHELLO || t == wirel2tp.TypeStopCCN
}

// untapControl takes a tap out.
func (s *shard) untapControl(t *capture.Tap) {
	kept := s.controlTaps[:0]
	for _, x := range s.controlTaps {
		if x.tap != t {
			kept = append(kept, x)
		}
	}
	clear(s.controlTaps[len(kept):])
	s.controlTaps = kept
}
