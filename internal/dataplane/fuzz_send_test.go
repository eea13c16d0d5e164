package dataplane

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/ppp"
)

// What a byte of a program says about packets that are sent.
const (
	sendHold     = 1 << iota // more shall come before they are read
	sendReversed             // the last first
	sendMutated              // one octet is not what it was
	sendGap                  // after some that were lost
	sendCut                  // its last four octets are cut off
	sendAstray               // to the wrong shard
	sendMany                 // with sendMore: 2, 20 or 64 packets
	sendMore
)

// sendValid sends packets of a session's client, sealed as it would seal them, perhaps changed on their way.
func (w *fuzzWorld) sendValid() {
	s, kind, flags := w.session(), w.program.byte(), w.program.byte()
	if s == nil {
		return
	}
	n := [4]int{1, 2, 20, batchSize}[flags>>6]
	raw := []byte(nil)
	if kind%12 >= 6 {
		raw = w.program.bytes()
	}
	if flags&sendGap != 0 {
		for range []int{1, 40, 1100, 3}[kind>>6] {
			s.frame(ppp.ProtocolLCP, []byte{9, 0, 0, 4})
		}
	}
	var packets []fuzzPacket
	for i := range n {
		p, ok := w.made(s, kind%12, uint16(i), raw)
		if !ok {
			return
		}
		packets = append(packets, p)
	}
	once := flags&(sendMutated|sendCut) == 0 && (s.peer != nil || s.encrypt != nil && !s.stateful && kind%12 < 8)
	genuine := once || flags&sendMutated == 0 && s.peer != nil || s.encrypt != nil // MPPE can't tell what was changed
	if flags&sendMutated != 0 {
		p := packets[int(w.program.byte())%n]
		if at := int(w.program.byte())<<8 | int(w.program.byte()); len(p.data) > 0 {
			at %= len(p.data)
			p.data[at] ^= max(1, w.program.byte())
			genuine = genuine || p.kind == faceESP && at < 20 || n > 1
		}
	}
	if genuine {
		w.allowSealed(s, kind%12 == 11)
	}
	for i := range packets {
		if p := &packets[i]; flags&sendCut != 0 && len(p.data) > 4 {
			p.data = p.data[:len(p.data)-4]
		}
		if flags&sendAstray != 0 {
			packets[i].shard = (packets[i].shard + 1) % fuzzShards
		}
	}
	if flags&sendCut != 0 && s.peer != nil {
		for _, a := range s.peer.now().sas {
			a.cut = true
		}
	}
	if flags&sendReversed != 0 {
		slices.Reverse(packets)
	}
	through, alone := w.send(flags&sendHold != 0, packets)
	if n == 1 && len(w.past) < maxFuzzPast {
		w.past = append(w.past, pastPacket{fuzzPacket: packets[0], sealed: once, passed: alone && through == 1})
	}
}

// allowSealed notes that packets may come through which only the session's client can have made; of the whole peer if all.
func (w *fuzzWorld) allowSealed(s *fuzzSession, all bool) {
	for _, o := range w.sessions {
		if o == s || all && s.peer != nil && o.peer != nil && o.peer.now() == s.peer.now() {
			o.mayData, o.mayControl = true, true
		}
	}
}

// send sends packets, and notes whose they may be as far as anybody can have made them.
func (w *fuzzWorld) send(hold bool, packets []fuzzPacket) (through uint64, alone bool) {
	for _, p := range packets {
		from := p.From
		if p.kind == faceGRE && len(p.data) >= 20 {
			from = [4]byte(p.data[12:])
		}
		for _, s := range w.sessions {
			if s.remote.As4() != from || p.kind == faceGRE && s.gre == nil || p.kind != faceGRE && !s.plain {
				continue
			}
			s.mayControl = true
			s.mayData = s.mayData || !s.require
		}
	}
	return w.arrive(hold, packets...)
}

// made makes a packet of the session's client.
func (w *fuzzWorld) made(s *fuzzSession, kind byte, i uint16, raw []byte) (p fuzzPacket, ok bool) {
	const outside = "192.0.2.9"
	inner := raw
	switch kind {
	case 0:
		inner = echo(s.inner(), outside, i, 40, true)
	case 1:
		inner = echo(s.inner(), outside, i, 1300, true)
	case 2:
		inner = syn(s.inner(), outside, []uint16{80, 25}[i%2], 1460)
	case 3:
		inner = echo("10.66.0.1", outside, i, 40, true)
	case 4:
		inner = echo(s.inner(), w.sessions[(s.at+1)%len(w.sessions)].inner(), i, 40, false)
	case 5:
		inner = question(s.inner(), "255.255.255.255", 8)
	case 6:
		inner = datagram(s.inner(), outside, 700+int(i/8)) // some of one flow and length: the device takes them together
	case 8: // any frame
		if len(raw) < 2 {
			return p, false
		}
		return s.frame(binary.BigEndian.Uint16(raw), raw[2:])
	case 9: // LCP
		return s.frame(ppp.ProtocolLCP, append([]byte{9, byte(i), 0, byte(4 + len(raw)%200)}, raw[:len(raw)%200]...))
	case 10: // as if encrypted
		return s.frame(ppp.ProtocolCompressed, raw)
	case 11: // any octets, in the SA or behind the header
		return w.enclosed(s, raw)
	default:
	}
	return s.frame(ppp.ProtocolIPv4, inner)
}

// datagram builds an inner UDP datagram with n octets of data.
func datagram(src, dst string, n int) []byte {
	u := make([]byte, 8+n)
	u[1], u[3] = 99, 53
	binary.BigEndian.PutUint16(u[4:], uint16(len(u)))
	a, b := addr(src).As4(), addr(dst).As4()
	pseudo := slices.Concat(a[:], b[:], []byte{0, 17}, u[4:6], u)
	binary.BigEndian.PutUint16(u[6:], sum16(pseudo))
	return ipv4(src, dst, 17, true, u)
}

// enclosed puts any octets where the client's tunnel has what it carries.
func (w *fuzzWorld) enclosed(s *fuzzSession, raw []byte) (p fuzzPacket, ok bool) {
	var b pktbuf.Buf
	if !b.SetBytes(raw) {
		return p, false
	}
	switch {
	case s.peer != nil:
		return s.peer.now().sealed(&b)
	case s.plain:
		p = fuzzPacket{kind: faceL2TP, shard: s.call.Shard()}
		p.data = slices.Clone(raw)
		p.From, p.FromPort, p.To = s.remote.As4(), portL2TP, addr(serverIP).As4()
		return p, true
	}
	if !s.gre.Wrap(&b) {
		return p, false
	}
	p = fuzzPacket{kind: faceGRE, shard: s.call.Shard()}
	p.data = outer(s.remote.String(), serverIP, b.Bytes())
	return p, true
}

// sendAgain sends what was sent before. What has passed and nobody else can have made must not pass again, nor tell that the
// client has moved.
func (w *fuzzWorld) sendAgain() {
	which, flags := int(w.program.byte()), w.program.byte()
	if len(w.past) == 0 {
		return
	}
	p := w.past[which%len(w.past)]
	p.data = slices.Clone(p.data)
	if flags&2 != 0 {
		p.FromPort++
	}
	if flags&4 != 0 {
		p.shard = (p.shard + 1) % fuzzShards
	}
	for _, s := range w.sessions {
		s.mayData, s.mayControl = true, true
	}
	w.again = p.sealed && p.passed && w.inflight == 0
	through, _ := w.send(flags&1 != 0 && !w.again, []fuzzPacket{p.fuzzPacket})
	if w.again && through != 0 {
		w.t.Fatalf("a packet passes twice: % x", p.data)
	}
	w.again = false
}

// sendElsewhere sends a packet of a session to an address of ours that is not the session's: it must not pass.
func (w *fuzzWorld) sendElsewhere() {
	s := w.session()
	if s == nil {
		return
	}
	p, ok := w.made(s, 0, 1, nil)
	if !ok {
		return
	}
	if p.To[3]++; p.kind <= faceESP {
		p.data[19]++
	}
	alone := w.inflight == 0
	if through, _ := w.send(false, []fuzzPacket{p}); alone && through != 0 {
		w.t.Fatalf("session %d is reached by another address", s.at)
	}
}

// sendRaw sends any octets to any face, from a client or a stranger, perhaps with an ID that is in use.
func (w *fuzzWorld) sendRaw() {
	flags, s, from := w.program.byte(), w.session(), w.program.byte()
	raw := slices.Clone(w.program.bytes())
	if flags>>6 == 3 {
		raw = append(raw, make([]byte, 2500)...)
	}
	p := fuzzPacket{kind: faceKind(flags % 5), shard: int(flags>>3) % fuzzShards}
	source := addr("203.0.113.250")
	if s != nil && from&1 != 0 {
		source = s.remote
	}
	if s != nil && from&2 != 0 {
		w.patch(p.kind, s, raw)
	}
	p.data = raw
	p.From, p.FromPort, p.To = source.As4(), 1701, addr(serverIP).As4()
	if from&8 != 0 {
		p.FromPort = uint16(from) << 4
	}
	p.Cut = from&16 != 0
	switch {
	case p.kind > faceESP:
	case from&4 != 0: // the IP header too
	case p.kind == faceGRE:
		p.data = outer(source.String(), serverIP, raw)
	default:
		p.data = ipv4(source.String(), serverIP, unix.IPPROTO_ESP, false, raw)
	}
	w.send(from&32 != 0, []fuzzPacket{p})
}

// patch makes a packet one of the session's as far as IDs go.
func (w *fuzzWorld) patch(kind faceKind, s *fuzzSession, raw []byte) {
	if len(raw) < 8 {
		return
	}
	switch kind {
	case faceGRE:
		binary.BigEndian.PutUint16(raw[6:], s.call.ID())
	case faceESP, faceNATT:
		if s.peer != nil && len(s.peer.now().sas) > 0 {
			binary.BigEndian.PutUint32(raw, s.peer.now().sas[0].spi)
		}
	case faceL2TP:
		at := 2
		if raw[0]&0x40 != 0 {
			at = 4
		}
		binary.BigEndian.PutUint16(raw[at:], s.local)
		binary.BigEndian.PutUint16(raw[at+2:], s.call.ID())
	default:
	}
}

// sendDown puts packets for a session into a network's device.
func (w *fuzzWorld) sendDown() {
	s, kind, flags := w.session(), w.program.byte(), w.program.byte()
	if s == nil {
		return
	}
	const outside = "192.0.2.9"
	var p []byte
	switch kind % 6 {
	case 0:
		p = echo(outside, s.inner(), 1, 40, true)
	case 1:
		p = echo(outside, s.inner(), 1, 1390, true)
	case 2:
		p = echo(outside, s.inner(), 1, 1390, false)
	case 3:
		p = syn(outside, s.inner(), 80, 1460)
	case 4:
		p = datagram(outside, s.inner(), 600)
	case 5: // a train
		head := make([]byte, 10)
		head[0], head[1] = unix.VIRTIO_NET_HDR_F_NEEDS_CSUM, unix.VIRTIO_NET_HDR_GSO_UDP_L4
		binary.NativeEndian.PutUint16(head[2:], 28)
		binary.NativeEndian.PutUint16(head[4:], 400)
		binary.NativeEndian.PutUint16(head[6:], 20)
		binary.NativeEndian.PutUint16(head[8:], 6)
		w.down(flags, append(head, datagram(outside, s.inner(), 400*(1+int(kind>>4)))...))
		return
	}
	for range [4]int{1, 2, 20, batchSize}[flags>>6] - 1 {
		w.put(flags, append(make([]byte, 10), p...))
	}
	w.down(flags, append(make([]byte, 10), p...))
}

// sendDownRaw puts any octets into a network's device.
func (w *fuzzWorld) sendDownRaw() {
	flags := w.program.byte()
	p := w.program.bytes()
	if s := w.session(); s != nil && len(p) >= 30 && flags&32 != 0 { // to a session, with the right checksum
		p = slices.Clone(p)
		copy(p[26:], addr(s.inner()).AsSlice())
		p[10] = 0x45
		p[20], p[21] = 0, 0
		binary.BigEndian.PutUint16(p[20:], sum16(p[10:30]))
	}
	w.down(flags, p)
}

func (w *fuzzWorld) put(flags byte, p []byte) {
	n := w.nets[flags&1]
	if n.closed || n.dev.hangUp || len(p) == 0 {
		return
	}
	shard := int(flags>>1) % fuzzShards
	if n.dev.waiting[shard] > 3*batchSize {
		return
	}
	if _, err := unix.Write(n.dev.far[shard], p); err == nil {
		n.dev.waiting[shard]++
	}
}

func (w *fuzzWorld) down(flags byte, p []byte) {
	w.put(flags, p)
	w.inflight++
	if flags&4 == 0 {
		w.turn()
	}
}
