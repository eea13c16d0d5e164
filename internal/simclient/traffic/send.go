package traffic

import (
	"time"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
)

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
