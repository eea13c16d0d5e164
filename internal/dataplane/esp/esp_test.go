package esp

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/esphdr"
)

// TestAgainstPlain seals and opens payloads of many lengths with every suite, against the plain implementation.
func TestAgainstPlain(t *testing.T) {
	eachSuite(t, func(t *testing.T, p Params) {
		out, in := outbound(t, p), inbound(t, p)
		fromPlain := inbound(t, p)
		seq := uint64(0)
		for n := range 70 {
			if n > 40 {
				n = n*20 + n
			}
			seq++
			payload := payloadOf(n, seq)
			b := bufOf(payload)
			if v := out.Seal(b, 17); v != OK {
				t.Fatal(v)
			}
			wire := append([]byte{}, b.Bytes()...)
			if h, err := esphdr.ParseHeader(wire); err != nil || h.SPI != testSPI || h.Seq != uint32(seq) {
				t.Fatalf("header %+v, %v", h, err)
			}
			got, next, ok := openPlain(p, seq, wire)
			if !ok || next != 17 || !bytes.Equal(got, payload) {
				t.Fatalf("%d octets: the plain one reads %t, %d, %x", n, ok, next, got)
			}
			if next, v := in.Open(b); v != OK || next != 17 || !bytes.Equal(b.Bytes(), payload) {
				t.Fatalf("%d octets: %v, %d, %x", n, v, next, b.Bytes())
			}
			b = bufOf(frame{seq: seq, iv: payloadOf(p.Encryption.IVLen(), seq), payload: payload, next: 50}.seal(p))
			if next, v := fromPlain.Open(b); v != OK || next != 50 || !bytes.Equal(b.Bytes(), payload) {
				t.Fatalf("%d octets from the plain one: %v, %d, %x", n, v, next, b.Bytes())
			}
		}
		if out.Packets() != seq || in.Packets() != seq || out.Bytes() != in.Bytes() || in.Bytes() < 70*35 {
			t.Errorf("%d and %d packets, %d and %d octets", out.Packets(), in.Packets(), out.Bytes(), in.Bytes())
		}
	})
}

// TestOpenOrder is RFC 4303 section 3.4: what is wrong with a packet is found in this order, and a packet that isn't
// authentic changes nothing.
func TestOpenOrder(t *testing.T) {
	eachSuite(t, func(t *testing.T, p Params) {
		iv := payloadOf(p.Encryption.IVLen(), 9)
		good := func(seq uint64) []byte { return frame{seq: seq, iv: iv, payload: payloadOf(50, seq), next: 17}.seal(p) }
		sa := inbound(t, p)
		open := func(b []byte, want Verdict) {
			t.Helper()
			if _, v := sa.Open(bufOf(b)); v != want {
				t.Errorf("%v, want %v", v, want)
			}
		}
		flipped := func(b []byte, i int) []byte {
			b = append([]byte{}, b...)
			b[(i+len(b))%len(b)] ^= 0x10
			return b
		}
		open(good(100), OK)
		before, bytesBefore := sa.window, sa.Bytes()
		for i := range good(200) {
			want := Auth
			if i < 4 {
				want = Malformed // another SPI
			}
			if !p.ESN && i == 7 {
				continue // 200 becomes 216: still ICV
			}
			open(flipped(good(200), i), want)
		}
		open(flipped(good(100), -1), Replay) // before the ICV
		open(good(100), Replay)
		if !p.ESN {
			open(good(0), Replay)
		}
		if sa.window != before || sa.Bytes() != bytesBefore {
			t.Error("a bad packet has changed the SA")
		}
		open(good(99), OK)
		open(good(100+3*windowSize), OK)
		if p.ESN {
			open(good(99), Auth) // the number means one of the next subspace
		} else {
			open(good(99), Replay)
		}
		next := good(101 + 3*windowSize)
		for _, n := range []int{0, 1, 7, 8, 8 + sa.iv, 8 + sa.iv + sa.icv} {
			open(next[:n], Malformed)
		}
		if p.Encryption.Align() > 4 {
			open(next[:len(next)-4], Malformed)
		} else {
			open(next[:len(next)-4], Auth)
		}
		open(next, OK)
	})
}

// TestPadding opens authentic packets with trailers of all kinds.
func TestPadding(t *testing.T) {
	for _, name := range []string{"AES-128-CBC-SHA1", "AES-128-GCM", "3DES-CBC-SHA1"} {
		p := suiteOf(t, name)
		for _, tt := range []struct {
			name    string
			body    int // octets before the trailer
			trailer []byte
			want    Verdict
			payload int
		}{
			{"none", 30, []byte{0, 17}, OK, 30},
			{"the least", 29, []byte{1, 1, 17}, OK, 29},
			{"more than needed", 12, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 18, 17}, OK, 12},
			{"all of it", 0, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 14, 17}, OK, 0},
			{"beyond", 0, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17}, Padding, 0},
			{"far beyond", 30, []byte{255, 17}, Padding, 0},
			{"zeros", 28, []byte{0, 0, 2, 17}, Padding, 0},
			{"one wrong", 26, []byte{1, 2, 4, 4, 4, 17}, Padding, 0},
			{"the first wrong", 26, []byte{0, 2, 3, 4, 4, 17}, Padding, 0},
			{"a dummy", 28, []byte{1, 2, 2, 59}, Dummy, 28},
		} {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				sa := inbound(t, p)
				iv := payloadOf(p.Encryption.IVLen(), 1)
				wire := frame{seq: 5, iv: iv, payload: payloadOf(tt.body, 2), trailer: tt.trailer}.seal(p)
				b := bufOf(wire)
				next, v := sa.Open(b)
				if v != tt.want {
					t.Fatalf("%v, want %v", v, tt.want)
				}
				if v == OK && (next != 17 || !bytes.Equal(b.Bytes(), payloadOf(tt.body, 2)[:tt.payload])) {
					t.Errorf("next header %d, payload %x", next, b.Bytes())
				}
				if sa.window.top != 5 {
					t.Error("an authentic packet does not move the window")
				}
				if _, v := sa.Open(bufOf(wire)); v != Replay {
					t.Errorf("once more: %v", v)
				}
			})
		}
	}
}

// TestLongestPadding: 255 octets of padding are legal with any cipher.
func TestLongestPadding(t *testing.T) {
	p := suiteOf(t, "AES-256-CBC-SHA256")
	trailer := make([]byte, 257)
	for i := range 255 {
		trailer[i] = byte(i + 1)
	}
	trailer[255], trailer[256] = 255, 17
	b := bufOf(frame{seq: 1, iv: make([]byte, 16), payload: payloadOf(15, 1), trailer: trailer}.seal(p))
	if next, v := inbound(t, p).Open(b); v != OK || next != 17 || b.Len() != 15 {
		t.Errorf("%v, %d, %d octets", v, next, b.Len())
	}
}

// TestTruncated is HMAC-SHA2-256 cut to 96 bits: found out by good packets, and only as long as none comes that is whole.
func TestTruncated(t *testing.T) {
	for _, name := range []string{"AES-128-CBC-SHA256", "3DES-CBC-SHA256"} {
		t.Run(name, func(t *testing.T) {
			p := suiteOf(t, name)
			packet := func(seq uint64, icvLen int) *pktbuf.Buf {
				return bufOf(frame{
					seq: seq, iv: payloadOf(p.Encryption.IVLen(), seq), payload: payloadOf(77, seq), next: 17, icvLen: icvLen,
				}.seal(p))
			}
			open := func(sa *Inbound, b *pktbuf.Buf, want Verdict, form Form) {
				t.Helper()
				if _, v := sa.Open(b); v != want || sa.Form() != form {
					t.Errorf("%v, want %v; form %d, want %d", v, want, sa.Form(), form)
				}
			}
			forged := func(seq uint64, icvLen int) *pktbuf.Buf {
				b := packet(seq, icvLen)
				b.Bytes()[b.Len()-1] ^= 1
				return b
			}
			short := inbound(t, p)
			open(short, forged(1, 12), Auth, FormUnknown) // proves nothing
			open(short, forged(1, 16), Auth, FormUnknown)
			open(short, packet(1, 12), OK, FormCut)
			open(short, packet(1, 12), Replay, FormCut)
			open(short, forged(2, 16), Auth, FormCut) // with octets of somebody's behind what is cut
			open(short, packet(2, 12), OK, FormCut)

			full := inbound(t, p)
			open(full, packet(1, 16), OK, FormWhole)
			open(full, packet(2, 12), Malformed, FormWhole)
			open(full, packet(2, 16), OK, FormWhole)

			out := outbound(t, p)
			out.Truncate()
			for seq := range uint64(3) {
				b := bufOf(payloadOf(77, seq))
				if v := out.Seal(b, 17); v != OK {
					t.Fatal(v)
				}
				open(short, packet(3+seq, 12), OK, FormCut)
				cut := p
				wire := b.Bytes()
				f := frame{seq: seq + 1, icvLen: 12}
				if !bytes.Equal(f.icv(cut, wire[:len(wire)-12]), wire[len(wire)-12:]) {
					t.Error("the cut ICV is wrong")
				}
			}
			out.Restore()
			b := bufOf(payloadOf(77, 1))
			if v := out.Seal(b, 17); v != OK {
				t.Fatal(v)
			}
			if _, _, ok := openPlain(p, 4, b.Bytes()); !ok {
				t.Error("the ICV is not whole again")
			}
		})
	}
	// Nobody else is affected.
	p := suiteOf(t, "AES-128-CBC-SHA384")
	out := outbound(t, p)
	for seq, change := range []func(){out.Truncate, out.Restore} {
		change()
		b := bufOf(payloadOf(77, 1))
		if v := out.Seal(b, 17); v != OK {
			t.Fatal(v)
		}
		if _, _, ok := openPlain(p, uint64(seq+1), b.Bytes()); !ok {
			t.Error("SHA-384 was cut")
		}
	}
	for _, icvLen := range []int{12, 16} {
		sa := inbound(t, p)
		wire := frame{seq: 1, iv: make([]byte, 16), payload: payloadOf(77, 1), next: 17, icvLen: icvLen}.seal(p)
		if _, v := sa.Open(bufOf(wire)); v != Malformed || sa.Form() != FormUnknown {
			t.Errorf("SHA-384 cut to %d octets: %v", icvLen, v)
		}
	}
}

// TestESN crosses a subspace, with loss, and opens what comes late from the one before.
func TestESN(t *testing.T) {
	for _, name := range []string{"AES-128-CBC-SHA1", "AES-256-GCM"} {
		t.Run(name, func(t *testing.T) {
			p := suiteOf(t, name)
			p.ESN = true
			in, out := inbound(t, p), outbound(t, p)
			in.window.top, out.packets = 0x1_fffffff0, 0x1_fffffff0
			var late *pktbuf.Buf
			for i := range 100 {
				b := bufOf(payloadOf(60, uint64(i)))
				if v := out.Seal(b, 17); v != OK {
					t.Fatal(v)
				}
				switch {
				case i == 7:
					late = b
				case i%3 != 0:
					if _, v := in.Open(b); v != OK || !bytes.Equal(b.Bytes(), payloadOf(60, uint64(i))) {
						t.Fatalf("packet %d: %v", i, v)
					}
				}
			}
			if in.Packets()>>32 != 2 || out.Packets() != in.Packets()+1 {
				t.Errorf("%#x and %#x", in.Packets(), out.Packets())
			}
			if _, v := in.Open(late); v != OK {
				t.Errorf("the late one: %v", v)
			}
			// Without extended numbers the other end can't read it.
			p.ESN = false
			b := bufOf(payloadOf(60, 1))
			out.Seal(b, 17)
			if _, v := inbound(t, p).Open(b); v != Auth {
				t.Errorf("without extended numbers: %v", v)
			}
		})
	}
}

// TestBatch opens and seals packets of all suites in one call, some of them bad.
func TestBatch(t *testing.T) {
	var seals []SealOp
	var opens []OpenOp
	for i, s := range suites() {
		for k := range 4 {
			if k == 0 {
				seals = append(seals, SealOp{SA: outbound(t, s.Params)})
				opens = append(opens, OpenOp{SA: inbound(t, s.Params)})
			} else {
				seals, opens = append(seals, seals[len(seals)-1]), append(opens, opens[len(opens)-1])
			}
			seals[len(seals)-1].Buf, seals[len(seals)-1].NextHeader = bufOf(payloadOf(10*i, uint64(k))), uint8(17+k)
		}
	}
	x := NewScratch()
	SealBatch(seals, x)
	for i := range seals {
		if seals[i].Verdict != OK {
			t.Fatal(seals[i].Verdict)
		}
		opens[i].Buf = seals[i].Buf
		if i%4 == 2 {
			opens[i].Buf.Bytes()[30] ^= 1
		}
	}
	OpenBatch(opens, x)
	for i := range opens {
		want := OpenOp{SA: opens[i].SA, Buf: opens[i].Buf, NextHeader: uint8(17 + i%4), Verdict: OK}
		if i%4 == 2 {
			want.NextHeader, want.Verdict = 0, Auth
		}
		if opens[i] != want {
			t.Errorf("packet %d: %d, %v", i, opens[i].NextHeader, opens[i].Verdict)
		}
		if want.Verdict == OK && !bytes.Equal(opens[i].Buf.Bytes(), payloadOf(10*(i/4), uint64(i%4))) {
			t.Errorf("packet %d: %x", i, opens[i].Buf.Bytes())
		}
	}
}

// TestLossAndDisorder sends through a link that loses, repeats and reorders: each packet is read at most once, and right,
// and none within the window is lost.
func TestLossAndDisorder(t *testing.T) {
	for _, name := range []string{"AES-128-CBC-SHA1", "AES-128-GCM"} {
		p := suiteOf(t, name)
		out, in := outbound(t, p), inbound(t, p)
		rng := rand.New(rand.NewPCG(5, 5))
		var wires [][]byte
		for i := range 2000 {
			b := bufOf(payloadOf(40, uint64(i)))
			out.Seal(b, 17)
			wires = append(wires, append([]byte{}, b.Bytes()...))
		}
		read := map[int]int{}
		for i := range wires {
			for _, k := range []int{i, i - rng.IntN(900), i - rng.IntN(50)} {
				if k < 0 || i%7 == 3 && k == i {
					continue
				}
				b := bufOf(wires[k])
				switch _, v := in.Open(b); v {
				case OK:
					read[k]++
					if !bytes.Equal(b.Bytes(), payloadOf(40, uint64(k))) {
						t.Fatalf("packet %d: %x", k, b.Bytes())
					}
				case Replay:
					if read[k] == 0 {
						t.Fatalf("packet %d is a replay, but was never read", k)
					}
				default:
					t.Fatalf("packet %d: %v", k, v)
				}
			}
		}
		for k, n := range read {
			if n != 1 {
				t.Errorf("packet %d was read %d times", k, n)
			}
		}
	}
}

func TestVerdictNames(t *testing.T) {
	seen := map[string]bool{}
	for v := Verdict(0); v <= NoRoom; v++ {
		if s := v.String(); s == "" || seen[s] {
			t.Errorf("verdict %d is %q", v, s)
		}
		seen[v.String()] = true
	}
}
