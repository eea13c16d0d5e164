package esp

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"

	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/esphdr"
)

// TestExhausted: sequence numbers end and never start again.
func TestExhausted(t *testing.T) {
	for _, name := range []string{"AES-128-CBC-SHA1", "AES-256-GCM"} {
		for _, esn := range []bool{false, true} {
			p := suiteOf(t, name)
			p.ESN = esn
			last := uint64(math.MaxUint32)
			if esn {
				last = math.MaxUint64
			}
			out, in := outbound(t, p), inbound(t, p)
			out.packets, in.window.top, in.packets = last-2, last-2, last-2
			for range 2 {
				b := bufOf(payloadOf(60, 1))
				if v := out.Seal(b, 17); v != OK {
					t.Fatalf("%s: %v", name, v)
				}
				if _, v := in.Open(b); v != OK {
					t.Fatalf("%s: %v", name, v)
				}
			}
			for range 2 {
				b := bufOf(payloadOf(60, 1))
				if v := out.Seal(b, 17); v != Exhausted || b.Len() != 60 || !out.PastHard() || !out.PastSoft() {
					t.Errorf("%s: after the last number: %v, %d octets", name, v, b.Len())
				}
			}
		}
	}
}

// TestLimits counts octets and packets against the limits of the parameters.
func TestLimits(t *testing.T) {
	base := suiteOf(t, "AES-128-CBC-SHA1")
	const body = 112 // of a payload of 100 octets
	for _, tt := range []struct {
		name       string
		set        func(p *Params)
		soft, hard int // packets after which the limit is reached; 0: never
	}{
		{"none", func(*Params) {}, 0, 0},
		{"packets", func(p *Params) { p.SoftPackets, p.HardPackets = 3, 5 }, 3, 5},
		{"octets", func(p *Params) { p.SoftBytes, p.HardBytes = 2*body, 4*body+1 }, 2, 5},
		{"hard only", func(p *Params) { p.HardPackets = 2 }, 0, 2},
		{"soft only", func(p *Params) { p.SoftBytes = 1 }, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := base
			tt.set(&p)
			out, in := outbound(t, p), inbound(t, p)
			free := outbound(t, base)
			for i := 1; i <= 10; i++ {
				want := OK
				if tt.hard != 0 && i > tt.hard {
					want = Exhausted
				}
				if v := out.Seal(bufOf(payloadOf(100, 1)), 17); v != want {
					t.Errorf("sealing packet %d: %v, want %v", i, v, want)
				}
				b := bufOf(payloadOf(100, 1))
				free.Seal(b, 17)
				if _, v := in.Open(b); v != want {
					t.Errorf("opening packet %d: %v, want %v", i, v, want)
				}
				soft, hard := tt.soft != 0 && i >= tt.soft, tt.hard != 0 && i >= tt.hard
				if out.PastSoft() != soft || in.PastSoft() != soft || out.PastHard() != hard || in.PastHard() != hard {
					t.Errorf("packet %d: out %t %t, in %t %t", i, out.PastSoft(), out.PastHard(), in.PastSoft(), in.PastHard())
				}
			}
		})
	}
	// Without extended numbers there is always a soft limit.
	sa := outbound(t, base)
	for _, c := range []struct {
		packets uint64
		want    bool
	}{{rekeyAt - 1, false}, {rekeyAt, true}} {
		if sa.packets = c.packets; sa.PastSoft() != c.want || sa.PastHard() {
			t.Errorf("after %d packets: %t, %t", c.packets, sa.PastSoft(), sa.PastHard())
		}
	}
}

// TestNoRoom: a payload that fills the buffer stays as it is.
func TestNoRoom(t *testing.T) {
	eachSuite(t, func(t *testing.T, p Params) {
		sa := outbound(t, p)
		front, back := sa.Overhead()
		payload := payloadOf(200, 1)
		for _, tt := range []struct {
			name  string
			setUp func(b *pktbuf.Buf)
			want  Verdict
		}{
			{"just enough in front", func(b *pktbuf.Buf) { b.SetBytes(payload); b.Prepend(b.Front() - front) }, OK},
			{"too little in front", func(b *pktbuf.Buf) { b.SetBytes(payload); b.Prepend(b.Front() - front + 1) }, NoRoom},
			{"enough behind", func(b *pktbuf.Buf) { b.SetBytes(payload); b.Append(b.Back() - back) }, OK},
			{"too little behind", func(b *pktbuf.Buf) { b.SetBytes(payload); b.Append(b.Back() - sa.icv - 1) }, NoRoom},
			{"the longest that is read", func(b *pktbuf.Buf) { b.ReadArea(); b.SetLen(pktbuf.MaxRead) }, OK},
		} {
			var b pktbuf.Buf
			tt.setUp(&b)
			before, packets := append([]byte{}, b.Bytes()...), sa.Packets()
			if v := sa.Seal(&b, 17); v != tt.want {
				t.Errorf("%s: %v, want %v", tt.name, v, tt.want)
			}
			if tt.want == NoRoom && (!bytes.Equal(b.Bytes(), before) || sa.Packets() != packets) {
				t.Errorf("%s: something has changed", tt.name)
			}
		}
		for i := range (back + p.Encryption.Align()) * p.Encryption.Align() {
			var b pktbuf.Buf
			b.SetBytes(payload)
			left := i / p.Encryption.Align()
			b.Append(b.Back() - left)
			b.TrimFront(i % p.Encryption.Align())
			need, want := esphdr.TrailerLen+sa.icv, OK
			for (b.Len()+need-sa.icv)%p.Encryption.Align() != 0 {
				need++
			}
			if left < need {
				want = NoRoom
			}
			if v := sa.Seal(&b, 17); v != want || v == OK && b.Back() != left-need {
				t.Fatalf("with %d octets behind: %v, want %v; %d are left", left, v, want, b.Back())
			}
		}
	})
}

// TestIVs: no two are the same, those of CBC are not a counter, and those of two SAs differ.
func TestIVs(t *testing.T) {
	eachSuite(t, func(t *testing.T, p Params) {
		seen := map[string]bool{}
		a, b := outbound(t, p), outbound(t, p)
		last := byte(0)
		steps := 0
		for i := range 500 {
			for k, sa := range []*Outbound{a, b} {
				if k == 1 && p.Encryption.AEAD() {
					continue // a counter: the key is what differs
				}
				buf := bufOf(payloadOf(60, 0))
				sa.Seal(buf, 17)
				iv := string(buf.Bytes()[8 : 8+sa.iv])
				if seen[iv] {
					t.Fatalf("packet %d: IV %x comes again", i, iv)
				}
				seen[iv] = true
				if k == 0 {
					if iv[len(iv)-1] == last+1 {
						steps++
					}
					last = iv[len(iv)-1]
				}
			}
		}
		if counts := steps > 100; counts != p.Encryption.AEAD() {
			t.Errorf("the IV counted on %d times", steps)
		}
	})
}

func TestParams(t *testing.T) {
	good := suiteOf(t, "AES-128-CBC-SHA1")
	for _, tt := range []struct {
		name string
		set  func(p *Params)
	}{
		{"reserved SPI", func(p *Params) { p.SPI = 255 }},
		{"no encryption", func(p *Params) { p.Encryption = esphdr.EncryptionUnset }},
		{"unknown encryption", func(p *Params) { p.Encryption = 99 }},
		{"no integrity", func(p *Params) { p.Integrity, p.AuthKey = esphdr.IntegrityUnset, nil }},
		{"unknown integrity", func(p *Params) { p.Integrity = 99 }},
		{"short key", func(p *Params) { p.Key = p.Key[:15] }},
		{"no key", func(p *Params) { p.Key = nil }},
		{"long authentication key", func(p *Params) { p.AuthKey = append(p.AuthKey, 0) }},
		{"no authentication key", func(p *Params) { p.AuthKey = nil }},
		{"3DES with a key of AES", func(p *Params) { p.Encryption = esphdr.TripleDES }},
		{"GCM without salt", func(p *Params) { p.Encryption, p.Integrity, p.AuthKey = esphdr.AESGCM16, 0, nil }},
		{"GCM with integrity", func(p *Params) { p.Encryption, p.Key = esphdr.AESGCM16, make([]byte, 20) }},
	} {
		p := good
		p.Key, p.AuthKey = append([]byte{}, p.Key...), append([]byte{}, p.AuthKey...)
		tt.set(&p)
		if sa, err := NewInbound(p); !errors.Is(err, ErrParams) || sa != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if sa, err := NewOutbound(p); !errors.Is(err, ErrParams) || sa != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// octetsLeft counts the numbers but 0 in all arrays and slices below v: where keys and their schedules would be.
func octetsLeft(v reflect.Value) (n int) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			n = octetsLeft(v.Elem())
		}
	case reflect.Struct:
		for _, field := range v.Fields() {
			n += octetsLeft(field)
		}
	case reflect.Array, reflect.Slice:
		for i := range v.Len() {
			switch e := v.Index(i); {
			case !e.CanInt() && !e.CanUint():
				n += octetsLeft(e)
			case !e.IsZero():
				n++
			}
		}
	}
	return n
}

// TestClose: the keys are gone, those of the parameters untouched, and nothing is opened or sealed any more.
func TestClose(t *testing.T) {
	eachSuite(t, func(t *testing.T, p Params) {
		in, out, other := inbound(t, p), outbound(t, p), outbound(t, p)
		b := bufOf(payloadOf(60, 1))
		other.Seal(b, 17)
		if octetsLeft(reflect.ValueOf(&in.crypto)) < len(p.Key) || octetsLeft(reflect.ValueOf(&out.crypto)) < len(p.Key) {
			t.Fatal("no key to be found before") // the test looks in the wrong place
		}
		in.Close()
		out.Close()
		in.Close()
		if _, v := in.Open(b); v != Exhausted {
			t.Errorf("opens: %v", v)
		}
		if v := out.Seal(bufOf(payloadOf(60, 1)), 17); v != Exhausted {
			t.Errorf("seals: %v", v)
		}
		if !in.PastHard() || !out.PastHard() {
			t.Error("closed, but not past its limit")
		}
		for _, c := range []*crypto{&in.crypto, &out.crypto} {
			for name, key := range map[string]any{
				"AES": c.aes, "HMAC": c.hmac, "another HMAC": c.mac, "3DES": c.block, "CBC": c.cbc, "GCM": c.aead, "salt": &c.nonce,
				"seed": &out.seed,
			} {
				if n := octetsLeft(reflect.ValueOf(key)); n > 0 {
					t.Errorf("%d octets of a key are still there: %s", n, name)
				}
			}
		}
		// Another SA with the same keys is not affected.
		b = bufOf(payloadOf(60, 1))
		if v := other.Seal(b, 17); v != OK {
			t.Error(v)
		}
		if _, _, ok := openPlain(p, 2, b.Bytes()); !ok {
			t.Error("another SA has lost its keys")
		}
	})
}
