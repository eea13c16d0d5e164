package esp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"concentrator/internal/corpus"
	"concentrator/internal/dataplane/multibuf"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/esphdr"
)

// pair is an SA of ours, what it must do, and what its peer has sent.
type pair struct {
	name  string
	p     Params
	sa    *Inbound
	model *model
	short bool   // the peer cuts the ICV
	last  uint64 // the highest sequence number that the peer has used
	sent  [][]byte
}

// wireOf is packet number seq of the peer. kind chooses its length.
func (a *pair) wireOf(seq uint64, kind byte) []byte {
	f := frame{
		seq: seq, iv: payloadOf(a.p.Encryption.IVLen(), seq*7), payload: payloadOf(int(kind)*5%1390, seq), next: 17,
	}
	if a.short {
		f.icvLen = esphdr.TruncatedICVLen
	}
	switch kind % 32 {
	case 1:
		f.next = esphdr.NextHeaderNone
	case 2: // no padding of RFC 4303's
		f.payload, f.trailer = f.payload[:len(f.payload)/16*16], append(make([]byte, 14), 9, 17)
	case 3:
		f.payload, f.trailer = nil, append(make([]byte, 14), 255, 17)
	}
	return f.seal(a.p)
}

// packet is what comes next for the SA: op chooses what, arg says how. The peer keeps to the rules only now and then.
func (a *pair) packet(op, arg byte) []byte {
	switch op % 16 {
	case 0: // the one before once more
		if n := len(a.sent); n > 0 {
			return a.sent[n-1]
		}
	case 1: // an old one once more
		if n := len(a.sent); n > 0 {
			return a.sent[n-1-int(arg)%n]
		}
	case 2: // a forgery of the next
		b := a.wireOf(a.last+1, arg)
		b[(4+int(arg)*37)%len(b)] ^= 1 << (arg % 8)
		return b
	case 3: // and of one far ahead
		b := a.wireOf(a.last+1<<20, arg)
		b[len(b)-1] ^= 1
		return b
	case 4: // cut off
		b := a.wireOf(a.last+1, arg)
		return b[:int(arg)*len(b)/256]
	case 5: // with the other ICV: cut on its way, of one that is cut all that there was, or a forgery
		whole := *a
		whole.short = false
		b := whole.wireOf(a.last+1, arg)
		switch {
		case !a.short: // also where nobody cuts
			b = b[:len(b)-esphdr.HMACSHA256_128.ICVLen()+esphdr.TruncatedICVLen]
		case arg < 250:
			b[len(b)-1-int(arg)%4] ^= 1
		}
		return b
	case 6: // late, or very late
		return a.wireOf(a.last-min(a.last, uint64(arg)*16), arg)
	case 7: // after a loss
		a.last += uint64(arg)
	case 8: // after a long one
		a.last += uint64(arg) << 5
	case 9: // far ahead, which may be beyond what a number without its high half can tell
		if a.p.ESN {
			a.last += uint64(arg) << 24
		}
	case 10: // one that was due half the numbers ago, in the window's place of the next subspace
		if a.p.ESN {
			return a.wireOf(a.last+1<<32-uint64(arg)*16, arg)
		}
	case 11: // another SA's
		b := a.wireOf(a.last+1, arg)
		b[arg%4] ^= 0x40
		return b
	}
	a.last++
	b := a.wireOf(a.last, arg)
	a.sent = append(a.sent, b)
	return b
}

// pairsOf are SAs of a few suites each time; the seed chooses their suites, numbers and limits.
func pairsOf(tb testing.TB, seed uint64) []*pair {
	rng := rand.New(rand.NewPCG(seed, 1))
	all := suites()
	var pairs []*pair
	for range 6 {
		s := all[rng.IntN(len(all))]
		if rng.IntN(2) == 0 {
			s.Params = suiteOf(tb, []string{"AES-128-CBC-SHA1", "AES-256-CBC-SHA256"}[rng.IntN(2)])
		}
		a := &pair{name: fmt.Sprintf("%v-%v", s.Encryption, s.Integrity), p: s.Params}
		a.p.SPI += uint32(rng.IntN(3))
		a.p.ESN = rng.IntN(2) == 0
		if rng.IntN(4) == 0 {
			a.p.HardPackets = uint64(rng.IntN(100))
		}
		if rng.IntN(4) == 0 {
			a.p.HardBytes = uint64(rng.IntN(50000))
		}
		a.short = a.p.Integrity == esphdr.HMACSHA256_128 && rng.IntN(2) == 0
		a.sa, a.model = inbound(tb, a.p), newModel(a.p)
		pairs = append(pairs, a)
	}
	return pairs
}

// runBatches gives the pairs what program says, in batches, and compares each with what the model makes of the same
// packets one by one. verdicts counts the verdicts.
func runBatches(t *testing.T, pairs []*pair, program []byte, verdicts *[NoRoom + 1]int) {
	x := NewScratch()
	for len(program) > 0 {
		n := min(len(program)-1, 3*int(program[0]))
		steps := program[1 : 1+n]
		program = program[1+n:]
		var ops []OpenOp
		var of []*pair
		var wires [][]byte
		for ; len(steps) >= 3; steps = steps[3:] {
			a := pairs[int(steps[0])%len(pairs)]
			if steps[0] < 128 {
				a = pairs[0] // packets come in trains
			}
			wire := a.packet(steps[1], steps[2])
			ops, of, wires = append(ops, OpenOp{SA: a.sa, Buf: bufOf(wire), NextHeader: 99}), append(of, a), append(wires, wire)
		}
		OpenBatch(ops, x)
		for i := range ops {
			payload, next, want := of[i].model.open(wires[i])
			got := ops[i]
			verdicts[want]++
			if got.Verdict != want || got.NextHeader != next || want == OK && !bytes.Equal(got.Buf.Bytes(), payload) {
				t.Fatalf("%s, packet %d of %d, %x: %v, next header %d, want %v, %d",
					of[i].name, i, len(ops), wires[i][:min(8, len(wires[i]))], got.Verdict, got.NextHeader, want, next)
			}
			switch want {
			case Malformed, Exhausted, Replay, Auth: // nothing was spent on it: GCM's clears what it refuses
				if !of[i].p.Encryption.AEAD() && !bytes.Equal(got.Buf.Bytes(), wires[i]) {
					t.Fatalf("%s, packet %d of %d: %v, and decrypted", of[i].name, i, len(ops), want)
				}
			}
		}
		for _, a := range pairs {
			sa, m := a.sa, a.model
			if sa.Packets() != m.top || sa.Bytes() != m.octets || sa.PastHard() != m.pastHard() ||
				sa.Form() != m.form {
				t.Fatalf("%s: %#x packets, %d octets, form %d, want %#x, %d, %d",
					a.name, sa.Packets(), sa.Bytes(), sa.Form(), m.top, m.octets, m.form)
			}
		}
		if len(program) > 0 && program[0] == 0 { // once in a while one goes
			a := pairs[len(pairs)-1]
			a.sa.Close()
			a.model.closed = true
		}
		kept := func(j job) bool { return j.packet != nil || j.sum != nil || j.seq != 0 }
		if slices.ContainsFunc(x.jobs[:], kept) || len(x.macs)+len(x.cbcs) != 0 || x.again[0].Key != nil {
			t.Fatal("something of the batch is kept")
		}
	}
}

// TestOpenBatch: a batch gives what its packets would give one by one, whatever they are.
func TestOpenBatch(t *testing.T) {
	var verdicts [NoRoom + 1]int
	for seed := range uint64(16) {
		rng := rand.New(rand.NewPCG(seed, 2))
		program := make([]byte, 2000)
		for i := range program {
			program[i] = byte(rng.Uint32())
		}
		undo := func() {}
		if seed%4 == 0 {
			undo = multibuf.Portable()
		}
		runBatches(t, pairsOf(t, seed), program, &verdicts)
		undo()
	}
	for v := OK; v < NoRoom; v++ {
		if verdicts[v] < 20 {
			t.Errorf("only %d packets were %v", verdicts[v], v)
		}
	}
}

// FuzzOpenBatch is the same with programs of the fuzzer's.
func FuzzOpenBatch(f *testing.F) {
	corpus.Add(f)
	f.Add(uint64(1), []byte{4, 0, 15, 9, 0, 0, 0, 0, 2, 7, 0, 15, 1})
	f.Add(uint64(3), []byte{36, 0, 5, 1, 1, 5, 1, 2, 5, 1, 3, 5, 1, 0, 15, 1, 1, 15, 1, 2, 15, 1, 3, 15, 1, 0, 5, 251, 1, 5, 251})
	f.Add(uint64(2), []byte{2, 0, 15, 9, 200, 9, 100, 0, 3, 0, 15, 3, 0, 5, 3, 0, 5, 4})
	f.Fuzz(func(t *testing.T, seed uint64, program []byte) {
		var verdicts [NoRoom + 1]int
		runBatches(t, pairsOf(t, seed), program[:min(len(program), 1000)], &verdicts)
	})
}

// TestBatchOfOneSA: what one packet of a batch does to its SA counts for the next.
func TestBatchOfOneSA(t *testing.T) {
	type packet struct {
		seq    uint64
		icvLen int  // 0: the algorithm's
		forged bool // one bit is wrong
		want   Verdict
	}
	const subspace = 1 << 32
	for _, tt := range []struct {
		name    string
		set     func(p *Params)
		top     uint64 // seen before; 0: nothing
		packets []packet
	}{
		{"a duplicate", nil, 0, []packet{{1, 0, false, OK}, {1, 0, false, Replay}, {2, 0, false, OK}, {1, 0, false, Replay}}},
		{"a duplicate of a forgery", nil, 0, []packet{{1, 0, true, Auth}, {1, 0, false, OK}, {1, 0, true, Replay}}},
		{"out of the window", nil, 0, []packet{{windowSize + 5, 0, false, OK}, {5, 0, false, Replay}, {6, 0, false, OK}}},
		{"a forgery doesn't move the window", nil, 0, []packet{{1 << 30, 0, true, Auth}, {1, 0, false, OK}}},
		{"packets come to an end", func(p *Params) { p.HardPackets = 3 }, 1, []packet{
			{2, 0, false, OK}, {3, 0, true, Auth}, {3, 0, false, OK}, {4, 0, false, Exhausted}, {3, 0, false, Exhausted},
		}},
		{"octets come to an end", func(p *Params) { p.HardBytes = 2 * 112 }, 0, []packet{
			{1, 0, false, OK}, {1, 0, false, Replay}, {2, 0, true, Auth}, {2, 0, false, OK}, {3, 0, false, Exhausted},
		}},
		{"the ICV is cut", nil, 0, []packet{
			{1, 16, true, Auth},
			{1, 12, true, Auth},
			{1, 12, false, OK},
			{2, 16, true, Auth},
			{2, 12, false, OK},
			{2, 16, false, Replay},
			{3, 12, false, OK},
		}},
		{"the ICV was cut on its way", nil, 0, []packet{
			{1, 12, false, OK},
			{2, 12, false, OK},
			{3, 16, false, OK},
			{4, 12, false, Malformed},
			{3, 12, false, Malformed},
			{4, 16, true, Auth},
			{5, 12, true, Malformed},
			{4, 16, false, OK},
		}},
		{"the ICV is whole", nil, 0, []packet{
			{1, 12, true, Auth}, {1, 16, false, OK}, {2, 12, false, Malformed}, {1, 12, false, Malformed}, {2, 16, false, OK},
		}},
		{"another number when its turn has come", func(p *Params) { p.ESN = true }, 5000, []packet{
			{10000, 0, false, OK}, {subspace + 9000, 0, false, Auth}, // it is taken for 9000
			{20000, 0, false, OK}, {subspace + 11000, 0, false, OK}, {subspace + 11000, 0, false, Replay},
		}},
		{"its number was another", func(p *Params) { p.ESN = true }, 5000, []packet{
			{20000, 0, false, OK}, {10000, 0, false, Auth},
		}},
		{"no replay any more when its turn has come", func(p *Params) { p.ESN = true }, 5000, []packet{
			{20000, 0, false, OK}, {subspace + 5000, 0, false, OK}, {20000, 0, false, Auth}, // taken for the next subspace's
		}},
		{"across subspaces", func(p *Params) { p.ESN = true }, subspace - 3, []packet{
			{subspace - 1, 0, false, OK},
			{subspace, 0, false, OK},
			{subspace + 1, 0, false, OK},
			{subspace - 2, 0, false, OK},
			{subspace - 1, 0, false, Replay},
			{subspace, 0, false, Replay},
			{subspace + windowSize, 0, false, OK},
			{subspace + 2, 0, false, OK},
			{subspace + windowSize + 1, 0, false, OK},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := suiteOf(t, "AES-128-CBC-SHA256")
			if tt.set != nil {
				tt.set(&p)
			}
			wireOf := func(seq uint64, icvLen int) []byte {
				return frame{seq: seq, iv: make([]byte, 16), payload: payloadOf(100, seq), next: 17, icvLen: icvLen}.seal(p)
			}
			sa, one := inbound(t, p), inbound(t, p)
			if tt.top != 0 {
				for _, sa := range []*Inbound{sa, one} {
					sa.window.accept(tt.top)
					sa.packets = tt.top
				}
			}
			var ops []OpenOp
			for _, k := range tt.packets {
				wire := wireOf(k.seq, k.icvLen)
				if k.forged {
					wire[len(wire)-1] ^= 1
				}
				ops = append(ops, OpenOp{SA: sa, Buf: bufOf(wire)})
				if _, v := one.Open(bufOf(wire)); v != k.want {
					t.Errorf("number %#x, alone: %v, want %v", k.seq, v, k.want)
				}
			}
			OpenBatch(ops, NewScratch())
			for i, k := range tt.packets {
				if ops[i].Verdict != k.want {
					t.Errorf("packet %d, number %#x: %v, want %v", i, k.seq, ops[i].Verdict, k.want)
				}
				if k.want == OK && !bytes.Equal(ops[i].Buf.Bytes(), payloadOf(100, k.seq)) {
					t.Errorf("packet %d, number %#x: %x", i, k.seq, ops[i].Buf.Bytes())
				}
			}
			if sa.window != one.window || sa.limits != one.limits || sa.form != one.form || sa.mayCut != one.mayCut {
				t.Error("the SA is not the same as after the packets one by one")
			}
		})
	}
}

// TestSealBatch seals batches of any SAs and lengths: each packet must be the next of its SA, or have found no room or an
// SA that is used up, and then nothing may have changed. The plain implementation reads them.
func TestSealBatch(t *testing.T) {
	all := suites()
	rng := rand.New(rand.NewPCG(3, 3))
	type sender struct {
		p              Params
		sa             *Outbound
		packets, bytes uint64
		ivs            map[string]bool
		icvLen         int
	}
	var verdicts [NoRoom + 1]int
	x := NewScratch()
	for range 12 {
		var senders []*sender
		for range 5 {
			s := &sender{p: all[rng.IntN(len(all))].Params, ivs: map[string]bool{}}
			s.p.ESN = rng.IntN(2) == 0
			if s.p.HardBytes = 0; rng.IntN(3) == 0 {
				s.p.HardBytes = uint64(rng.IntN(100000))
			}
			if rng.IntN(3) == 0 {
				s.p.HardPackets = uint64(rng.IntN(200))
			}
			s.sa, s.icvLen = outbound(t, s.p), esphdr.ICVLen(s.p.Encryption, s.p.Integrity)
			if rng.IntN(4) == 0 { // near the end of what is sent of a number
				s.packets = 1<<32 - 1 - uint64(rng.IntN(100))
				s.sa.packets = s.packets
			}
			senders = append(senders, s)
		}
		for range 4 {
			var ops []SealOp
			var of []*sender
			var before []*pktbuf.Buf
			for range rng.IntN(200) {
				s := senders[min(rng.IntN(len(senders)), rng.IntN(len(senders)))]
				b := bufOf(payloadOf(rng.IntN(1500), rng.Uint64()))
				if rng.IntN(10) == 0 {
					b.Append(b.Back() - rng.IntN(60))
				}
				kept := &pktbuf.Buf{}
				kept.CopyFrom(b)
				ops = append(ops, SealOp{SA: s.sa, Buf: b, NextHeader: uint8(rng.Uint32())})
				of, before = append(of, s), append(before, kept)
			}
			SealBatch(ops, x)
			for i, op := range ops {
				s, plain := of[i], before[i]
				align := s.p.Encryption.Align()
				body := (plain.Len() + 2 + align - 1) / align * align
				want := OK
				switch {
				case s.p.HardPackets != 0 && s.packets >= s.p.HardPackets, s.p.HardBytes != 0 && s.bytes >= s.p.HardBytes,
					!s.p.ESN && s.packets == 1<<32-1:
					want = Exhausted
				case plain.Back() < body-plain.Len()+s.icvLen:
					want = NoRoom
				}
				verdicts[want]++
				if op.Verdict != want {
					t.Fatalf("packet %d: %v, want %v", i, op.Verdict, want)
				}
				if want != OK {
					if op.Buf.Front() != plain.Front() || !bytes.Equal(op.Buf.Bytes(), plain.Bytes()) {
						t.Fatalf("packet %d: %v, and something has changed", i, want)
					}
					continue
				}
				s.packets++
				s.bytes += uint64(body)
				wire, f := op.Buf.Bytes(), frame{seq: s.packets, icvLen: s.icvLen}
				h, err := esphdr.ParseHeader(wire)
				if err != nil || h.SPI != s.p.SPI || h.Seq != uint32(s.packets) || len(wire) != 8+s.sa.iv+body+s.icvLen {
					t.Fatalf("packet %d: %+v, %v, %d octets", i, h, err, len(wire))
				}
				got, ok := f.open(s.p, wire)
				if !ok || !bytes.Equal(got[:plain.Len()], plain.Bytes()) || got[body-1] != op.NextHeader ||
					int(got[body-2]) != body-2-plain.Len() {
					t.Fatalf("packet %d: %t, %x", i, ok, got)
				}
				if iv := string(wire[8 : 8+s.sa.iv]); s.ivs[iv] {
					t.Fatalf("packet %d: IV %x comes again", i, iv)
				} else {
					s.ivs[iv] = true
				}
			}
			for i, s := range senders {
				if s.sa.Packets() != s.packets || s.sa.Bytes() != s.bytes {
					t.Fatalf("SA %d: %d packets, %d octets, want %d, %d", i, s.sa.Packets(), s.sa.Bytes(), s.packets, s.bytes)
				}
				if s.p.Integrity == esphdr.HMACSHA256_128 && rng.IntN(3) == 0 {
					if s.icvLen == esphdr.TruncatedICVLen {
						s.sa.Restore()
						s.icvLen = 16
						continue
					}
					s.sa.Truncate()
					s.icvLen = esphdr.TruncatedICVLen
				}
			}
		}
	}
	for _, v := range []Verdict{OK, Exhausted, NoRoom} {
		if verdicts[v] < 20 {
			t.Errorf("only %d packets were %v", verdicts[v], v)
		}
	}
}

// TestBatchAlone: Seal makes what SealBatch makes.
func TestBatchAlone(t *testing.T) {
	eachSuite(t, func(t *testing.T, p Params) {
		a := outbound(t, p)
		b := *a // the keys of the standard library's modes have no state but the last IV
		var ops []SealOp
		for i := range 2*stage + 3 {
			b := bufOf(bytes.Repeat([]byte{0xa5}, pktbuf.MaxRead)) // what was there before doesn't matter
			b.SetBytes(payloadOf(i*9, 1))
			copy(b.Prepend(100), bytes.Repeat([]byte{0x5a}, 100))
			b.TrimFront(100)
			ops = append(ops, SealOp{SA: a, Buf: b, NextHeader: uint8(i)})
		}
		SealBatch(ops, NewScratch())
		for i, op := range ops {
			alone := bufOf(payloadOf(i*9, 1))
			if v := b.Seal(alone, uint8(i)); v != OK || op.Verdict != OK || !bytes.Equal(alone.Bytes(), op.Buf.Bytes()) {
				t.Fatalf("packet %d: %v and %v\n%x\n%x", i, v, op.Verdict, alone.Bytes(), op.Buf.Bytes())
			}
		}
	})
}
