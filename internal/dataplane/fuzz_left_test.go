package dataplane

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/l2tpdata"
	"concentrator/internal/dataplane/netio"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/dataplane/policy"
	"concentrator/internal/dataplane/tun"
	"concentrator/internal/wire/esphdr"
	wiregre "concentrator/internal/wire/gre"
	wirel2tp "concentrator/internal/wire/l2tp"
	"concentrator/internal/wire/ppp"
)

// left checks what a shard sends: it is some live session's, for that one, encrypted where it must be.
func (w *fuzzWorld) left(s *fuzzSocket, m *netio.Message) {
	if len(m.Data) == 0 || m.From != addr(serverIP).As4() {
		w.t.Fatalf("%d octets leave from %v", len(m.Data), m.From)
	}
	switch s.kind {
	case faceGRE:
		w.leftGRE(m)
	case faceESP:
		w.leftESP(m, false)
	case faceNATT:
		switch esphdr.Classify(m.Data) {
		case esphdr.KindKeepalive, esphdr.KindIKE:
			w.leftControl()
		default:
			w.leftESP(m, true)
		}
	case faceIKE:
		w.leftControl()
	case faceL2TP:
		w.leftPlain(m)
	}
}

// leftControl is for a message that the control side has sent.
func (w *fuzzWorld) leftControl() {
	if w.control--; w.control < 0 {
		w.t.Fatal("a message leaves that nobody has sent")
	}
}

func (w *fuzzWorld) leftGRE(m *netio.Message) {
	h, payload, err := wiregre.ParseHeader(m.Data)
	at := int(h.CallID) - firstPeerCall
	if err != nil || at < 0 || at >= len(w.sessions) {
		w.t.Fatalf("GRE of no session leaves: %v: % x", err, m.Data)
	}
	s := w.sessions[at]
	if s.gone() || m.To != s.remote.As4() {
		w.t.Fatalf("a packet leaves for session %d (gone: %v) to %v", at, s.gone(), m.To)
	}
	if !h.HasSeq {
		return
	}
	if s.heard && int32(h.Seq-s.lastSeq) <= 0 {
		w.t.Fatalf("session %d: number %d after %d", at, h.Seq, s.lastSeq)
	}
	s.heard, s.lastSeq = true, h.Seq
	protocol, info, err := ppp.ParseFrame(payload)
	if err != nil {
		w.t.Fatalf("session %d: what leaves is not PPP: % x", at, payload)
	}
	switch {
	case protocol == ppp.ProtocolCompressed && s.decrypt == nil:
		w.t.Fatalf("session %d: encrypted without a key", at)
	case protocol == ppp.ProtocolCompressed && !s.stateful:
		var b pktbuf.Buf
		b.SetBytes(info)
		anything := func([]byte, int, bool) bool { return true }
		if v := s.decrypt.Open(&b, h.Seq, anything, w.now, w.scratch); !v.Passed() {
			w.t.Fatalf("session %d: what leaves can't be decrypted: %v", at, v)
		}
		protocol, info, err = ppp.ParseFrame(b.Bytes())
		if err != nil || protocol != ppp.ProtocolIPv4 {
			w.t.Fatalf("session %d: protocol %#x is encrypted: %v", at, protocol, err)
		}
	case protocol == ppp.ProtocolIPv4 && (s.require || s.decrypt != nil):
		w.t.Fatalf("session %d: IP leaves in clear", at)
	}
	w.leftInner(s, protocol, info)
}

// leftInner checks that an inner packet is the session's.
func (w *fuzzWorld) leftInner(s *fuzzSession, protocol uint16, info []byte) {
	if protocol != ppp.ProtocolIPv4 {
		return
	}
	h, ok := policy.ParseIPv4(info)
	if !ok || !s.sources.Allow(h.Dst) {
		w.t.Fatalf("session %d is sent what is not its own: % x", s.at, info)
	}
}

func (w *fuzzWorld) leftESP(m *netio.Message, encap bool) {
	var p *fuzzPeer
	var a *fuzzSA
	spi := binary.BigEndian.Uint32(m.Data)
	for _, q := range w.peers {
		for _, x := range q.sas {
			if x.back == spi {
				p, a = q.now(), x
			}
		}
	}
	if p == nil || !p.live || p.encap != encap {
		w.t.Fatalf("ESP by SPI %#x leaves, which is no SA of this kind", spi)
	}
	if to := netip.AddrPortFrom(netip.AddrFrom4(m.To), m.Port); to.Addr() != p.remote.Addr() || encap && to != p.remote {
		w.t.Fatalf("ESP of peer %d leaves to %v, not %v", p.at, to, p.remote)
	}
	if a.cut {
		return // how the check values of both ways hang together is esp's to test
	}
	var b pktbuf.Buf
	b.SetBytes(m.Data)
	w.opening[0] = esp.OpenOp{SA: a.open, Buf: &b}
	if esp.OpenBatch(w.opening[:], w.espScratch); w.opening[0].Verdict != esp.OK {
		w.t.Fatalf("peer %d can't read what leaves: %v", p.at, w.opening[0].Verdict)
	}
	if _, v := l2tpdata.StripUDP(&b, false, m.From, m.To); v != l2tpdata.OK {
		w.t.Fatalf("peer %d is sent no L2TP: %v", p.at, v)
	}
	if s := w.leftL2TP(b.Bytes()); s != nil && s.peer.now() != p {
		w.t.Fatalf("session %d leaves by peer %d", s.at, p.at)
	}
}

func (w *fuzzWorld) leftPlain(m *netio.Message) {
	s := w.leftL2TP(m.Data)
	if s != nil && (!s.plain || m.To != s.remote.As4() || m.Port != portL2TP) {
		w.t.Fatalf("session %d leaves in clear to %v", s.at, m.To)
	}
}

// leftL2TP returns whose data message this is; nil of a control message.
func (w *fuzzWorld) leftL2TP(msg []byte) *fuzzSession {
	h, frame, err := wirel2tp.ParseHeader(msg)
	if err == nil && h.Control {
		w.leftControl()
		return nil
	}
	at := int(h.SessionID) - firstPeerCall
	if err != nil || at < 0 || at >= len(w.sessions) || h.TunnelID != h.SessionID+1 {
		w.t.Fatalf("L2TP of no session leaves: %v: % x", err, msg)
	}
	s := w.sessions[at]
	if s.gone() {
		w.t.Fatalf("a packet leaves for session %d, which is gone", at)
	}
	protocol, info, err := ppp.ParseFrame(frame)
	if err != nil {
		w.t.Fatalf("session %d: what leaves is not PPP: % x", at, frame)
	}
	w.leftInner(s, protocol, info)
	return s
}

// drainNetworks checks what has entered the networks.
func (w *fuzzWorld) drainNetworks() {
	written := uint64(0)
	for _, s := range w.d.shards {
		written += s.stats.TUNOutPackets
	}
	if written == w.written {
		return
	}
	w.written = written
	for _, n := range w.nets {
		if n.closed {
			continue
		}
		for _, fd := range n.dev.far {
			for {
				got, err := unix.Read(fd, w.packet[:])
				if err != nil {
					break
				}
				w.entered(n, w.packet[:got])
			}
		}
	}
}

// entered: what comes into a network is a packet of one of its sessions, or of ours.
func (w *fuzzWorld) entered(n *fuzzNet, p []byte) {
	if len(p) < tun.HeaderLen+20 {
		w.t.Fatalf("% x comes into network %d", p, n.at)
	}
	h, ok := policy.ParseIPv4(p[tun.HeaderLen:])
	if !ok || tun.HeaderLen+h.TotalLen != len(p) {
		w.t.Fatalf("no packet comes into network %d: % x", n.at, p)
	}
	if h.Src == hostOrder(addr("10.50.0.1")) && h.Protocol == 1 {
		return // too big
	}
	for _, s := range w.sessions {
		if !s.gone() && s.net == n && s.sources.Allow(h.Src) {
			return
		}
	}
	w.t.Fatalf("a packet of nobody's comes into network %d: % x", n.at, p)
}
