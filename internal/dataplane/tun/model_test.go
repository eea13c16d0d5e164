package tun

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// slowCut cuts what a queue carries, virtio-net header first, into packets, as linux/net/ipv4/tcp_offload.c and
// udp_offload.c do: written apart from Train, one packet at a time and from scratch. ok is false where it makes no sense.
func slowCut(raw []byte) (packets [][]byte, ok bool) {
	if len(raw) < 10 {
		return nil, false
	}
	flags, kind := raw[0], raw[1]&0x7f
	size := int(binary.NativeEndian.Uint16(raw[4:]))
	start, offset := int(binary.NativeEndian.Uint16(raw[6:])), int(binary.NativeEndian.Uint16(raw[8:]))
	p := bytes.Clone(raw[10:])
	needs := flags&1 != 0
	if kind == unix.VIRTIO_NET_HDR_GSO_NONE {
		if !needs {
			return [][]byte{p}, true
		}
		if start+offset+2 > len(p) {
			return nil, false
		}
		sum := ^slowSum(p[start:])
		if sum == 0 {
			sum = 0xffff
		}
		binary.BigEndian.PutUint16(p[start+offset:], sum)
		return [][]byte{p}, true
	}
	if len(p) < 20 || p[0]>>4 != 4 {
		return nil, false
	}
	ip := int(p[0]&15) * 4
	if ip < 20 || len(p) < ip+8 || int(p[2])<<8+int(p[3]) != len(p) || p[6]&0xbf != 0 || p[7] != 0 {
		return nil, false
	}
	var head, field int
	switch {
	case kind == unix.VIRTIO_NET_HDR_GSO_TCPV4 && p[9] == unix.IPPROTO_TCP && len(p) >= ip+20:
		head, field = ip+int(p[ip+12]>>4)*4, 16
		if head < ip+20 {
			return nil, false
		}
	case kind == unix.VIRTIO_NET_HDR_GSO_UDP_L4 && p[9] == unix.IPPROTO_UDP:
		head, field = ip+8, 6
	default:
		return nil, false
	}
	if head >= len(p) || size == 0 || needs && (start != ip || offset != field) {
		return nil, false
	}
	for at := head; at < len(p); at += size {
		end := min(at+size, len(p))
		q := append(bytes.Clone(p[:head]), p[at:end]...)
		binary.BigEndian.PutUint16(q[4:], binary.BigEndian.Uint16(p[4:])+uint16(len(packets)))
		if p[9] == unix.IPPROTO_TCP {
			binary.BigEndian.PutUint32(q[ip+4:], binary.BigEndian.Uint32(p[ip+4:])+uint32(at-head))
			if end < len(p) {
				q[ip+13] &^= 0x01 | 0x08 // FIN, PSH
			}
			if at > head {
				q[ip+13] &^= 0x80 // CWR
			}
		}
		packets = append(packets, finish(q))
	}
	return packets, true
}

// headOf is the length of all headers of a joinable packet.
func headOf(p []byte) int {
	if p[9] == unix.IPPROTO_TCP {
		return 20 + int(p[32]>>4)*4
	}
	return 28
}

// slowTrain is the train that the packets would make, by concatenation: the first one's headers, PSH if the last has it.
func slowTrain(ps [][]byte) []byte {
	first := ps[0]
	head, kind, field := headOf(first), byte(unix.VIRTIO_NET_HDR_GSO_UDP_L4), uint16(6)
	if first[9] == unix.IPPROTO_TCP {
		kind, field = unix.VIRTIO_NET_HDR_GSO_TCPV4, 16
	}
	raw := make([]byte, 10, 10+head)
	raw[0], raw[1] = 1, kind
	binary.NativeEndian.PutUint16(raw[2:], uint16(head))
	binary.NativeEndian.PutUint16(raw[4:], uint16(len(first)-head))
	binary.NativeEndian.PutUint16(raw[6:], 20)
	binary.NativeEndian.PutUint16(raw[8:], field)
	raw = append(raw, first...)
	for _, p := range ps[1:] {
		raw = append(raw, p[head:]...)
	}
	p := raw[10:]
	if first[9] == unix.IPPROTO_TCP {
		p[33] |= ps[len(ps)-1][33] & 8
	}
	finish(p) // lengths and IP checksum
	binary.BigEndian.PutUint16(p[20+field:], slowSum(slowPseudo(p, len(p)-20)))
	return raw
}

// slowFlow is what must stay in order: port 0 stands for "some ports of these".
type slowFlow struct {
	fd       int
	src, dst [4]byte
	protocol byte
	ports    [4]byte
	all      bool
}

func (f slowFlow) meets(g slowFlow) bool {
	if f.all || g.all {
		f.ports, g.ports, f.all, g.all = [4]byte{}, [4]byte{}, false, false
	}
	return f == g
}

// flowOf returns a packet's flow; any is false if it has none.
func flowOf(p []byte, fd int) (f slowFlow, any bool) {
	if len(p) < 20 || p[0]>>4 != 4 || p[9] != unix.IPPROTO_TCP && p[9] != unix.IPPROTO_UDP {
		return f, false
	}
	f = slowFlow{fd: fd, src: [4]byte(p[12:]), dst: [4]byte(p[16:]), protocol: p[9]}
	ip := int(p[0]&15) * 4
	if p[6]&0xbf != 0 || p[7] != 0 || ip < 20 || len(p) < ip+4 {
		f.all = true
		return f, true
	}
	f.ports = [4]byte(p[ip:])
	return f, true
}

// joinable says whether a packet may be part of any train.
func joinable(p []byte) bool {
	if len(p) <= 28 || p[0] != 0x45 || p[6]&0xbf != 0 || p[7] != 0 || int(p[2])<<8+int(p[3]) != len(p) {
		return false
	}
	switch p[9] {
	case unix.IPPROTO_TCP:
		if len(p) < 40 {
			return false
		}
		head := 20 + int(p[32]>>4)*4
		return head >= 40 && head < len(p) && p[32]&0x0f == 0 && (p[33] == 0x10 || p[33] == 0x18)
	case unix.IPPROTO_UDP:
		return int(p[24])<<8+int(p[25]) == len(p)-20 && (p[26] != 0 || p[27] != 0)
	}
	return false
}

// same says whether a train of the packets, cut again, gives them back. Of packets with DF the ID is not looked at.
func same(ps [][]byte) bool {
	for _, p := range ps {
		if headOf(p) != headOf(ps[0]) {
			return false
		}
	}
	raw := slowTrain(ps)
	if len(raw)-10 > 65535 {
		return false
	}
	got, ok := slowCut(raw)
	return ok && equal(got, ps)
}

// equal compares packets as far as a receiver can tell: not the ID where DF is set (RFC 6864 section 4.1), and the two
// zeros of a checksum are one.
func equal(as, bs [][]byte) bool {
	if len(as) != len(bs) {
		return false
	}
	for i := range as {
		if !bytes.Equal(normal(as[i]), normal(bs[i])) {
			return false
		}
	}
	return true
}

// normal is p with the ID gone if it says nothing, and one zero for two in checksums.
func normal(p []byte) []byte {
	p = bytes.Clone(p)
	if !joinable(p) {
		return p
	}
	right := slowSum(p[:20]) == 0xffff
	if p[6]&0x40 != 0 {
		p[4], p[5] = 0, 0
	}
	p[10], p[11] = 0, 0
	if !right {
		p[10] = 1
	}
	field := p[26:28]
	if p[9] == unix.IPPROTO_TCP {
		field = p[36:38]
	}
	if field[0] == 0xff && field[1] == 0xff {
		field[0], field[1] = 0, 0
	}
	return p
}

// slowMerge groups packets for one queue into what is written, in order: a packet joins its flow's newest group if nothing
// of the flow came between and cutting gives all of them back.
func slowMerge(ps [][]byte, fd int, o Offloads) [][][]byte {
	type group struct {
		ps   [][]byte
		flow slowFlow
		any  bool
		open bool
	}
	var groups []*group
next:
	for _, p := range ps {
		f, any := flowOf(p, fd)
		may := any && joinable(p) && (p[9] == unix.IPPROTO_TCP && o.TSO || p[9] == unix.IPPROTO_UDP && o.USO)
		for i := len(groups) - 1; i >= 0 && any; i-- {
			g := groups[i]
			if !g.any || !g.flow.meets(f) {
				continue
			}
			more := append(append([][]byte{}, g.ps...), p)
			if may && g.open && (p[9] == unix.IPPROTO_TCP || len(more) <= 64) && same(more) {
				g.ps = more
				continue next
			}
			break
		}
		groups = append(groups, &group{[][]byte{p}, f, any, may})
	}
	var out [][][]byte
	for _, g := range groups {
		out = append(out, g.ps)
	}
	return out
}
