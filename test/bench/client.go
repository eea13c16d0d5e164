package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/l2tpdata"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/netio"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/dataplane/tun"
	"concentrator/internal/wire/gre"
	"concentrator/internal/wire/l2tp"
	"concentrator/internal/wire/ppp"
	"concentrator/test/bench/rawio"
)

// client is the client's end of one session with a TUN device of its own, so that the kernel's TCP runs through the session.
// What it costs counts nowhere: it is quick so that it does not hold the server up.
type client struct {
	x    *session
	dev  *tun.Device
	wire netio.Face
	udp  *groReader   // of UDP
	gre  netio.Socket // of GRE
	stop atomic.Bool
	up   *thread // from the device to the wire
	down *thread
	done chan error
}

// clientDevice is the name of its TUN device.
const clientDevice = "tun0"

// newClient connects a session to a TUN device in its server's part for clients. Everything to behind is routed to it.
// Without offload the kernel checks every packet that comes out of it.
func newClient(s *server, x *session, behind netip.Prefix, offload bool, cpu int) (c *client, err error) {
	c = &client{x: x, done: make(chan error, 2)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("client: %w", err), c.release())
		}
	}()
	ns := s.lab.ns(s.client)
	c.dev, err = tun.Open(tun.Spec{Namespace: ns, Device: clientDevice, Queues: 1, MTU: innerLen, NoOffload: !offload})
	if err != nil {
		return c, err
	}
	err = c.dev.Configure(tun.Config{MTU: innerLen, Addresses: []netip.Addr{x.addr}, Routes: []netip.Prefix{behind}})
	if err != nil {
		return c, err
	}
	if err = run("ip", "-n", ns, "link", "set", clientDevice, "txqueuelen", fmt.Sprint(tunQueue)); err != nil {
		return c, err
	}
	if x.path.carrier == pptp {
		if c.gre, err = (netio.Linux{}).OpenGRE(ns, 0, 1); err == nil {
			c.wire, err = c.gre, c.gre.Admit(uint32(x.id), true)
		}
	} else {
		var socks []netio.UDPSocket
		socks, err = (netio.Linux{}).OpenUDP(ns, netip.AddrPortFrom(netip.MustParseAddr(clientAddr), x.port), 1)
		if err == nil {
			c.wire = socks[0]
			c.udp, err = newGROReader(socks[0].FD())
		}
	}
	if err != nil {
		return c, err
	}
	if c.up, err = newThread(cpu); err != nil {
		return c, err
	}
	if c.down, err = newThread(cpu); err != nil {
		return c, err
	}
	c.up.jobs <- func() { c.done <- c.carryUp() }
	c.down.jobs <- func() { c.done <- c.carryDown() }
	return c, nil
}

// close ends the client and says if it came to grief before.
func (c *client) close() error {
	c.stop.Store(true)
	err := errors.Join(<-c.done, <-c.done)
	return errors.Join(err, c.release())
}

func (c *client) release() error {
	for _, t := range []*thread{c.up, c.down} {
		if t != nil {
			t.close()
		}
	}
	var errs []error
	if c.wire != nil {
		errs = append(errs, c.wire.Close())
	}
	if c.dev != nil {
		errs = append(errs, c.dev.Close())
	}
	return errors.Join(errs...)
}

// waitFor waits for input, but not so long that nobody looks whether the client shall end.
func waitFor(fd int) {
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20) // EINTR is as good as a timeout
}

// carryUp is a thread's loop.
func (c *client) carryUp() error {
	fd, train, bufs := c.dev.Queues()[0], tun.NewTrain(), make([]pktbuf.Buf, rawio.Batch)
	s, msgs := newSealer(c.x), make([]netio.Message, rawio.Batch)
	from, to := netip.MustParseAddr(clientAddr).As4(), netip.MustParseAddr(serverAddr).As4()
	for !c.stop.Load() {
		n := 0
	read:
		for n < len(bufs) {
			if train.Next(&bufs[n]) {
				n++
				continue
			}
			switch r, errno := train.Read(tun.Queue{FD: fd, Offloads: c.dev.Offloads()}, &bufs[n]); {
			case errno != 0:
				break read
			case r == tun.Single:
				n++
			case r != tun.Several:
				return fmt.Errorf("the client's device gave something odd: %d", r)
			}
		}
		if n == 0 {
			waitFor(fd)
			continue
		}
		if err := s.seal(bufs[:n]); err != nil {
			return err
		}
		for i := range n {
			msgs[i] = netio.Message{Data: bufs[i].Bytes(), From: from, To: to, Port: s.port}
		}
		c.wire.WriteBatch(msgs[:n]) // what is lost here is TCP's business
	}
	return nil
}

// sealer makes packets of a session out of batches of inner packets.
type sealer struct {
	far   *far
	port  uint16 // the server's
	mppes []mppe.SealOp
	esps  []esp.SealOp
	x     *esp.Scratch
}

func newSealer(x *session) *sealer {
	s := &sealer{far: x.far, x: esp.NewScratch()}
	switch x.path.carrier {
	case plainL2TP:
		s.port = portL2TP
	case espInUDP:
		s.port = portNATT
	case pptp:
	}
	return s
}

func (s *sealer) seal(bufs []pktbuf.Buf) error {
	f := s.far
	protocol := ppp.ProtocolIPv4
	if f.path.carrier == pptp {
		protocol = ppp.ProtocolCompressed
		s.mppes = s.mppes[:0]
		for i := range bufs {
			binary.BigEndian.PutUint16(bufs[i].Prepend(2), ppp.ProtocolIPv4)
			s.mppes = append(s.mppes, mppe.SealOp{Sender: f.mppe, Buf: &bufs[i]})
		}
		mppe.SealBatch(s.mppes, f.scratch)
	}
	s.esps = s.esps[:0]
	for i := range bufs {
		b := &bufs[i]
		var room [4]byte
		copy(b.Prepend(4), ppp.AppendHeader(room[:0], protocol, false, false))
		ok := true
		switch f.path.carrier {
		case pptp:
			ok = f.gre.Wrap(b)
		case plainL2TP:
			ok = l2tpdata.Prepend(b, f.tunnel, f.session, nil)
		case espInUDP:
			ok = l2tpdata.Prepend(b, f.tunnel, f.session, nil) && l2tpdata.PrependUDP(b, l2tp.Port)
			s.esps = append(s.esps, esp.SealOp{SA: f.sa, Buf: b, NextHeader: unix.IPPROTO_UDP})
		}
		if !ok {
			return errNoRoom
		}
	}
	esp.SealBatch(s.esps, s.x)
	for i := range s.esps {
		if s.esps[i].Verdict != esp.OK {
			return fmt.Errorf("%w: seal: %v", errCrypto, s.esps[i].Verdict)
		}
	}
	return nil
}

// carryDown is a thread's loop.
func (c *client) carryDown() error {
	o, err := newOpener(c.x)
	if err != nil {
		return err
	}
	bufs, areas, sizes := make([]pktbuf.Buf, rawio.Batch), make([][]byte, rawio.Batch), make([]int, rawio.Batch)
	queue, out := tun.Queue{FD: c.dev.Queues()[0], Offloads: c.dev.Offloads()}, tun.NewCoalescer()
	acks := 0
	for !c.stop.Load() {
		n := 0
		if c.udp != nil {
			n = c.udp.read(bufs)
		} else {
			for i := range bufs {
				areas[i] = bufs[i].ReadArea()
			}
			n, _ = c.gre.ReadBatch(areas, sizes) // any error is waited for
			for i := range n {
				bufs[i].SetLen(sizes[i])
			}
		}
		if n == 0 {
			waitFor(c.wire.FD())
			continue
		}
		for _, b := range o.open(bufs[:n]) {
			out.Add(queue, b)
		}
		out.Flush()
		for acks += n; c.gre != nil && acks >= greAckEvery; acks -= greAckEvery {
			o.acknowledge(c.gre.FD())
		}
	}
	return nil
}

// opener takes packets of a session apart.
type opener struct {
	x       *session
	in      *esp.Inbound
	mppe    *mppe.Receiver
	esps    []esp.OpenOp
	scratch *esp.Scratch
	mppes   []mppe.OpenOp
	mscr    *mppe.Scratch
	seq     uint32 // the last that came by GRE
	good    []*pktbuf.Buf
}

func newOpener(x *session) (o *opener, err error) {
	o = &opener{x: x, scratch: esp.NewScratch(), mscr: mppe.NewScratch()}
	if x.back != nil {
		if o.in, err = esp.NewInbound(*x.back); err != nil {
			return nil, err
		}
	}
	if x.path.carrier == pptp {
		o.mppe = mppe.NewReceiver(x.path.mppeParams(useDown))
	}
	return o, nil
}

// open returns the inner packets of those that are good; the others are TCP's business.
func (o *opener) open(bufs []pktbuf.Buf) []*pktbuf.Buf {
	o.good, o.esps, o.mppes = o.good[:0], o.esps[:0], o.mppes[:0]
	switch o.x.path.carrier {
	case plainL2TP:
		for i := range bufs {
			o.takeL2TP(&bufs[i])
		}
	case espInUDP:
		for i := range bufs {
			o.esps = append(o.esps, esp.OpenOp{SA: o.in, Buf: &bufs[i]})
		}
		esp.OpenBatch(o.esps, o.scratch)
		for i := range o.esps {
			if o.esps[i].Verdict == esp.OK && bufs[i].TrimFront(udpLen) != nil {
				o.takeL2TP(&bufs[i])
			}
		}
	case pptp:
		for i := range bufs {
			o.findMPPE(&bufs[i])
		}
		mppe.OpenBatch(o.mppes, 0, o.mscr)
		for i := range o.mppes {
			if o.mppes[i].Verdict.Passed() {
				o.takeFrame(o.mppes[i].Buf)
			}
		}
	}
	return o.good
}

func (o *opener) takeL2TP(b *pktbuf.Buf) {
	if _, v := l2tpdata.Strip(b); v == l2tpdata.OK {
		o.takeFrame(b)
	}
}

// takeFrame keeps the IPv4 packet of a PPP frame.
func (o *opener) takeFrame(b *pktbuf.Buf) {
	protocol, info, err := ppp.ParseFrame(b.Bytes())
	if err == nil && protocol == ppp.ProtocolIPv4 && len(info) >= ipLen {
		b.TrimFront(b.Len() - len(info))
		o.good = append(o.good, b)
	}
}

// findMPPE finds the encrypted part of a GRE packet that starts with its IP header.
func (o *opener) findMPPE(b *pktbuf.Buf) {
	p := b.Bytes()
	if len(p) < ipLen {
		return
	}
	h, payload, err := gre.ParseHeader(p[int(p[0]&0xf)*4:])
	if err != nil || !h.HasSeq {
		return
	}
	protocol, info, err := ppp.ParseFrame(payload)
	if err != nil || protocol != ppp.ProtocolCompressed {
		return
	}
	o.seq = h.Seq
	b.TrimFront(b.Len() - len(info))
	o.mppes = append(o.mppes, mppe.OpenOp{
		Receiver: o.mppe, Buf: b, Seq: h.Seq, Credible: func([]byte, int, bool) bool { return true },
	})
}

// acknowledge sends a bare acknowledgement of all that has come.
func (o *opener) acknowledge(fd int) {
	h := gre.Header{CallID: o.x.far.session, HasAck: true, Ack: o.seq}
	p, _ := h.AppendBinary(nil) // it never fails
	_ = unix.Sendto(fd, p, unix.MSG_DONTWAIT, &unix.SockaddrInet4{Addr: netip.MustParseAddr(serverAddr).As4()})
}
