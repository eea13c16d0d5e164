package l2tp

import (
	"time"

	wire "concentrator/internal/wire/l2tp"
)

// Numbers of reliable delivery, RFC 2661 section 5.8.
const (
	// receiveWindow is the Receive Window Size that we advertise, and how far ahead of its turn a message is kept.
	receiveWindow = 16
	// maxSendWindow bounds the peer's Receive Window Size.
	maxSendWindow = 32
	// firstTimeout is how long the first acknowledgement may take. Each further wait is twice as long, up to maxTimeout.
	firstTimeout = time.Second
	maxTimeout   = 8 * time.Second
	// maxTries is how often a message is sent: at 0, 1, 3, 7, 15 and 23 seconds. At 31 the peer is given up.
	maxTries = 6
	// fullCycle is how long all that takes, for which a closed tunnel must still acknowledge (section 5.7).
	fullCycle = 31 * time.Second
	// maxQueue is how many messages may wait for the peer before we stop taking messages from it: whoever makes us answer
	// must acknowledge the answers.
	maxQueue = 64
)

// delivered is a message of the peer in its turn.
type delivered struct {
	session uint16
	body    []byte
}

// arrival is what the channel makes of a message of the peer.
type arrival uint8

const (
	stale  arrival = iota // nothing new: a repetition, or out of the window
	early                 // kept until its turn comes
	inTurn                // delivered, perhaps with others that were kept
	acked                 // a Zero-Length Body that acknowledges something new
	numArrivals
)

// channel delivers the control messages of one tunnel reliably and in order, RFC 2661 section 5.8 and appendix A. It is a
// pure machine: the messages to send are appended to out, always with a fresh Nr.
type channel struct {
	peerTunnel uint16 // tunnel ID in the header of what we send
	out        [][]byte

	// Sending. queue holds whole messages from the oldest unacknowledged one, whose Ns is una, to the latest. The first
	// sent of them count as on their way; the first known of them have been sent at some time and may be acknowledged.
	queue       [][]byte
	una         uint16
	sent, known int
	window      int // the peer's Receive Window Size
	cwnd        int // congestion window, from 1 to window
	ssthresh    int // where slow start ends
	credit      int // acknowledgements towards the next step of congestion avoidance
	tries       int // of the oldest message
	deadline    time.Time
	quiet       bool // nothing is sent again unasked: the peer's address may be forged
	dead        bool // the peer was given up

	// Receiving.
	nr     uint16 // the peer's next Ns
	ackDue bool
	kept   [receiveWindow]struct {
		full bool
		delivered
	}
}

func newChannel() channel {
	return channel{window: int(wire.DefaultReceiveWindow), cwnd: 1, ssthresh: int(wire.DefaultReceiveWindow)}
}

// setWindow takes the peer's Receive Window Size. 0 is illegal and counts as 1, as the peer takes at least one message.
func (c *channel) setWindow(n uint16) {
	c.window = min(max(int(n), 1), maxSendWindow)
	c.ssthresh = c.window
	c.cwnd = min(c.cwnd, c.window)
}

// send queues a message and sends what the windows allow.
func (c *channel) send(now time.Time, session uint16, m wire.Message) {
	h := wire.Header{TunnelID: c.peerTunnel, SessionID: session}
	c.queue = append(c.queue, wire.Append(nil, h, m, nil))
	c.pump(now)
}

// pump sends what the windows allow.
func (c *channel) pump(now time.Time) {
	for c.sent < len(c.queue) && c.sent < min(c.cwnd, c.window) {
		c.transmit(c.sent)
		c.sent++
		c.known = max(c.known, c.sent)
		if c.deadline.IsZero() {
			c.tries = 1
			c.deadline = now.Add(firstTimeout)
		}
	}
}

// transmit puts a copy of message i of the queue out, with the Nr of now.
func (c *channel) transmit(i int) {
	b := append([]byte(nil), c.queue[i]...)
	wire.SetSequence(b, c.una+uint16(i), c.nr)
	c.out = append(c.out, b)
	c.ackDue = false
}

// receive takes a message of the peer: its header and body, the latter kept. deliver is called for each message whose turn
// has come; it may send.
func (c *channel) receive(now time.Time, h wire.Header, body []byte, deliver func(delivered)) arrival {
	progress := c.acknowledge(now, h.Nr)
	if len(body) == 0 {
		// A Zero-Length Body has a number but no turn.
		if progress {
			return acked
		}
		return stale
	}
	ahead := h.Ns - c.nr
	switch {
	case ahead >= 1<<15: // behind: its acknowledgement was lost
		c.ackDue = true
		return stale
	case ahead >= receiveWindow || len(c.queue) >= maxQueue:
		return stale
	}
	slot := &c.kept[h.Ns%receiveWindow]
	if !slot.full {
		slot.full, slot.delivered = true, delivered{h.SessionID, body}
	}
	c.ackDue = true
	if ahead > 0 {
		return early
	}
	for len(c.queue) < maxQueue {
		slot := &c.kept[c.nr%receiveWindow]
		if !slot.full {
			break
		}
		d := slot.delivered
		slot.full, slot.delivered = false, delivered{}
		c.nr++
		c.ackDue = true
		deliver(d)
	}
	return inTurn
}

// acknowledge takes the peer's Nr and says whether that is news. What lies outside of what was sent is ignored.
func (c *channel) acknowledge(now time.Time, nr uint16) bool {
	n := int(nr - c.una)
	if n == 0 || n > c.known {
		return false
	}
	clear(c.queue[:n])
	c.queue = c.queue[n:]
	c.una = nr
	c.sent, c.known = max(c.sent-n, 0), c.known-n
	for range n {
		c.grow()
	}
	c.tries, c.deadline = 0, time.Time{}
	if c.sent > 0 {
		c.tries, c.deadline = 1, now.Add(firstTimeout)
	}
	c.pump(now)
	return true
}

// grow opens the congestion window for one acknowledged message: by one in slow start, by one a window after it.
func (c *channel) grow() {
	if c.cwnd < c.ssthresh {
		c.cwnd++
	} else if c.credit++; c.credit >= c.cwnd {
		c.cwnd, c.credit = c.cwnd+1, 0
	}
	c.cwnd = min(c.cwnd, c.window)
}

// tick sends the oldest message again when its time is over, or gives the peer up. What was sent behind it counts as not
// sent: it follows as the window opens again.
func (c *channel) tick(now time.Time) {
	if c.deadline.IsZero() || now.Before(c.deadline) {
		return
	}
	if c.tries >= maxTries {
		c.giveUp()
		return
	}
	if !c.quiet {
		c.ssthresh = max(c.cwnd/2, 1)
		c.cwnd, c.credit = 1, 0
		c.transmit(0)
		c.sent = 1
	}
	c.deadline = now.Add(min(firstTimeout<<c.tries, maxTimeout))
	c.tries++
}

// giveUp sends nothing any more.
func (c *channel) giveUp() {
	c.dead = true
	c.queue, c.sent, c.known, c.deadline, c.ackDue = nil, 0, 0, time.Time{}, false
}

// repeat sends the oldest message again, or an acknowledgement, because the peer has asked again. It does not count as a
// try. A peer that asks again, and is not answered unasked, gets two copies: on a line that loses a fifth both ways, of those who ask five
// times one in 160 would hear nothing, so it is one in 500, and who forges an address gains less than twice what he sends.
func (c *channel) repeat() {
	if c.sent > 0 {
		c.transmit(0)
		if c.quiet {
			c.transmit(0)
		}
	} else {
		c.ackDue = true
	}
}

// flush sends the acknowledgement that nothing else has carried, twice: nobody repeats one, and of five copies of a message a bad
// line often lets one through, whose acknowledgement must not be lost then.
func (c *channel) flush() {
	if !c.ackDue || c.dead {
		return
	}
	c.ackDue = false
	h := wire.Header{TunnelID: c.peerTunnel, Ns: c.una + uint16(c.known), Nr: c.nr}
	c.out = append(c.out, wire.AppendZLB(nil, h))
	if !c.quiet {
		c.out = append(c.out, wire.AppendZLB(nil, h))
	}
}

// idle says that everything sent is acknowledged.
func (c *channel) idle() bool { return len(c.queue) == 0 }
