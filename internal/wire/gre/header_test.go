package gre

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"concentrator/internal/corpus"
)

// headers is the table of the unit test and the seed of the fuzz target.
var headers = []struct {
	name    string
	wire    string
	want    Header
	payload string
	err     error
}{
	{"data with both numbers", "3081880b0003abcd0000000100000002ff03c0", Header{CallID: 0xabcd, PayloadLen: 3, HasSeq: true, HasAck: true, Seq: 1, Ack: 2}, "ff03c0", nil},
	{"data", "3001880b00020001ffffffffff03", Header{CallID: 1, PayloadLen: 2, HasSeq: true, Seq: 0xffffffff}, "ff03", nil},
	{"acknowledgement", "2081880b0000000700000009", Header{CallID: 7, HasAck: true, Ack: 9}, "", nil},
	{"acknowledgement before anything was received", "2081880b00000007ffffffff", Header{CallID: 7, HasAck: true, Ack: 0xffffffff}, "", nil},
	{"neither", "2001880b00000007", Header{CallID: 7}, "", nil},
	{"data of no length", "3001880b0000000100000005", Header{CallID: 1, HasSeq: true, Seq: 5}, "", nil},
	{"padding behind", "3001880b000100010000000521000000", Header{CallID: 1, PayloadLen: 1, HasSeq: true, Seq: 5}, "21", nil},
	{"empty", "", Header{}, "", ErrShort},
	{"seven octets", "2001880b000000", Header{}, "", ErrShort},
	{"cut in the sequence number", "3001880b00000001000000", Header{}, "", ErrShort},
	{"cut in the acknowledgement", "3081880b0000000100000001000000", Header{}, "", ErrShort},
	{"cut in the payload", "3001880b0003000100000001ff03", Header{}, "", ErrShort},
	{"payload length far beyond", "3001880bffff000100000001ff03", Header{}, "", ErrShort},
	{"payload without sequence number", "2001880b00020001ff03", Header{}, "", ErrPayloadWithoutSeq},
	{"version 0", "3000880b0000000100000001", Header{}, "", ErrFlags},
	{"version 2", "3002880b0000000100000001", Header{}, "", ErrFlags},
	{"no key", "1001880b0000000100000001", Header{}, "", ErrFlags},
	{"checksum", "b001880b0000000100000001", Header{}, "", ErrFlags},
	{"routing", "7001880b0000000100000001", Header{}, "", ErrFlags},
	{"strict source route", "3801880b0000000100000001", Header{}, "", ErrFlags},
	{"recursion", "3101880b0000000100000001", Header{}, "", ErrFlags},
	{"reserved flag", "3009880b0000000100000001", Header{}, "", ErrFlags},
	{"another protocol", "300108000000000100000001", Header{}, "", ErrProtocol},
}

func TestParseHeader(t *testing.T) {
	for _, tt := range headers {
		t.Run(tt.name, func(t *testing.T) {
			wire, err := hex.DecodeString(tt.wire)
			if err != nil {
				t.Fatal(err)
			}
			h, payload, err := ParseHeader(wire)
			if !errors.Is(err, tt.err) || h != tt.want || hex.EncodeToString(payload) != tt.payload {
				t.Fatalf("%+v, payload %x, %v; want %+v, %s, %v", h, payload, err, tt.want, tt.payload, tt.err)
			}
			if err != nil {
				return
			}
			out, err := h.AppendBinary([]byte("before"))
			if err != nil || !bytes.Equal(out, append([]byte("before"), wire[:h.Len()]...)) {
				t.Errorf("appended %x, %v; want %x", out, err, wire[:h.Len()])
			}
		})
	}
}

func TestNoAllocation(t *testing.T) {
	b := make([]byte, MaxHeaderLen)
	h := Header{CallID: 1, HasSeq: true, HasAck: true, Seq: 2, Ack: 3}
	if n := testing.AllocsPerRun(1000, func() {
		h.Put(b)
		if _, _, err := ParseHeader(b); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParseHeader(f *testing.F) {
	corpus.Add(f)
	for _, s := range headers {
		wire, err := hex.DecodeString(s.wire)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, payload, err := ParseHeader(b)
		if err != nil {
			return
		}
		out, err := h.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		if out = append(out, payload...); !bytes.HasPrefix(b, out) {
			t.Fatalf("%x is parsed as %+v with %x", b, h, payload)
		}
	})
}

func BenchmarkParseHeader(b *testing.B) {
	wire, err := Header{CallID: 1, HasSeq: true, HasAck: true}.AppendBinary(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := ParseHeader(wire); err != nil {
			b.Fatal(err)
		}
	}
}
