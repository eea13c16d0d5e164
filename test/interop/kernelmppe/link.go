//go:build interop

package main

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/dataplane/policy"
)

const (
	// inFlight is how many packets are on their way when their receiver notices a loss: they arrive before the answer
	// to its Reset-Request.
	inFlight = 3
	// lossEvery is how often a packet is lost.
	lossEvery = 50
	// flagEvery is how often a stateful sender changes its key, flagLossEvery how many of these packets are lost.
	flagEvery, flagLossEvery = 256, 3
	// burstAt is when many packets in a row are lost: in stateful mode with two flag packets among them, in stateless
	// mode as many as our receiver follows at once.
	burstAt, burstStateful, burstStateless = 710, 520, mppe.NearKeys - 1
	// flushLossEvery is how many Reset-Requests the answer is lost to, in stateful mode and from the kernel to us. The
	// other way round there is nothing to test: the kernel changes its keys on flushed packets and counts only flag
	// packets, so it can't get over the loss of a flushed one.
	flushLossEvery = 4
	// pace is the time from packet to packet, on a clock that runs with the packets.
	pace = 5 * time.Millisecond

	bitFlushed = 0x80 // of the first octet of an MPPE packet
)

// link is a unit of the kernel with MPPE, and our end of it.
type link struct {
	unit     *unit
	stateful bool

	sender   *mppe.Sender
	receiver *mppe.Receiver
	scratch  *mppe.Scratch
	credible mppe.Credible
	buf      pktbuf.Buf
	seq      uint32 // counts frames from the kernel, as GRE does
	now      int64
}

// newLink makes a link in the state after CCP, with keys of its own.
func newLink(bits int, stateful bool) (*link, error) {
	var fromKernel, toKernel [16]byte
	_, _ = rand.Read(fromKernel[:]) // never fails
	_, _ = rand.Read(toKernel[:])
	u, err := newUnit()
	if err != nil {
		return nil, err
	}
	if err := negotiate(u, bits, stateful, fromKernel, toKernel); err != nil {
		u.close()
		return nil, fmt.Errorf("CCP: %w", err)
	}
	sources := policy.NewSources(kernelAddress, nil)
	return &link{
		unit:     u,
		stateful: stateful,
		sender:   mppe.NewSender(mppe.Params{Bits: bits, Stateful: stateful, StartKey: toKernel}),
		receiver: mppe.NewReceiver(mppe.Params{Bits: bits, Stateful: stateful, StartKey: fromKernel}),
		scratch:  mppe.NewScratch(),
		credible: func(head []byte, n int, far bool) bool { return policy.CredibleInner(head, n, &sources, far) },
	}, nil
}

// negotiate does with the kernel what pppd does in CCP. The kernel starts a direction when it sees its Configure-Ack.
func negotiate(u *unit, bits int, stateful bool, fromKernel, toKernel [16]byte) error {
	option := [6]byte{18, 6, 1, 0, 0, 0x20}
	if stateful {
		option[2] = 0
	}
	if bits == 128 {
		option[5] = 0x40
	}
	if err := errors.Join(
		u.setKey(option, fromKernel, true),
		u.setKey(option, toKernel, false),
		u.setFlags(flagCCPOpen),
	); err != nil {
		return err
	}
	if err := u.pppdSends(ccp(codeConfigureAck, 1, option[:]...)); err != nil {
		return err
	}
	if err := u.weSend(ccp(codeConfigureAck, 1, option[:]...)); err != nil {
		return err
	}
	if err := u.setFlags(flagCCPOpen | flagCCPUp); err != nil {
		return err
	}
	const both = flagCompressing | flagDecompressing
	return u.expectFlags(both)
}

// payload is that of packet number i: the number, and a length and octets that depend on it.
func payload(i int) []byte {
	p := bytes.Repeat([]byte{byte(i)}, 8+i*37%1300)
	binary.BigEndian.PutUint64(p, uint64(i))
	return p
}

const (
	ipv4HeaderLen = 20
	udpHeaderLen  = 8
)

// ipv4 is a UDP packet to the kernel's socket. The UDP checksum is left out.
func ipv4(payload []byte) []byte {
	n := udpHeaderLen + len(payload)
	p := make([]byte, ipv4HeaderLen, ipv4HeaderLen+n)
	p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(p[2:], uint16(ipv4HeaderLen+n))
	copy(p[12:], ourAddress.AsSlice())
	copy(p[16:], kernelAddress.AsSlice())
	sum := uint32(0)
	for i := 0; i < ipv4HeaderLen; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	binary.BigEndian.PutUint16(p[10:], ^uint16(sum>>16+sum))
	for _, field := range []int{port, port, n, 0} {
		p = binary.BigEndian.AppendUint16(p, uint16(field))
	}
	return append(p, payload...)
}

// encrypted returns the next packet that the kernel sends: header and ciphertext, borrowed.
func (l *link) encrypted(i int) ([]byte, error) {
	if _, err := unix.Write(l.unit.socket, payload(i)); err != nil {
		return nil, fmt.Errorf("packet %d: %w", i, err)
	}
	f, err := l.unit.fromWire()
	if err == nil && (f.protocol != protocolMPPE || len(f.info) < 2) {
		err = fmt.Errorf("%w: %04x %x, want MPPE", errUnexpected, f.protocol, f.info)
	}
	if err == nil && int(binary.BigEndian.Uint16(f.info)&0xfff) != i%4096 {
		err = fmt.Errorf("%w: coherency count %#x", errUnexpected, f.info[:2])
	}
	if err != nil {
		return nil, fmt.Errorf("packet %d: %w", i, err)
	}
	l.now += int64(pace)
	l.seq++
	return f.info, nil
}

// open gives our receiver packet i. What passes must be what was sent.
func (l *link) open(i int, packet []byte) (mppe.Verdict, error) {
	if !l.buf.SetBytes(packet) {
		return 0, fmt.Errorf("packet %d: %w: %d octets", i, errUnexpected, len(packet))
	}
	v := l.receiver.Open(&l.buf, l.seq, l.credible, l.now, l.scratch)
	if !v.Passed() {
		return v, nil
	}
	got, want := l.buf.Bytes(), payload(i)
	if len(got) != 2+ipv4HeaderLen+udpHeaderLen+len(want) || binary.BigEndian.Uint16(got) != protocolIPv4 ||
		!bytes.HasSuffix(got, want) || netip.AddrFrom4([4]byte(got[2+12:])) != kernelAddress {
		return v, fmt.Errorf("packet %d: %w: decrypts to %x", i, errUnexpected, got)
	}
	return v, nil
}

// lost says whether packet i is to be lost, and counts it.
func (l *link) lost(r *Result, i int) bool {
	burst := burstStateless
	if l.stateful {
		burst = burstStateful
	}
	flag := i%flagEvery == flagEvery-1
	lose := i%lossEvery == lossEvery-1 || flag && i/flagEvery%flagLossEvery == 0 || i >= burstAt && i < burstAt+burst
	if !lose {
		return false
	}
	r.Lost++
	if flag {
		r.Flags++
	}
	return true
}

// fromKernel sends packets from the kernel to us. With losses, what our receiver says must be what happened.
func (l *link) fromKernel(r *Result, packets int, losing bool) error {
	synced := true   // our receiver had the packet before
	answerAt := -1   // when pppd answers our last Reset-Request
	flushed := false // and this is the packet after it
	for i := range packets {
		if i == answerAt {
			if err := l.unit.pppdSends(ccp(codeResetAck, byte(r.Resets))); err != nil {
				return err
			}
			l.seq++
			flushed = true
		}
		packet, err := l.encrypted(i)
		if err != nil {
			return err
		}
		r.Sent++
		if flushed && packet[0]&bitFlushed == 0 {
			return fmt.Errorf("packet %d: %w: not flushed after a Reset-Request", i, errUnexpected)
		}
		lose := losing && l.lost(r, i)
		if losing && !lose && flushed && r.Resets%flushLossEvery == 0 {
			r.Lost++
			lose = true
		}
		flushed = false
		if lose {
			synced = synced && !l.stateful
			continue
		}
		isFlushed := packet[0]&bitFlushed != 0
		v, err := l.open(i, packet)
		switch {
		case err != nil:
			return err
		case v == mppe.OK && synced, v == mppe.Resynced && !synced && isFlushed:
			r.Delivered++
			synced = true
		case isFlushed:
			return fmt.Errorf("packet %d: flushed, and our receiver says %v", i, v)
		case v == mppe.NeedReset && !synced:
			r.Unreadable++
			r.Resets++
			if err := l.unit.weSend(ccp(codeResetRequest, byte(r.Resets))); err != nil {
				return err
			}
			answerAt = i + 1 + inFlight
		case v == mppe.OutOfSync && !synced:
			r.Unreadable++
		default:
			return fmt.Errorf("packet %d: our receiver says %v", i, v)
		}
	}
	return nil
}

// seal returns packet i as our sender sends it, borrowed until the next. Every other packet has a short protocol field.
func (l *link) seal(i int) ([]byte, error) {
	inner := append([]byte{protocolIPv4 >> 8, protocolIPv4}, ipv4(payload(i))...)
	if !l.buf.SetBytes(inner[i%2:]) || !l.sender.Seal(&l.buf, l.scratch) {
		return nil, fmt.Errorf("packet %d: our sender refuses it", i)
	}
	return l.buf.Bytes(), nil
}

// give gives the kernel packet i, and returns whether its socket got it. If not, pppd did, in cipher, as a sign of error.
func (l *link) give(i int, packet []byte) (bool, error) {
	f, err := l.unit.toWire(protocolMPPE, packet)
	switch {
	case err != nil:
		return false, fmt.Errorf("packet %d: %w", i, err)
	case f.protocol == protocolMPPE && bytes.Equal(f.info, packet):
		return false, nil
	case f.protocol == protocolIPv4 && bytes.Equal(f.info, payload(i)):
		return true, nil
	}
	return false, fmt.Errorf("packet %d: %w: the kernel decrypts it to protocol %04x, %x", i, errUnexpected, f.protocol, f.info)
}

// toKernel sends packets from us to the kernel. It's pppd that asks for resets, when the kernel hands it a packet, and not
// again before the answer; the kernel decrypts nothing until a Reset-Ack comes by.
func (l *link) toKernel(r *Result, packets int, losing bool) error {
	synced, asked := true, false
	answerAt := -1
	for i := range packets {
		if i == answerAt {
			if err := l.resetAck(byte(r.Resets)); err != nil {
				return err
			}
			asked = false
		}
		packet, err := l.seal(i)
		if err != nil {
			return err
		}
		r.Sent++
		if losing && i != answerAt && l.lost(r, i) {
			synced = synced && !l.stateful
			continue
		}
		delivered, err := l.give(i, packet)
		switch {
		case err != nil:
			return err
		case delivered && (synced || i == answerAt):
			r.Delivered++
			synced = true
		case delivered || synced:
			return fmt.Errorf("packet %d: %w: delivered %v, though in step %v", i, errUnexpected, delivered, synced)
		default:
			r.Unreadable++
			if asked {
				continue
			}
			r.Resets++
			if err := l.unit.pppdSends(ccp(codeResetRequest, byte(r.Resets))); err != nil {
				return err
			}
			asked, answerAt = true, i+1+inFlight
		}
	}
	return nil
}

// resetAck answers a Reset-Request: the Ack must be there before the flushed packet.
func (l *link) resetAck(id byte) error {
	if err := l.unit.weSend(ccp(codeResetAck, id)); err != nil {
		return err
	}
	l.sender.Reset()
	return nil
}

// replay sends packets twice. Ours are late and nothing more. The kernel takes nothing after its own, in either mode, until
// a Reset-Ack.
func (l *link) replay(r *Result) error {
	for i := range 10 {
		packet, err := l.encrypted(i)
		if err != nil {
			return err
		}
		again := bytes.Clone(packet)
		for _, want := range []mppe.Verdict{mppe.OK, mppe.Late} {
			v, err := l.open(i, again)
			if err != nil {
				return err
			}
			if v != want {
				return fmt.Errorf("packet %d: our receiver says %v, want %v", i, v, want)
			}
		}
		r.Sent++
		r.Delivered++
	}

	var first []byte
	for i := range 30 {
		switch i {
		case 10:
			if err := l.expect(&Result{}, 0, first, false); err != nil {
				return fmt.Errorf("once more: %w", err)
			}
			if err := l.unit.expectFlags(flagDecompressError); err != nil {
				return err
			}
		case 20:
			if err := l.resetAck(1); err != nil {
				return err
			}
		}
		packet, err := l.seal(i)
		if err != nil {
			return err
		}
		if i == 0 {
			first = bytes.Clone(packet)
		}
		if err := l.expect(r, i, packet, i < 10 || i >= 20); err != nil {
			return err
		}
	}
	return nil
}

// withoutAck answers a Reset-Request with the flushed packet alone, as RFC 3078 section 8.2 has it. The kernel doesn't
// even look at it.
func (l *link) withoutAck(r *Result) error {
	const loss, packets = 10, 30
	for i := range packets {
		if i == loss+inFlight {
			l.sender.Reset()
		}
		packet, err := l.seal(i)
		if err != nil {
			return err
		}
		if i == loss {
			r.Sent++
			r.Lost++
			continue
		}
		if err := l.expect(r, i, packet, i < loss); err != nil {
			return err
		}
	}
	return nil
}

// expect gives the kernel packet i and checks whether it takes it.
func (l *link) expect(r *Result, i int, packet []byte, want bool) error {
	delivered, err := l.give(i, packet)
	if err != nil {
		return err
	}
	if delivered != want {
		return fmt.Errorf("packet %d: delivered %v, want %v", i, delivered, want)
	}
	r.Sent++
	if delivered {
		r.Delivered++
	} else {
		r.Unreadable++
	}
	return nil
}
