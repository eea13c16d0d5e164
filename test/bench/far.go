package main

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/gre"
	"concentrator/internal/dataplane/l2tpdata"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/l2tp"
	"concentrator/internal/wire/ppp"
)

// errNoRoom is returned for a packet that a buffer can't take.
var errNoRoom = errors.New("a packet does not fit its buffer")

// Keys by use: each direction of each session has its own, but for the session's number.
const (
	useUp   = 1
	useDown = 2
)

// far is the client's half of a session: it makes the packets that the client sends, as they are behind the UDP or the outer
// IP header. It belongs to one goroutine.
type far struct {
	path            path
	tunnel, session uint16 // the server's
	sa              *esp.Outbound
	gre             *gre.Session
	mppe            *mppe.Sender
	scratch         *mppe.Scratch
	b               pktbuf.Buf
}

// data makes the packet that carries an inner packet. It is borrowed until the next call.
func (f *far) data(inner []byte) ([]byte, error) {
	if !f.b.SetBytes(inner) {
		return nil, errNoRoom
	}
	protocol := ppp.ProtocolIPv4
	if f.mppe != nil {
		head := f.b.Prepend(2)
		if head == nil {
			return nil, errNoRoom
		}
		binary.BigEndian.PutUint16(head, ppp.ProtocolIPv4)
		if !f.mppe.Seal(&f.b, f.scratch) {
			return nil, errNoRoom
		}
		protocol = ppp.ProtocolCompressed
	}
	return f.frame(protocol)
}

// control makes the packet that carries a PPP control frame. It is borrowed until the next call.
func (f *far) control(protocol uint16, packet []byte) ([]byte, error) {
	if !f.b.SetBytes(packet) {
		return nil, errNoRoom
	}
	return f.frame(protocol)
}

// frame puts all headers before what is in the buffer.
func (f *far) frame(protocol uint16) ([]byte, error) {
	var room [4]byte
	h := ppp.AppendHeader(room[:0], protocol, false, false)
	head := f.b.Prepend(len(h))
	if head == nil {
		return nil, errNoRoom
	}
	copy(head, h)
	if f.path.carrier == pptp {
		if !f.gre.Wrap(&f.b) {
			return nil, errNoRoom
		}
		return f.b.Bytes(), nil
	}
	if !l2tpdata.Prepend(&f.b, f.tunnel, f.session, nil) {
		return nil, errNoRoom
	}
	if f.path.secured() {
		if !l2tpdata.PrependUDP(&f.b, l2tp.Port) || f.sa.Seal(&f.b, unix.IPPROTO_UDP) != esp.OK {
			return nil, errNoRoom
		}
	}
	return f.b.Bytes(), nil
}
