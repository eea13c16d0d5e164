package esp

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"testing"
	"time"

	"concentrator/internal/dataplane/pktbuf"
)

const benchSize = 1400

// benchSuites are those that matter.
var benchSuites = []string{
	"AES-128-CBC-SHA1", "AES-256-CBC-SHA1", "AES-128-CBC-SHA256", "AES-256-CBC-SHA256", "AES-128-GCM", "AES-256-GCM",
	"3DES-CBC-SHA1",
}

// bare is the cryptography of one packet and nothing else, by the standard library, without an allocation: what Seal and
// Open take beyond it is ours.
type bare struct {
	p      Params
	block  cipher.Block
	enc    cbcMode
	dec    cbcMode
	aead   cipher.AEAD
	nonce  []byte
	sum    []byte
	packet []byte // header, IV, ciphertext, ICV
	sealed []byte // a good one, for aead.Open
}

func newBare(p Params) *bare {
	x := &bare{p: p, block: plainBlock(p), sum: make([]byte, 0, 64)}
	body := (benchSize + 2 + p.Encryption.Align() - 1) / p.Encryption.Align() * p.Encryption.Align()
	x.packet = make([]byte, 8+p.Encryption.IVLen()+body+32)[:8+p.Encryption.IVLen()+body]
	rand.Read(x.packet)
	if p.Encryption.AEAD() {
		x.aead, x.nonce = must(cipher.NewGCM(x.block)), make([]byte, 12)
		x.sealed = x.aead.Seal(nil, x.nonce, x.packet[16:], x.packet[:8])
		return x
	}
	iv := make([]byte, x.block.BlockSize())
	x.enc, _ = cipher.NewCBCEncrypter(x.block, iv).(cbcMode)
	x.dec, _ = cipher.NewCBCDecrypter(x.block, iv).(cbcMode)
	return x
}

// operations are sealing and opening, as one closure each: the caller's loop must not look it up again.
func (x *bare) operations() (seal, open func()) {
	head, body := x.packet[:8], x.packet[8+x.p.Encryption.IVLen():]
	if x.aead != nil {
		out := make([]byte, 0, len(x.sealed))
		return func() { x.aead.Seal(body[:0], x.nonce, body, head) },
			func() {
				if _, err := x.aead.Open(out, x.nonce, x.sealed, head); err != nil {
					panic(err)
				}
			}
	}
	iv := x.packet[8 : 8+x.p.Encryption.IVLen()]
	mac := hmac.New(plainHash(x.p.Integrity), x.p.AuthKey)
	mac.Reset()
	sum := func() {
		mac.Reset()
		mac.Write(x.packet)
		x.sum = mac.Sum(x.sum[:0])
	}
	return func() { x.enc.SetIV(iv); x.enc.CryptBlocks(body, body); sum() },
		func() { sum(); x.dec.SetIV(iv); x.dec.CryptBlocks(body, body) }
}

// rated reports the time of the benchmark's loop as a ratio to that of the bare cryptography, measured in slices in between:
// the machine's moods then hit both.
func rated(b *testing.B, ours, bare func()) {
	b.Helper()
	const slice = 64
	var oursTime, bareTime time.Duration
	n := 0
	measure := func(f func()) time.Duration {
		start := time.Now()
		for range slice {
			f()
		}
		return time.Since(start)
	}
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		ours()
		if n++; n%slice == 0 {
			b.StopTimer()
			oursTime += measure(ours)
			bareTime += measure(bare)
			b.StartTimer()
		}
	}
	if bareTime > 0 {
		b.ReportMetric(float64(oursTime)/float64(bareTime), "x-crypto")
	}
}

func BenchmarkCrypto(b *testing.B) {
	for _, name := range benchSuites {
		seal, open := newBare(suiteOf(b, name)).operations()
		for direction, f := range map[string]func(){"Seal": seal, "Open": open} {
			b.Run(direction+"/"+name+"/1400B", func(b *testing.B) {
				b.SetBytes(benchSize)
				b.ReportAllocs()
				for b.Loop() {
					f()
				}
			})
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, name := range benchSuites {
		b.Run(name+"/1400B", func(b *testing.B) {
			p := suiteOf(b, name)
			sa, plain := outbound(b, p), payloadOf(benchSize, 1)
			var buf pktbuf.Buf
			buf.SetBytes(plain)
			bare, _ := newBare(p).operations()
			rated(b, func() {
				buf.Reset()
				buf.SetLen(benchSize)
				if sa.Seal(&buf, 17) != OK {
					b.Fatal("can't seal")
				}
			}, bare)
		})
	}
}

// BenchmarkOpen opens one packet again and again: its window is taken back each time. The copy of the packet counts too.
func BenchmarkOpen(b *testing.B) {
	for _, name := range benchSuites {
		b.Run(name+"/1400B", func(b *testing.B) {
			p := suiteOf(b, name)
			out, in := outbound(b, p), inbound(b, p)
			var wire, buf pktbuf.Buf
			wire.SetBytes(payloadOf(benchSize, 1))
			out.Seal(&wire, 17)
			_, bare := newBare(p).operations()
			rated(b, func() {
				buf.CopyFrom(&wire)
				in.window.top, in.window.seen[0] = 0, 0
				if _, v := in.Open(&buf); v != OK {
					b.Fatal(v)
				}
			}, bare)
		})
	}
}

// BenchmarkOpenForged is what a packet costs that somebody else sent.
func BenchmarkOpenForged(b *testing.B) {
	for _, name := range []string{"AES-128-CBC-SHA1", "AES-128-GCM"} {
		b.Run(name+"/1400B", func(b *testing.B) {
			p := suiteOf(b, name)
			in := inbound(b, p)
			var wire, buf pktbuf.Buf
			wire.SetBytes(payloadOf(benchSize, 1))
			outbound(b, p).Seal(&wire, 17)
			wire.Bytes()[wire.Len()-1] ^= 1
			b.SetBytes(benchSize)
			b.ReportAllocs()
			for b.Loop() {
				buf.CopyFrom(&wire)
				if _, v := in.Open(&buf); v != Auth {
					b.Fatal(v)
				}
			}
		})
	}
}
