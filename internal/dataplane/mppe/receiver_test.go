package mppe

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"concentrator/internal/dataplane/pktbuf"
)

// TestHeader has the packets that are refused by their first octets.
func TestHeader(t *testing.T) {
	for _, tt := range []struct {
		name     string
		stateful bool
		wire     []byte
		want     Verdict
	}{
		{"empty", false, nil, Short},
		{"one octet", false, []byte{0x90}, Short},
		{"header only", false, []byte{0x90, 0}, Short},
		{"not encrypted", false, []byte{0x80, 0, 1, 2}, NotEncrypted},
		{"compressed", false, []byte{0xb0, 0, 1, 2}, NotEncrypted},
		{"stateless but not flushed", false, []byte{0x10, 0, 1, 2}, NotFlushed},
		{"flag packet that isn't flushed", true, []byte{0x10, 0xff, 1, 2}, NotFlushed},
		{"rubbish", false, []byte{0x90, 0, 1, 2}, Implausible},
		{"one octet of rubbish", false, []byte{0x90, 0, 1}, Implausible},
		{"count before the first", false, []byte{0x9f, 0xff, 1, 2}, Late},
		{"stateful rubbish", true, []byte{0x10, 0, 1, 2}, NeedReset},
		{"stateful flushed rubbish", true, []byte{0x90, 0, 1, 2}, NeedReset},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLink(t, params(128, tt.stateful))
			l.want(tt.want, packet{-1, 0, tt.wire})
			if tt.want != NeedReset && l.x.KeyChanges > 1 {
				t.Errorf("it cost %d key changes", l.x.KeyChanges)
			}
			l.want(OK, stream(t, NewSender(params(128, tt.stateful)), 0, 3, 0)...)
		})
	}
}

// TestSealRefuses: an empty packet and one without headroom leave the sender where it was.
func TestSealRefuses(t *testing.T) {
	s, x := NewSender(params(128, false)), NewScratch()
	var none pktbuf.Buf
	if s.Seal(&none, x) {
		t.Error("an empty packet was sealed")
	}
	var full pktbuf.Buf
	full.SetLen(100)
	if s.Seal(&full, x) {
		t.Error("a packet without headroom was sealed")
	}
	newLink(t, params(128, false)).want(OK, stream(t, s, 0, 1, 0)...)
}

// TestInnerProtocolLength: the protocol field may have one octet (PFC).
func TestInnerProtocolLength(t *testing.T) {
	p := params(128, false)
	s, r, x := NewSender(p), NewReceiver(p), NewScratch()
	var b pktbuf.Buf
	b.SetBytes(frame(0)[1:])
	s.Seal(&b, x)
	if v := r.Open(&b, 0, credible, 0, x); v != OK || b.Bytes()[0] != 0x21 {
		t.Errorf("%v, %x", v, b.Bytes())
	}
}

// TestLossDuplicatesReordering runs a stateless stream over two wraps of the count and one of the GRE sequence number.
// Every packet that arrives within the window is read exactly once.
func TestLossDuplicatesReordering(t *testing.T) {
	for _, bits := range []int{128, 56, 40} {
		p := params(bits, false)
		l, r := newLink(t, p), rand.New(rand.NewPCG(7, uint64(bits)))
		ps := stream(t, NewSender(p), 0, 2*countSpace+100, 0xffffffff-2000)
		type arrival struct {
			packet
			at int
		}
		var way []arrival
		for i, p := range ps {
			if i == 0 || r.IntN(10) > 0 {
				way = append(way, arrival{p, i + r.IntN(30)})
			}
			if r.IntN(20) == 0 {
				way = append(way, arrival{p, i + r.IntN(30)})
			}
		}
		slices.SortStableFunc(way, func(a, b arrival) int { return a.at - b.at })
		seen := map[int]bool{}
		for _, p := range way {
			want := OK
			if seen[p.n] {
				want = Late
			}
			seen[p.n] = true
			l.want(want, p.packet)
		}
		if limit := uint64(len(ps)) + 2*NearKeys; l.x.KeyChanges > limit {
			t.Errorf("%d bits: %d key changes for %d positions", bits, l.x.KeyChanges, len(ps))
		}
	}
}

// TestReplayAndWindow: behind the window nothing is read, inside it each packet once.
func TestReplayAndWindow(t *testing.T) {
	p := params(128, false)
	l := newLink(t, p)
	ps := stream(t, NewSender(p), 0, 200, 0)
	l.want(OK, ps[0])
	l.want(Late, ps[0])
	l.want(OK, ps[64]) // 64 keys ahead is near
	l.want(OK, ps[1])  // 63 behind
	l.want(OK, ps[65])
	l.want(OK, ps[2]) // 63 behind the new top
	l.want(OK, ps[67])
	l.want(Late, ps[3], ps[1], ps[2], ps[0], ps[64], ps[65]) // 3 is 64 behind
	l.want(OK, ps[66])
}

// TestBurstLoss: after a loss of more than NearKeys the second packet in a row is read; after one beyond the budget it
// takes as many seconds as the keys take, and losses of more than half a count space and of several are followed too.
func TestBurstLoss(t *testing.T) {
	for _, tt := range []struct {
		name    string
		lost    int
		seconds int
	}{
		{"as many as are near", NearKeys - 1, 0},
		{"one more", NearKeys, 0},
		{"250", 250, 0},
		{"300", 300, 1},
		{"1000", 1000, 3},
		{"2047: without the reserve from here on", 2047, 10},
		{"2100: more than half the counts", 2100, 10},
		{"4095: the same count again", 4095, 21},
		{"4100: it looks near", 4100, 21},
		{"12345: three times around", 12345, 64},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := params(128, false)
			l := newLink(t, p)
			ps := stream(t, NewSender(p), 0, tt.lost+500, 1000)
			l.want(OK, ps[:10]...)
			rest := ps[10+tt.lost:]
			if tt.lost < NearKeys {
				l.want(OK, rest...)
				return
			}
			for i := range tt.seconds {
				l.now = int64(i+1) * second
				l.want(OverBudget, rest[0])
				rest = rest[1:]
			}
			l.now += second
			l.want(FarJump, rest[0])
			l.want(Resynced, rest[1])
			l.want(Late, rest[0], rest[1]) // their keys aren't known any more, and needn't be tried
			l.want(OK, rest[2:]...)
		})
	}
}

// TestConfirmation: what two packets in a row are.
func TestConfirmation(t *testing.T) {
	p := params(128, false)
	ps := stream(t, NewSender(p), 0, 400, 0)
	start := func(t *testing.T) *link {
		l := newLink(t, p)
		l.want(OK, ps[:10]...)
		return l
	}
	t.Run("the same packet twice isn't", func(t *testing.T) {
		l := start(t)
		l.want(FarJump, ps[150], ps[150])
		l.want(Resynced, ps[151])
	})
	t.Run("forged ones in between don't matter", func(t *testing.T) {
		l := start(t)
		l.want(FarJump, ps[150])
		for i := range 10 {
			l.want(Implausible, forge(155, 155, byte(i)))
		}
		l.want(Resynced, ps[151])
	})
	t.Run("good ones near by in between do", func(t *testing.T) {
		l := start(t)
		l.want(FarJump, ps[150])
		l.want(OK, ps[10])
		l.want(FarJump, ps[151])
		l.want(Resynced, ps[152])
	})
	t.Run("far from each other isn't", func(t *testing.T) {
		l := start(t)
		l.want(FarJump, ps[100], ps[200])
		l.want(Resynced, ps[201])
		l.want(Late, ps[100])
	})
	t.Run("exchanged", func(t *testing.T) {
		l := start(t)
		l.want(FarJump, ps[151])
		l.want(Resynced, ps[150])
		l.want(Late, ps[151])
		l.want(OK, ps[152:]...)
	})
	t.Run("foreign source isn't credible far away", func(t *testing.T) {
		s := NewSender(p)
		stream(t, s, 0, 150, 0)
		l, x := start(t), NewScratch()
		var b pktbuf.Buf
		b.SetBytes(frameFrom(150, netip.MustParseAddr("10.9.9.9"), 60))
		s.Seal(&b, x)
		l.want(Implausible, packet{150, 150, b.Bytes()})
	})
	t.Run("but it is near by", func(t *testing.T) {
		r, s, x := NewReceiver(p), NewSender(p), NewScratch()
		var b pktbuf.Buf
		b.SetBytes(frameFrom(0, netip.MustParseAddr("10.9.9.9"), 60))
		s.Seal(&b, x)
		if v := r.Open(&b, 0, credible, 0, x); v != OK {
			t.Errorf("%v, want ok", v)
		}
	})
}

// TestForgedFlood: forged packets of every kind between the peer's own. All of the peer's are read, and the flood costs no
// more key changes than the budget and what the peer's packets cost anyway.
func TestForgedFlood(t *testing.T) {
	for _, tt := range []struct {
		name   string
		forged func(i int, n uint32) packet
	}{
		{"near, in the GRE window", func(i int, n uint32) packet { return forge(int(n)+i%NearKeys, n+uint32(i%NearKeys), byte(i)) }},
		{"all counts, in the GRE window", func(i int, n uint32) packet { return forge(i*37, n+1000, byte(i)) }},
		{"all counts, all sequence numbers", func(i int, n uint32) packet { return forge(i*37, uint32(i)*2654435761, byte(i)) }},
		{"half the counts ahead", func(i int, n uint32) packet { return forge(int(n)+2000, n+2000, byte(i)) }},
		{"alternating far and farther", func(i int, n uint32) packet {
			d := 65 + i%2*1900
			return forge(int(n)+d, n+uint32(d), byte(i))
		}},
		{"running away", func(i int, n uint32) packet { return forge(int(n)+i, n+uint32(i), byte(i)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const genuine, perGenuine, seconds = 500, 66, 10
			p := params(128, false)
			l := newLink(t, p)
			for i, g := range stream(t, NewSender(p), 0, genuine, 0) {
				l.now = int64(i) * seconds * second / genuine
				l.want(OK, g)
				for j := range perGenuine {
					if v := l.open(tt.forged(i*perGenuine+j, g.seq+1)); v.Passed() {
						t.Fatalf("a forged packet passed: %v", v)
					}
				}
			}
			if limit := uint64(genuine + NearKeys + seconds*KeyBudget); l.x.KeyChanges > limit {
				t.Errorf("%d key changes, limit %d", l.x.KeyChanges, limit)
			}
			if l.r.top != genuine {
				t.Errorf("top is %d, want %d", l.r.top, genuine)
			}
		})
	}
}

// TestFarFloodSetups: packets with sequence numbers far away cost no more than the budget a second, tries included.
func TestFarFloodSetups(t *testing.T) {
	p := params(128, false)
	l := newLink(t, p)
	l.want(OK, stream(t, NewSender(p), 0, 10, 0)...)
	changes, setups := l.x.KeyChanges, l.x.KeySetups
	for i := range 65536 {
		l.open(forge(i, uint32(i)<<16|0x8000, byte(i)))
	}
	if n := l.x.KeyChanges - changes + l.x.KeySetups - setups; n > KeyBudget+NearKeys {
		t.Errorf("%d key changes and tries in one moment, budget %d", n, KeyBudget)
	}
}

// TestResyncUnderFlood: the peer loses a burst while somebody floods. It is found again.
func TestResyncUnderFlood(t *testing.T) {
	p := params(128, false)
	l := newLink(t, p)
	ps := stream(t, NewSender(p), 0, 6000, 0)
	l.want(OK, ps[:100]...)
	r := rand.New(rand.NewPCG(9, 9))
	for i, g := range ps[200:] {
		l.now = int64(i) * second / 100
		for range r.IntN(20) { // ten times as many as the peer's
			l.open(forge(r.IntN(countSpace), g.seq+uint32(r.IntN(4000)), byte(r.Uint32())))
		}
		if l.open(g).Passed() {
			t.Logf("after %d packets of the peer", i)
			return
		}
	}
	t.Error("never found again")
}

// TestIdleSession: between two encrypted packets lie more clear ones than there are counts.
func TestIdleSession(t *testing.T) {
	p := params(128, false)
	ps := stream(t, NewSender(p), 0, 80, 0)
	for _, gap := range []uint32{5000, 100000} {
		l := newLink(t, p)
		l.want(OK, ps[0])
		for seq := uint32(1); seq <= gap; seq++ {
			l.r.NoteClear(seq)
		}
		ahead := ps[79]
		ahead.seq = gap + 79
		l.want(FarJump, ahead)
		next := ps[1]
		next.seq = gap + 1
		l.want(OK, next)
	}
}

// TestStatefulForgery: forged packets neither move a stateful receiver nor make it ask more than now and then.
func TestStatefulForgery(t *testing.T) {
	p := params(128, true)
	l := newLink(t, p)
	resets := 0
	const seconds = 4
	for i, g := range stream(t, NewSender(p), 0, 2000, 0) {
		l.now = int64(i) * seconds * second / 2000
		for j := range 5 {
			f := forge(int(g.seq)+j, g.seq+uint32(j), byte(i))
			if j%2 == 0 {
				f.wire[0] &^= 0x80
			}
			switch v := l.open(f); v {
			case NeedReset:
				resets++
			case OutOfSync, OverBudget, NotFlushed:
			default:
				t.Fatalf("%v", v)
			}
		}
		l.want(OK, g)
	}
	if limit := seconds*20 + 1; resets > limit {
		t.Errorf("%d Reset-Requests, limit %d", resets, limit)
	}
	if limit := uint64(2000/flagEvery + 1 + seconds*KeyBudget); l.x.KeyChanges > limit {
		t.Errorf("%d key changes, limit %d", l.x.KeyChanges, limit)
	}
	if limit := uint64(2*2000 + seconds*KeyBudget); l.x.KeySetups > limit { // the peer's, and as many forged ones in its place
		t.Errorf("%d key setups, limit %d", l.x.KeySetups, limit)
	}
}

// TestOutOfStep: a sender on several cores numbers and encrypts two packets in different order.
func TestOutOfStep(t *testing.T) {
	p := params(128, false)
	ps := stream(t, NewSender(p), 0, 30, 0)
	ps[10].seq, ps[11].seq = ps[11].seq, ps[10].seq
	l := newLink(t, p)
	l.want(OK, ps[:10]...)
	l.want(OK, ps[11], ps[10])
	l.want(OK, ps[12:]...)
}

// TestAskAgain: a stateful receiver that gets no answer asks again four times a second.
func TestAskAgain(t *testing.T) {
	p := params(128, true)
	l := newLink(t, p)
	ps := stream(t, NewSender(p), 0, 201, 0)
	l.want(OK, ps[0])
	resets := 0
	for i, g := range ps[2:] {
		l.now = int64(i) * second / 100
		if l.open(g) == NeedReset {
			resets++
		}
		if l.r.Stateful() {
			t.Fatal("packets should be opened as they come")
		}
	}
	if resets != 8 {
		t.Errorf("%d Reset-Requests in two seconds, want 8", resets)
	}
}

// TestBatch: packets of several sessions in one call.
func TestBatch(t *testing.T) {
	const sessions, rounds = 5, 20
	x := NewScratch()
	var seals []SealOp
	var opens []OpenOp
	bufs := make([]pktbuf.Buf, sessions*rounds)
	senders, receivers := make([]*Sender, sessions), make([]*Receiver, sessions)
	for i := range sessions {
		p := params([]int{128, 56, 40}[i%3], i == 4)
		p.StartKey[0] = byte(i)
		senders[i], receivers[i] = NewSender(p), NewReceiver(p)
	}
	for i := range bufs {
		bufs[i].SetBytes(frame(i))
		seals = append(seals, SealOp{Sender: senders[i%sessions], Buf: &bufs[i]})
		opens = append(opens, OpenOp{Receiver: receivers[i%sessions], Buf: &bufs[i], Seq: uint32(i / sessions), Credible: credible})
	}
	SealBatch(seals, x)
	OpenBatch(opens, 0, x)
	for i := range bufs {
		if !seals[i].OK || opens[i].Verdict != OK || string(bufs[i].Bytes()) != string(frame(i)) {
			t.Errorf("packet %d: sealed %t, %v", i, seals[i].OK, opens[i].Verdict)
		}
	}
}

// TestVerdictString: every verdict has a name of its own.
func TestVerdictString(t *testing.T) {
	names := map[string]bool{}
	for v := Verdict(0); v <= NeedReset; v++ {
		names[v.String()] = true
	}
	if len(names) != int(NeedReset)+1 || (NeedReset+1).String() != "unset" {
		t.Errorf("names %v", names)
	}
}

// TestMarks: forged packets have driven the search far ahead. A position that it has passed is reached from the mark before
// it; one that the marks don't reach any more is sought anew.
func TestMarks(t *testing.T) {
	p := params(128, false)
	ps := stream(t, NewSender(p), 0, 1500, 0)
	for _, tt := range []struct {
		name   string
		driven int // positions
		lost   int
		spend  int // seconds of budget that the first packet behind the loss needs
	}{
		{"passed", 2000, 1000, 1},
		{"passed just now", 2000, 300, 1},
		{"marks overwritten", 8000, 600, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLink(t, p)
			l.want(OK, ps[:10]...)
			for l.r.stateless.frontier < uint64(tt.driven) {
				l.now += second
				if v := l.open(forge(tt.driven+500, uint32(tt.driven+500), 1)); v != OverBudget {
					t.Fatalf("at %d: %v", l.r.stateless.frontier, v)
				}
			}
			rest := ps[10+tt.lost:]
			l.now += second
			for i := 1; i < tt.spend; i++ {
				l.now += second
				l.want(OverBudget, rest[0])
			}
			l.now += second
			before := l.x.KeyChanges
			l.want(FarJump, rest[0])
			if n := l.x.KeyChanges - before; tt.spend == 1 && n >= markEvery {
				t.Errorf("%d key changes, less than %d expected", n, markEvery)
			}
			l.want(Resynced, rest[1])
			l.want(OK, rest[2:]...)
		})
	}
}
