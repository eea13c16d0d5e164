package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/ppp"
	"concentrator/test/bench/rawio"
)

// errCrypto is returned when a packet can't be opened or sealed.
var errCrypto = errors.New("crypto failed")

// batch works on rawio.Batch packets and returns the CPU time of that, without what must be done between batches.
type batch func() (time.Duration, error)

// cryptoBatch is the batch call of a path's crypto, for packets of so many sessions in turn. Plain L2TP has none: nil.
func cryptoBatch(p path, d direction, sessions int) (batch, error) {
	switch {
	case p.carrier == plainL2TP:
		return nil, nil
	case p.carrier == espInUDP && d == up:
		return espOpen(p, sessions)
	case p.carrier == espInUDP:
		return espSeal(p, sessions)
	case d == up:
		return mppeOpen(p, sessions), nil
	default:
		return mppeSeal(p, sessions), nil
	}
}

// sampler measures as many packets as a short queue has, on the thread work. A batch that is nil costs nothing.
func (f batch) sampler(work *thread) sampler {
	if f == nil {
		return func() (sample, error) { return sample{0, rawio.Batch}, nil }
	}
	return func() (got sample, err error) {
		err = work.do(func() error {
			for range hotQueue / rawio.Batch {
				took, err := f()
				if err != nil {
					return err
				}
				got.add(sample{took, rawio.Batch})
			}
			return nil
		})
		return got, err
	}
}

// example is the inner packet that crypto works on.
func example() []byte {
	return innerUDP(netip.MustParseAddr("10.50.1.1"), netip.MustParseAddr(sinkhole), clientPort, insidePort)
}

// espPayload is what ESP encrypts: UDP, L2TP and PPP before the inner packet.
func espPayload() []byte { return append(make([]byte, udpLen+8+4), example()...) }

func espOpen(p path, sessions int) (batch, error) {
	var ins []*esp.Inbound
	var outs []*esp.Outbound
	for i := range sessions {
		q := p.espParams(uint32(0x1000+i), useUp)
		in, err := esp.NewInbound(q)
		if err != nil {
			return nil, err
		}
		out, err := esp.NewOutbound(q)
		if err != nil {
			return nil, err
		}
		ins, outs = append(ins, in), append(outs, out)
	}
	payload, bufs, x := espPayload(), make([]pktbuf.Buf, rawio.Batch), esp.NewScratch()
	ops := make([]esp.OpenOp, rawio.Batch)
	return func() (time.Duration, error) {
		for i := range ops {
			bufs[i].SetBytes(payload)
			if v := outs[i%sessions].Seal(&bufs[i], unix.IPPROTO_UDP); v != esp.OK {
				return 0, fmt.Errorf("%w: seal: %v", errCrypto, v)
			}
			ops[i] = esp.OpenOp{SA: ins[i%sessions], Buf: &bufs[i]}
		}
		begin := rawio.ThreadTime()
		esp.OpenBatch(ops, x)
		took := rawio.ThreadTime() - begin
		for i := range ops {
			if ops[i].Verdict != esp.OK || !bytes.Equal(bufs[i].Bytes(), payload) {
				return 0, fmt.Errorf("%w: open: %v", errCrypto, ops[i].Verdict)
			}
		}
		return took, nil
	}, nil
}

func espSeal(p path, sessions int) (batch, error) {
	var outs []*esp.Outbound
	for i := range sessions {
		out, err := esp.NewOutbound(p.espParams(uint32(0x1000+i), useDown))
		if err != nil {
			return nil, err
		}
		outs = append(outs, out)
	}
	payload, bufs, x := espPayload(), make([]pktbuf.Buf, rawio.Batch), esp.NewScratch()
	ops := make([]esp.SealOp, rawio.Batch)
	return func() (time.Duration, error) {
		for i := range ops {
			bufs[i].SetBytes(payload)
			ops[i] = esp.SealOp{SA: outs[i%sessions], Buf: &bufs[i], NextHeader: unix.IPPROTO_UDP}
		}
		begin := rawio.ThreadTime()
		esp.SealBatch(ops, x)
		took := rawio.ThreadTime() - begin
		for i := range ops {
			if ops[i].Verdict != esp.OK {
				return 0, fmt.Errorf("%w: seal: %v", errCrypto, ops[i].Verdict)
			}
		}
		return took, nil
	}, nil
}

// mppePayload is what MPPE encrypts: the protocol number before the inner packet.
func mppePayload() []byte {
	return append(binary.BigEndian.AppendUint16(nil, ppp.ProtocolIPv4), example()...)
}

func mppeOpen(p path, sessions int) batch {
	var senders []*mppe.Sender
	var receivers []*mppe.Receiver
	for range sessions {
		senders = append(senders, mppe.NewSender(p.mppeParams(useUp)))
		receivers = append(receivers, mppe.NewReceiver(p.mppeParams(useUp)))
	}
	payload, bufs, x := mppePayload(), make([]pktbuf.Buf, rawio.Batch), mppe.NewScratch()
	ops, seqs := make([]mppe.OpenOp, rawio.Batch), make([]uint32, sessions)
	anything := func([]byte, int, bool) bool { return true }
	return func() (time.Duration, error) {
		for i := range ops {
			k := i % sessions
			bufs[i].SetBytes(payload)
			senders[k].Seal(&bufs[i], x)
			ops[i] = mppe.OpenOp{Receiver: receivers[k], Buf: &bufs[i], Seq: seqs[k], Credible: anything}
			seqs[k]++
		}
		begin := rawio.ThreadTime()
		mppe.OpenBatch(ops, int64(begin), x)
		took := rawio.ThreadTime() - begin
		for i := range ops {
			if !ops[i].Verdict.Passed() || !bytes.Equal(bufs[i].Bytes(), payload) {
				return 0, fmt.Errorf("%w: open: %v", errCrypto, ops[i].Verdict)
			}
		}
		return took, nil
	}
}

func mppeSeal(p path, sessions int) batch {
	var senders []*mppe.Sender
	for range sessions {
		senders = append(senders, mppe.NewSender(p.mppeParams(useDown)))
	}
	payload, bufs, x := mppePayload(), make([]pktbuf.Buf, rawio.Batch), mppe.NewScratch()
	ops := make([]mppe.SealOp, rawio.Batch)
	return func() (time.Duration, error) {
		for i := range ops {
			bufs[i].SetBytes(payload)
			ops[i] = mppe.SealOp{Sender: senders[i%sessions], Buf: &bufs[i]}
		}
		begin := rawio.ThreadTime()
		mppe.SealBatch(ops, x)
		took := rawio.ThreadTime() - begin
		for i := range ops {
			if !ops[i].OK {
				return 0, fmt.Errorf("%w: seal", errCrypto)
			}
		}
		return took, nil
	}
}
