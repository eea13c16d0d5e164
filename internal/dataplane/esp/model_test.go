package esp

import (
	"encoding/binary"
	"math"
	"slices"

	"concentrator/internal/wire/esphdr"
)

// model is an SA towards us once more: one packet after the other, with a set in place of the window and no thought of
// time. It has nothing in common with Inbound but the rules.
type model struct {
	p           Params
	seen        map[uint64]bool
	top, octets uint64
	icvLens     []int // that a packet may have, the whole one first
	form        Form
	closed      bool
}

func newModel(p Params) *model {
	m := &model{p: p, seen: map[uint64]bool{}, icvLens: []int{esphdr.ICVLen(p.Encryption, p.Integrity)}}
	if p.Integrity == esphdr.HMACSHA256_128 {
		m.icvLens = append(m.icvLens, 12)
	}
	return m
}

// pastHard is whether a hard limit is reached.
func (m *model) pastHard() bool {
	return m.closed || m.p.HardPackets != 0 && m.top >= m.p.HardPackets || m.p.HardBytes != 0 && m.octets >= m.p.HardBytes ||
		!m.p.ESN && m.top >= math.MaxUint32
}

// number is the whole of the sequence number that a packet carries: with extended ones the one in the window or nearest
// above it. ok is false if there is none, it was seen, or it is too old.
func (m *model) number(low uint32) (seq uint64, ok bool) {
	oldest := int64(m.top) - windowSize + 1
	n := int64(low)
	if m.p.ESN {
		for n = int64(low) - 1<<32; n < oldest; {
			n += 1 << 32
		}
	}
	return uint64(n), n > 0 && n >= oldest && !m.seen[uint64(n)]
}

// open says what must become of a packet.
func (m *model) open(packet []byte) (payload []byte, next uint8, v Verdict) {
	align, header := m.p.Encryption.Align(), 8+m.p.Encryption.IVLen()
	fit := slices.IndexFunc(m.icvLens, func(n int) bool {
		body := len(packet) - header - n
		return body >= 2 && body%align == 0
	})
	switch {
	case fit < 0 || binary.BigEndian.Uint32(packet) != m.p.SPI:
		return nil, 0, Malformed
	case m.pastHard():
		return nil, 0, Exhausted
	}
	seq, ok := m.number(binary.BigEndian.Uint32(packet[4:]))
	if !ok {
		return nil, 0, Replay
	}
	body, ok := frame{seq: seq, icvLen: m.icvLens[fit]}.open(m.p, packet)
	if !ok {
		return nil, 0, Auth
	}
	if m.p.Integrity == esphdr.HMACSHA256_128 {
		if m.form = FormCut; m.icvLens[fit] == 16 {
			m.form, m.icvLens = FormWhole, []int{16}
		}
	}
	m.seen[seq], m.top = true, max(m.top, seq)
	m.octets += uint64(len(body))
	end := len(body) - 2
	padding := int(body[end])
	if padding > end {
		return nil, 0, Padding
	}
	for i := range padding {
		if int(body[end-padding+i]) != i+1 {
			return nil, 0, Padding
		}
	}
	if next = body[end+1]; next == 59 {
		return nil, next, Dummy
	}
	return body[:end-padding], next, OK
}
