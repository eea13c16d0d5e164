package gre_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"concentrator/internal/dataplane/gre"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/dataplane/policy"
	wiregre "concentrator/internal/wire/gre"
)

const ms = int64(time.Millisecond)

var sources = policy.NewSources(netip.MustParseAddr("10.1.0.2"), nil)

func credible(head []byte, n int, far bool) bool {
	return policy.CredibleInner(head, n, &sources, far)
}

// call is the receiving side of an encrypted call, driven as the package comment says.
type call struct {
	t    testing.TB
	s    *gre.Session
	r    *mppe.Receiver
	x    *mppe.Scratch
	pool *pktbuf.Pool
	now  int64
	got  []uint32 // what was delivered: numbers inside the packets

	resets int // Reset-Requests wanted
}

func newCall(t testing.TB, p mppe.Params) *call {
	pool := pktbuf.NewPool(gre.Window)
	return &call{t: t, s: gre.NewSession(1, pool), r: mppe.NewReceiver(p), x: mppe.NewScratch(), pool: pool}
}

func (c *call) receive(wire []byte) {
	c.t.Helper()
	h, payload, err := wiregre.ParseHeader(wire)
	if err != nil {
		c.t.Fatal(err)
	}
	place := c.s.Place(h.Seq)
	if place == gre.Late || place == gre.Duplicate {
		return
	}
	var b pktbuf.Buf
	b.SetBytes(payload)
	e := gre.Unverified
	if !c.r.Stateful() || place != gre.Early {
		if e = c.open(&b, h.Seq); e == 0 {
			return
		}
	}
	switch o := c.s.Accept(h.Seq, &b, e, c.now); o {
	case gre.Deliver:
		c.deliver(&b)
		c.pop()
	case gre.DeliverLast:
		c.pop()
		c.deliver(&b)
	case gre.Held:
		c.pop()
	}
}

func (c *call) open(b *pktbuf.Buf, seq uint32) gre.Evidence {
	switch c.r.Open(b, seq, credible, c.now, c.x) {
	case mppe.OK:
		return gre.Verified
	case mppe.Resynced:
		return gre.Confirmed
	case mppe.NeedReset:
		c.resets++
	}
	return 0
}

func (c *call) pop() {
	for {
		p, ok := c.s.Pop()
		if !ok {
			return
		}
		if p.Evidence != gre.Unverified || c.open(p.Buf, p.Seq) != 0 {
			c.deliver(p.Buf)
		}
		c.pool.Put(p.Buf)
	}
}

func (c *call) deliver(b *pktbuf.Buf) {
	c.got = append(c.got, binary.BigEndian.Uint32(b.Bytes()[2+20:]))
}

func (c *call) advance(d int64) {
	c.now += d
	if at, ok := c.s.Deadline(); ok && at <= c.now && c.s.Expire(c.now) {
		c.pop()
	}
}

// sender makes the packets of a peer.
type sender struct {
	s *gre.Session
	m *mppe.Sender
	x *mppe.Scratch
	n uint32
}

func newSender(p mppe.Params) *sender {
	return &sender{s: gre.NewSession(1, nil), m: mppe.NewSender(p), x: mppe.NewScratch()}
}

// next is the packet with number n inside: GRE, MPPE, IPv4.
func (s *sender) next() []byte {
	ip := make([]byte, 40)
	ip[0], ip[3], ip[8], ip[9] = 0x45, 40, 64, 17
	copy(ip[12:], []byte{10, 1, 0, 2, 192, 0, 2, 1})
	binary.BigEndian.PutUint32(ip[20:], s.n)
	s.n++
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum>>16+sum))
	var b pktbuf.Buf
	b.SetBytes(append([]byte{0, 0x21}, ip...))
	s.m.Seal(&b, s.x)
	s.s.Wrap(&b)
	return slices.Clone(b.Bytes())
}

// arrival is a packet that reaches the receiver after packet number at was sent.
type arrival struct {
	wire []byte
	n    uint32
	at   int
}

// way sends packets on a way that loses one in fifty, and bursts of up to burst, repeats some and reorders all.
func way(s *sender, rng *rand.Rand, total, burst int) (as []arrival, sent map[uint32]bool) {
	sent = map[uint32]bool{}
	losing := 0
	for i := range total {
		wire := s.next()
		if i%1000 == 500 {
			losing = 10 + rng.IntN(burst-10)
		}
		if losing > 0 {
			losing--
			continue
		}
		if i > 0 && rng.IntN(50) == 0 {
			continue
		}
		sent[uint32(i)] = true
		as = append(as, arrival{wire, uint32(i), i + min(i, rng.IntN(10))})
		if rng.IntN(50) == 0 {
			as = append(as, arrival{wire, uint32(i), i + rng.IntN(100)})
		}
	}
	slices.SortStableFunc(as, func(a, b arrival) int { return a.at - b.at })
	return as, sent
}

// TestEncryptedCall sends 10000 packets, 1000 a second, past the wrap of the coherency count. Somebody sends a forged
// packet for each of them. What arrives in time is delivered once and in order.
func TestEncryptedCall(t *testing.T) {
	for _, tt := range []struct {
		name  string
		bits  int
		burst int
		forge func(rng *rand.Rand, seq uint32, count uint16) (uint32, uint16)
	}{
		{"nobody forges", 128, 200, nil},
		{"40 bits", 40, 200, nil},
		{"any numbers", 128, 100, func(rng *rand.Rand, _ uint32, _ uint16) (uint32, uint16) {
			return rng.Uint32(), uint16(rng.Uint32())
		}},
		{"numbers close by", 128, 100, func(rng *rand.Rand, seq uint32, count uint16) (uint32, uint16) {
			d := rng.IntN(40) - 5
			return seq + uint32(d), count + uint16(d)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := mppe.Params{Bits: tt.bits, StartKey: [16]byte{1, 2, 3}}
			s, c := newSender(p), newCall(t, p)
			rng := rand.New(rand.NewPCG(1, 2))
			const total = 10000
			as, sent := way(s, rng, total, tt.burst)
			for i, a := range as {
				if i > 0 {
					c.advance(int64(a.at-as[i-1].at) * ms)
				}
				if tt.forge != nil {
					forged := slices.Clone(a.wire)
					seq, count := tt.forge(rng, binary.BigEndian.Uint32(forged[8:]), binary.BigEndian.Uint16(forged[12:])&0xfff)
					binary.BigEndian.PutUint32(forged[8:], seq)
					binary.BigEndian.PutUint16(forged[12:], 0x9000|count&0xfff)
					for j := range forged[14:] {
						forged[14+j] = byte(rng.Uint32())
					}
					c.receive(forged)
				}
				c.receive(a.wire)
			}
			c.advance(gre.HoldTime)
			if !slices.IsSorted(c.got) || len(slices.Compact(slices.Clone(c.got))) != len(c.got) {
				t.Error("out of order, or delivered twice")
			}
			for _, n := range c.got {
				if !sent[n] {
					t.Fatalf("%d was never sent", n)
				}
			}
			// Behind a burst the first packet is held and not read, and those that it overtook aren't either.
			if missing := len(sent) - len(c.got); missing > 10*12 {
				t.Errorf("%d of %d are missing", missing, len(sent))
			}
			if want := uint64(total - len(c.got)); c.s.Lost() != want {
				t.Errorf("%d lost, want %d", c.s.Lost(), want)
			}
			if limit := uint64(total + mppe.NearKeys + 11*mppe.KeyBudget); c.x.KeyChanges > limit {
				t.Errorf("%d key changes, limit %d", c.x.KeyChanges, limit)
			}
		})
	}
}

// TestStatefulCall: the packets of a stateful session are opened in order, whatever order they come in. One that is lost
// costs those up to the flushed one that the Reset-Request brings, twenty packets later.
func TestStatefulCall(t *testing.T) {
	p := mppe.Params{Bits: 128, Stateful: true, StartKey: [16]byte{1, 2, 3}}
	s, c := newSender(p), newCall(t, p)
	rng := rand.New(rand.NewPCG(3, 4))
	waiting := map[int][][]byte{}
	const total, lost, roundTrip = 3000, 1000, 20
	resetAt := -1
	for i := range total + 10 {
		if i == resetAt {
			s.m.Reset()
		}
		if wire := s.next(); i != lost {
			at := i
			if i > 0 && rng.IntN(20) == 0 {
				at += rng.IntN(10)
			}
			waiting[at] = append(waiting[at], wire)
		}
		for _, wire := range waiting[i] {
			c.receive(wire)
		}
		c.advance(ms)
		if c.resets > 0 {
			resetAt, c.resets = i+roundTrip, 0
		}
	}
	c.advance(gre.HoldTime)
	if !slices.IsSorted(c.got) || len(slices.Compact(slices.Clone(c.got))) != len(c.got) {
		t.Error("out of order, or delivered twice")
	}
	// Before the request goes out, the window fills behind the lost packet.
	if least := total - gre.Window - 2*roundTrip - 2*10; len(c.got) < least {
		t.Errorf("%d packets delivered, want at least %d", len(c.got), least)
	}
	if !slices.Equal(c.got[:lost], numbers(lost)) {
		t.Error("packets before the lost one are missing")
	}
}

// numbers are 0, …, n-1.
func numbers(n uint32) (ns []uint32) {
	for i := range n {
		ns = append(ns, i)
	}
	return ns
}
