package l2tp

import (
	"encoding/binary"
	"time"

	wire "concentrator/internal/wire/l2tp"
)

// channel delivers messages reliably, RFC 2661 section 5.8, without slow start: what the server's window allows is sent.
type channel struct {
	cfg    *Config
	peerID uint16
	out    [][]byte

	unacked [][]byte // whole messages from number una on
	sent    int      // so many of them have been sent
	una, nr uint16
	window  int
	tries   int
	next    time.Time // when the oldest is sent again; zero: there is none
	early   map[uint16]received
	failed  bool
}

// received is a message of the server in its turn.
type received struct {
	session uint16
	body    []byte
}

func (c *channel) send(now time.Time, session uint16, m wire.Message, extra ...wire.AVP) {
	h := wire.Header{TunnelID: c.peerID, SessionID: session}
	hiding := c.cfg.Hiding
	if m.Type() == wire.TypeSCCRQ {
		hiding = nil
	}
	c.unacked = append(c.unacked, wire.Append(nil, h, m, hiding, extra...))
	c.fill(now)
}

// fill sends what the server's window allows.
func (c *channel) fill(now time.Time) {
	for ; c.sent < min(len(c.unacked), c.window); c.sent++ {
		c.transmit(c.sent)
		if c.next.IsZero() {
			c.tries, c.next = 1, now.Add(c.cfg.Resend)
		}
	}
}

func (c *channel) transmit(i int) {
	b := append([]byte(nil), c.unacked[i]...)
	binary.BigEndian.PutUint16(b[4:], c.peerID) // the SCCRQ went out before it was known
	if i == 0 && c.una == 0 {
		binary.BigEndian.PutUint16(b[4:], 0)
	}
	wire.SetSequence(b, c.una+uint16(i), c.nr)
	c.out = append(c.out, b)
}

func (c *channel) ack() {
	h := wire.Header{TunnelID: c.peerID, Ns: c.una + uint16(c.sent), Nr: c.nr}
	c.out = append(c.out, wire.AppendZLB(nil, h))
}

// receive takes a message and returns those whose turn has come.
func (c *channel) receive(now time.Time, h wire.Header, body []byte) []received {
	if n := int(h.Nr - c.una); n > 0 && n <= c.sent {
		c.unacked, c.una, c.sent = c.unacked[n:], h.Nr, c.sent-n
		c.next = time.Time{}
		if c.sent > 0 {
			c.tries, c.next = 1, now.Add(c.cfg.Resend)
		}
		c.fill(now)
	}
	if len(body) == 0 {
		return nil
	}
	switch ahead := int16(h.Ns - c.nr); {
	case ahead < 0:
		c.ack()
		return nil
	case ahead > 0:
		if int(ahead) <= c.cfg.Reorder {
			if c.early == nil {
				c.early = map[uint16]received{}
			}
			c.early[h.Ns] = received{h.SessionID, body}
		}
		return nil
	}
	turn := []received{{h.SessionID, body}}
	for c.nr++; ; c.nr++ {
		r, ok := c.early[c.nr]
		if !ok {
			return turn
		}
		delete(c.early, c.nr)
		turn = append(turn, r)
	}
}

// tick sends the oldest message again, or gives the server up.
func (c *channel) tick(now time.Time) {
	if c.next.IsZero() || now.Before(c.next) {
		return
	}
	if c.tries >= c.cfg.Tries {
		c.failed, c.next = true, time.Time{}
		return
	}
	c.transmit(0)
	c.next = now.Add(min(c.cfg.Resend<<min(c.tries, 10), c.cfg.ResendMax))
	c.tries++
}
