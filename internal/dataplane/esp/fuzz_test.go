package esp

import (
	"bytes"
	"testing"

	"concentrator/internal/corpus"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/esphdr"
)

// fuzzSuites are tried with every input.
var fuzzSuites = []string{"AES-128-CBC-SHA1", "AES-256-CBC-SHA256", "AES-128-GCM", "3DES-CBC-MD5"}

// FuzzInboundOpen gives an SA in the middle of a stream any packet. It must not pass, must not change the SA, and the peer's
// next packet must still be read. SHA2-256 is tried also where the stream has been cut on its way so far, or by the peer.
func FuzzInboundOpen(f *testing.F) {
	corpus.Add(f)
	for i, name := range fuzzSuites {
		p := suiteOf(f, name)
		for _, n := range []int{0, 1, 40} {
			fr := frame{seq: 50, iv: make([]byte, p.Encryption.IVLen()), payload: make([]byte, n), next: 17}
			f.Add(uint8(i), false, fr.seal(p))
		}
		f.Add(uint8(i), true, []byte{0x12, 0x34, 0x56, 0x78, 0, 0, 0, 1})
	}
	f.Add(uint8(0), true, []byte{})
	for _, icvLen := range []int{12, 16} {
		fr := frame{seq: 50, iv: make([]byte, 16), payload: make([]byte, 40), next: 17, icvLen: icvLen}
		f.Add(uint8(len(fuzzSuites)+1), false, fr.seal(suiteOf(f, fuzzSuites[1])))
		f.Add(uint8(2*len(fuzzSuites)+1), false, fr.seal(suiteOf(f, fuzzSuites[1])))
	}
	f.Fuzz(func(t *testing.T, which uint8, esn bool, wire []byte) {
		if len(wire) > pktbuf.MaxRead {
			return
		}
		p := suiteOf(t, fuzzSuites[int(which)%len(fuzzSuites)])
		p.ESN = esn
		iv := make([]byte, p.Encryption.IVLen())
		sa := inbound(t, p)
		var before, after int // the length of the ICV; 0: the algorithm's
		if p.Integrity == esphdr.HMACSHA256_128 {
			switch int(which) / len(fuzzSuites) % 3 {
			case 1: // on its way
				before = esphdr.TruncatedICVLen
			case 2: // by the peer
				before, after = esphdr.TruncatedICVLen, esphdr.TruncatedICVLen
			}
		}
		good := frame{seq: 40, iv: iv, payload: []byte("before"), next: 17, icvLen: before}.seal(p)
		if _, v := sa.Open(bufOf(good)); v != OK {
			t.Fatal(v)
		}
		window, count := sa.window, sa.Bytes()
		switch _, v := sa.Open(bufOf(wire)); v {
		case Malformed, Auth, Replay:
			if sa.window != window || sa.Bytes() != count || sa.Packets() != 40 {
				t.Fatal("a forged packet has changed the SA")
			}
		case OK, Padding, Dummy: // a seed: it was sealed with the key
			seq := uint64(wire[4])<<24 | uint64(wire[5])<<16 | uint64(wire[6])<<8 | uint64(wire[7])
			_, whole := frame{seq: seq}.open(p, wire)
			cut := false
			if before != 0 {
				_, cut = frame{seq: seq, icvLen: before}.open(p, wire)
			}
			if !whole && !cut {
				t.Fatalf("a forged packet passed: %v", v)
			}
			if whole {
				after = 0 // then the peer doesn't cut
			}
		default:
			t.Fatalf("verdict %v", v)
		}
		next := frame{seq: sa.Packets() + 1, iv: iv, payload: []byte("after"), next: 17, icvLen: after}.seal(p)
		b := bufOf(next)
		if _, v := sa.Open(b); v != OK || string(b.Bytes()) != "after" {
			t.Fatalf("the peer's next packet: %v, %q", v, b.Bytes())
		}
	})
}

// FuzzTrailer gives an SA authentic packets with any plaintext: what is left must be a prefix of it, with the padding that
// is described.
func FuzzTrailer(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte{1, 2, 3, 0, 17})
	f.Add([]byte{1, 2, 3, 1, 2, 2, 59})
	f.Add([]byte{255, 17})
	f.Add(bytes.Repeat([]byte{14}, 32))
	p := suiteOf(f, "AES-128-CBC-SHA1")
	f.Fuzz(func(t *testing.T, plain []byte) {
		n := len(plain) / p.Encryption.Align() * p.Encryption.Align()
		if n == 0 || n > 1900 {
			return
		}
		plain = plain[:n]
		b := bufOf(frame{seq: 1, iv: make([]byte, 16), trailer: plain}.seal(p))
		next, v := inbound(t, p).Open(b)
		padding := int(plain[n-2])
		switch v {
		case OK, Dummy:
			if next != plain[n-1] || (v == Dummy) != (next == esphdr.NextHeaderNone) || b.Len() != n-2-padding ||
				!bytes.HasPrefix(plain, b.Bytes()) {
				t.Fatalf("%v, next header %d, %x of %x", v, next, b.Bytes(), plain)
			}
			for i, octet := range plain[b.Len() : n-2] {
				if int(octet) != i+1 {
					t.Fatalf("padding %x", plain[b.Len():n-2])
				}
			}
		case Padding:
		default:
			t.Fatalf("verdict %v", v)
		}
	})
}

// FuzzOpenOrder gives an SA packets in an order that the input chooses, with losses and repetitions. Each is read at most
// once, and right.
func FuzzOpenOrder(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte{0, 1, 2, 3, 2, 1, 0}, uint16(1))
	f.Add([]byte{255, 0, 128, 255}, uint16(64))
	p := suiteOf(f, "AES-128-GCM")
	p.ESN = true
	f.Fuzz(func(t *testing.T, order []byte, stride uint16) {
		sa := inbound(t, p)
		const start = 0x1_ffff8000
		sa.window.top = start
		read := map[uint64]bool{}
		for _, k := range order {
			seq := start + uint64(k)*uint64(stride)
			b := bufOf(frame{seq: seq, iv: make([]byte, 8), payload: []byte{k}, next: 17}.seal(p))
			top := sa.window.top
			switch _, v := sa.Open(b); v {
			case OK:
				if read[seq] || !bytes.Equal(b.Bytes(), []byte{k}) {
					t.Fatalf("packet %#x is read again or wrong: %x", seq, b.Bytes())
				}
				read[seq] = true
			case Replay:
				if !read[seq] && seq != start {
					t.Fatalf("packet %#x is no replay, top %#x", seq, top)
				}
			case Auth: // behind the window its number means another
				if seq+windowSize > top {
					t.Fatalf("packet %#x, top %#x: %v", seq, top, v)
				}
			default:
				t.Fatalf("packet %#x: %v", seq, v)
			}
		}
	})
}
