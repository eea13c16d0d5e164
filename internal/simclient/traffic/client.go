package traffic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
)

// client is the thread that seals, sends, receives and opens the packets of all sessions with one Gate.
type client struct {
	st      *state
	gate    *Gate
	mine    []uint32 // indices of its sessions
	sockets []socket
	acks    []uint32 // sessions that may owe an acknowledgement
	ackedAt time.Time

	// Sending. turns is nil where nothing is sent of its own accord.
	turns     *turns
	pace      *pace
	templates [MaxSize + 1]*template
	outBufs   [batch]pktbuf.Buf
	outs      [batch]Outgoing
	outWho    [batch]uint32
	outSize   [batch]int
	outOp     [batch]int // index in the operations; -1: none
	ackBufs   [8]pktbuf.Buf
	sender    *sender

	// Receiving.
	poller  *poller
	trains  *trainReader
	raws    *rawReader
	inBufs  [batch]pktbuf.Buf
	ins     [batch]Incoming
	inWho   [batch]uint32 // or nobody
	inHead  [batch]int    // octets of an IP header before the window
	inOp    [batch]int    // index in the operations; -1: none
	waiting int           // packets in inBufs
	sink    sink
	foreign uint64

	// Crypto.
	mppeSeals   []mppe.SealOp
	mppeOpens   []mppe.OpenOp
	espSeals    []esp.SealOp
	espOpens    []esp.OpenOp
	mppeScratch *mppe.Scratch
	espScratch  *esp.Scratch
}

// socket is a Socket as its thread reads it.
type socket struct {
	Socket
	only  uint32            // of SocketUDP: the session
	byKey map[uint32]uint32 // of raw ones: sessions by call ID or address
	first uint32            // any session of it
}

// newClients makes the threads, one for each Gate.
func newClients(st *state) (all []*client, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(all, nil))
		}
	}()
	byGate := map[*Gate]*client{}
	for i := range st.sessions {
		s := &st.sessions[i]
		c := byGate[s.Gate]
		if c == nil {
			if c, err = newClient(st, s.Gate); err != nil {
				return all, err
			}
			byGate[s.Gate] = c
			all = append(all, c)
		}
		if err = c.add(uint32(i)); err != nil {
			return all, fmt.Errorf("path %d: %w", i, err)
		}
	}
	return all, nil
}

func newClient(st *state, gate *Gate) (*client, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	c := &client{
		st: st, gate: gate, poller: p, sender: newSender(), trains: newTrainReader(), raws: newRawReader(),
		sink:        sink{flows: make([]flow, len(st.sessions))},
		mppeScratch: mppe.NewScratch(), espScratch: esp.NewScratch(),
		mppeSeals: make([]mppe.SealOp, 0, batch), mppeOpens: make([]mppe.OpenOp, 0, batch),
		espSeals: make([]esp.SealOp, 0, batch), espOpens: make([]esp.OpenOp, 0, batch),
	}
	for _, n := range st.cfg.Size {
		if c.templates[n] == nil {
			c.templates[n] = newTemplate(n, st.cfg.Responder.addr)
		}
	}
	return c, nil
}

// add makes a session one of the thread's.
func (c *client) add(i uint32) error {
	s := &c.st.sessions[i]
	c.mine = append(c.mine, i)
	at := slices.IndexFunc(c.sockets, func(k socket) bool { return k.FD == s.Socket.FD })
	if at < 0 {
		k := socket{Socket: s.Socket, only: i, first: i}
		if s.Socket.Kind == SocketUDP {
			if err := unix.SetsockoptInt(k.FD, unix.SOL_UDP, unix.UDP_GRO, 1); err != nil {
				return fmt.Errorf("let datagrams come together: %w", err)
			}
		} else {
			k.byKey = map[uint32]uint32{}
		}
		enlarge(k.FD)
		if err := c.poller.add(k.FD, len(c.sockets)); err != nil {
			return err
		}
		at = len(c.sockets)
		c.sockets = append(c.sockets, k)
	} else if s.Socket.Kind == SocketUDP {
		return fmt.Errorf("%w: two sessions have one UDP socket", ErrConfig)
	}
	k := &c.sockets[at]
	if k.byKey == nil {
		return nil
	}
	key := uint32(s.Socket.CallID)
	if k.Kind == SocketESP {
		a := s.Socket.Local.As4()
		key = binary.BigEndian.Uint32(a[:])
	} else {
		c.acks = append(c.acks, i)
	}
	if _, ok := k.byKey[key]; ok || k.Kind != s.Socket.Kind {
		return fmt.Errorf("%w: two sessions of one socket have the same call ID or address", ErrConfig)
	}
	k.byKey[key] = i
	return nil
}

// close gives the sockets back as they were.
func (c *client) close() (err error) {
	for _, k := range c.sockets {
		if k.Kind == SocketUDP {
			err = errors.Join(err, unix.SetsockoptInt(k.FD, unix.SOL_UDP, unix.UDP_GRO, 0))
		}
	}
	return errors.Join(err, c.poller.close())
}

// start begins the sending at the run's beginning.
func (c *client) start() {
	st := c.st
	c.ackedAt = st.began
	if st.cfg.Direction == Down {
		return
	}
	back := &st.up
	if st.cfg.Direction == Echo {
		back = &st.down
	}
	share := float64(len(c.mine)) / float64(len(st.sessions))
	c.turns = newTurns(c.mine, st.cfg.Size, st.cfg.Train)
	c.pace = newPace(&st.up, back, st.cfg.PPS*share, st.cfg.UpWindow, st.cfg.Packets)
}

// maxWait is how long a thread sleeps at most: it looks for the run's end then.
const maxWait = 5 * time.Millisecond

// loop is the thread.
func (c *client) loop() error {
	for {
		now := time.Now()
		at := c.st.nanos(now)
		phase := c.st.phase.Load()
		if phase == phaseStop {
			return nil
		}
		wait, sent := maxWait, 0
		if c.pace != nil && phase == phaseSend {
			sent = c.pace.due(at, batch)
			if sent > 0 {
				c.send(sent, now)
			} else if c.pace.done() {
				c.pace = nil
				c.st.full.Add(1)
			} else {
				wait = min(wait, c.pace.wait(at))
			}
		}
		if sent > 0 {
			wait = 0
		}
		if err := c.receive(wait); err != nil {
			return err
		}
		if now.Sub(c.ackedAt) > ackEvery {
			c.ackedAt = now
			c.acknowledge(c.acks, now)
		}
	}
}

// ackEvery is how often all sessions are asked for acknowledgements that they owe.
const ackEvery = 50 * time.Millisecond

// send makes and sends n packets.
func (c *client) send(n int, now time.Time) {
	c.gate.Lock()
	defer c.gate.Unlock()
	at := c.st.nanos(now)
	k := 0
	for range n {
		flow, seq, size := c.turns.next()
		s := &c.st.sessions[flow]
		b := &c.outBufs[k]
		b.Reset()
		c.templates[size].put(b.Append(size), s.inner, s.srcSum, stamp{c.st.run, flow, seq, at})
		o := &c.outs[k]
		*o = Outgoing{Buf: b}
		if !s.Link.Pack(o) {
			c.sender.unsent++
			continue
		}
		c.outWho[k], c.outSize[k], c.outOp[k] = flow, size, -1
		switch {
		case o.SA != nil:
			c.outOp[k] = len(c.espSeals)
			c.espSeals = append(c.espSeals, esp.SealOp{SA: o.SA, Buf: b, NextHeader: protoUDP})
		case o.Sender != nil:
			c.outOp[k] = len(c.mppeSeals)
			c.mppeSeals = append(c.mppeSeals, mppe.SealOp{Sender: o.Sender, Buf: b})
		}
		k++
	}
	c.pace.spent(n)
	mppe.SealBatch(c.mppeSeals, c.mppeScratch)
	esp.SealBatch(c.espSeals, c.espScratch)
	for i := range k {
		c.queue(i)
	}
	c.sender.flush()
	c.mppeSeals, c.espSeals = c.mppeSeals[:0], c.espSeals[:0]
	c.sender.take(&c.st.up)
}

// queue finishes packet i of the batch and gives it to the sender.
func (c *client) queue(i int) {
	o, s := &c.outs[i], &c.st.sessions[c.outWho[i]]
	sealed := true
	switch {
	case o.SA != nil:
		sealed = c.espSeals[c.outOp[i]].Verdict == esp.OK
	case o.Sender != nil:
		sealed = c.mppeSeals[c.outOp[i]].OK
	}
	if !sealed || !s.Link.Finish(o) || !c.put(s, o.Buf, c.outSize[i]) {
		c.sender.unsent++
	}
}

// put gives a finished packet to the sender; inner is the length of the inner packet. False: the buffer is full.
func (c *client) put(s *session, b *pktbuf.Buf, inner int) bool {
	udp := s.Socket.Kind == SocketUDP
	if !udp {
		head := b.Prepend(rawHeaderLen)
		if head == nil {
			return false
		}
		copy(head, s.outer[:])
	}
	c.sender.add(s.Socket.FD, udp, &s.to, b.Bytes(), inner)
	return true
}

// acknowledge sends what sessions owe. It counts nowhere.
func (c *client) acknowledge(who []uint32, now time.Time) {
	if len(who) == 0 {
		return
	}
	c.gate.Lock()
	defer c.gate.Unlock()
	k := 0
	for _, i := range who {
		s := &c.st.sessions[i]
		if b := &c.ackBufs[k]; s.Link.Owed(b, now) && c.put(s, b, 0) {
			k++
		}
		if k == len(c.ackBufs) {
			c.sender.flush()
			k = 0
		}
	}
	c.sender.flush()
	c.sender.sent, c.sender.octets, c.sender.unsent = 0, 0, 0
}

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
