package traffic

import (
	"encoding/binary"
	"slices"
	"time"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
)

// receive waits for packets and handles what has come to the sockets that are ready.
func (c *client) receive(wait time.Duration) error {
	ready, err := c.poller.wait(wait)
	if err != nil {
		return err
	}
	for _, i := range ready {
		k := &c.sockets[i]
		if k.Kind == SocketUDP {
			err = c.readUDP(k)
		} else {
			err = c.readRaw(k)
		}
		if err != nil {
			return err
		}
	}
	c.handle()
	return nil
}

// readUDP reads a session's datagrams.
func (c *client) readUDP(k *socket) error {
	n, err := c.trains.read(k.FD)
	if err != nil || n == 0 {
		return err
	}
	for {
		p, from, ok := c.trains.next()
		if !ok {
			return nil
		}
		if from.Addr != c.st.sessions[k.only].to.Addr {
			c.foreign++
			continue
		}
		in, b := &c.ins[c.waiting], &c.inBufs[c.waiting]
		*in = Incoming{Buf: b, Port: sourcePort(from)}
		if !b.SetBytes(p) { // IKE may be long
			c.st.sessions[k.only].Receive(in.Port, slices.Clone(p))
			continue
		}
		c.inWho[c.waiting], c.inHead[c.waiting] = k.only, 0
		c.next()
	}
}

// next goes on to the next buffer for what comes.
func (c *client) next() {
	if c.waiting++; c.waiting == batch {
		c.handle()
	}
}

// readRaw reads packets of any sessions.
func (c *client) readRaw(k *socket) error {
	for i := c.waiting; i < batch; i++ {
		c.raws.set(i-c.waiting, c.inBufs[i].ReadArea())
	}
	first := c.waiting
	n, err := c.raws.read(k.FD, batch-first)
	if err != nil {
		return err
	}
	// A packet that is for none of ours leaves its buffer free: the others stay where they are, so that there are gaps.
	for i := range n {
		c.sort(k, first+i, c.raws.len(i))
	}
	c.waiting = first + n
	if c.waiting == batch {
		c.handle()
	}
	return nil
}

// nobody marks a buffer whose packet is for none of the sessions.
const nobody = ^uint32(0)

// sort finds the session that the packet of n octets in buffer i, which begins with its IP header, is for.
func (c *client) sort(k *socket, i, n int) {
	in, b := &c.ins[i], &c.inBufs[i]
	*in = Incoming{Buf: b}
	c.inWho[i] = nobody
	if !b.SetLen(n) || n > pktbuf.MaxRead {
		c.foreign++
		return
	}
	p := b.Bytes()
	if n < ipLen || p[0]>>4 != 4 || p[9] != k.Kind.protocol() || [4]byte(p[12:]) != c.st.sessions[k.first].to.Addr {
		return // raw sockets get what is for all of the machine
	}
	head, total := int(p[0]&0xf)*4, int(binary.BigEndian.Uint16(p[2:]))
	if head < ipLen || total > n || total < head+8 {
		c.foreign++
		return
	}
	key := binary.BigEndian.Uint32(p[16:])
	if k.Kind == SocketGRE {
		key = uint32(binary.BigEndian.Uint16(p[head+6:]))
	}
	who, ok := k.byKey[key]
	if !ok {
		c.st.sessions[k.first].Receive(0, slices.Clone(p))
		return
	}
	b.Truncate(total)
	b.TrimFront(head)
	c.inWho[i], c.inHead[i] = who, head
}

// handle opens the packets that wait in the buffers and does what each is for.
func (c *client) handle() {
	n := c.waiting
	if n == 0 {
		return
	}
	c.waiting = 0
	now := time.Now()
	c.gate.Lock()
	for i := range n {
		c.unpack(i, now)
	}
	mppe.OpenBatch(c.mppeOpens, Nanos(now), c.mppeScratch)
	esp.OpenBatch(c.espOpens, c.espScratch)
	for i := range n {
		c.opened(i, now)
	}
	c.gate.Unlock()
	c.mppeOpens, c.espOpens = c.mppeOpens[:0], c.espOpens[:0]
	arrived, passed := uint64(0), uint64(0)
	for i := range n {
		if c.inWho[i] == nobody {
			continue
		}
		a, p := c.deliver(i, c.st.nanos(now))
		arrived, passed = arrived+a, passed+p
	}
	if arrived > 0 {
		c.st.down.arrived.Add(arrived)
		c.st.down.passed.Add(passed)
	}
	if len(c.acks) > 0 {
		c.acknowledge(c.heard(n), now)
	}
}

// heard is the sessions of the first n buffers. They are moved together there.
func (c *client) heard(n int) []uint32 {
	k := 0
	for _, who := range c.inWho[:n] {
		if who != nobody {
			c.inWho[k] = who
			k++
		}
	}
	return c.inWho[:k]
}

func (c *client) unpack(i int, now time.Time) {
	if c.inWho[i] == nobody {
		return
	}
	in := &c.ins[i]
	c.st.sessions[c.inWho[i]].Link.Unpack(in, now)
	c.inOp[i] = -1
	switch {
	case in.Kind != KindData:
	case in.SA != nil:
		c.inOp[i] = len(c.espOpens)
		c.espOpens = append(c.espOpens, esp.OpenOp{SA: in.SA, Buf: in.Buf})
	case in.Receiver != nil:
		c.inOp[i] = len(c.mppeOpens)
		c.mppeOpens = append(c.mppeOpens, mppe.OpenOp{Receiver: in.Receiver, Buf: in.Buf, Seq: in.Seq, Credible: in.Credible})
	}
}

func (c *client) opened(i int, now time.Time) {
	in := &c.ins[i]
	if c.inWho[i] == nobody || in.Kind != KindData {
		return
	}
	if op := c.inOp[i]; op >= 0 {
		if in.SA != nil {
			in.ESP, in.NextHeader = c.espOpens[op].Verdict, c.espOpens[op].NextHeader
		} else {
			in.MPPE = c.mppeOpens[op].Verdict
		}
	}
	c.st.sessions[c.inWho[i]].Link.Opened(in, now)
}

// deliver counts packet i, or gives it back to its client. It says how many packets of the run have arrived and passed.
func (c *client) deliver(i int, at int64) (arrived, passed uint64) {
	in, s := &c.ins[i], &c.st.sessions[c.inWho[i]]
	switch in.Kind {
	case KindRaw:
		in.Buf.Prepend(c.inHead[i]) // what was there is still there
		s.Receive(in.Port, slices.Clone(in.Buf.Bytes()))
		return 0, 0
	case KindControl, KindMessage:
		s.Link.Control(in.Kind, in.Buf.Bytes())
		return 0, 0
	case KindDropped:
		c.foreign++
		return 0, 0
	case KindNothing:
		return 0, 0
	case KindData:
	}
	data, ok := payload(in.Buf.Bytes(), c.st.cfg.Responder.addr)
	if !ok {
		c.foreign++
		return 0, 0
	}
	t, ok := parseStamp(data, c.st.run)
	if !ok || t.flow != c.inWho[i] {
		c.foreign++
		return 0, 0
	}
	passed, fresh := c.sink.flows[t.flow].accept(t.seq, in.Buf.Len())
	if fresh {
		c.sink.latencies.Add(time.Duration(at - t.at))
	}
	return 1, passed
}
