// Package capturetest is for tests: it reads what package capture writes.
package capturetest

import (
	"encoding/binary"
	"testing"
	"time"

	"concentrator/internal/dataplane/capture"
)

// Packet is one record of a file.
type Packet struct {
	Time time.Time
	Size int    // octets of the whole packet
	Data []byte // what was kept of it
}

// Records reads records, which must be whole.
func Records(t testing.TB, b []byte) (out []Packet) {
	t.Helper()
	for len(b) > 0 {
		if len(b) < capture.RecordHeaderLen {
			t.Fatalf("%d octets behind the last record", len(b))
		}
		u := func(i int) int { return int(binary.LittleEndian.Uint32(b[i:])) }
		p := Packet{Time: time.Unix(int64(u(0)), int64(u(4))*1000), Size: u(12)}
		micros, kept := u(4), u(8)
		b = b[capture.RecordHeaderLen:]
		if kept > len(b) || kept > p.Size || micros >= 1e6 {
			t.Fatalf("record %d: %d octets of %d at %d µs, %d are left", len(out), kept, p.Size, micros, len(b))
		}
		p.Data, b = b[:kept], b[kept:]
		out = append(out, p)
	}
	return out
}

// File reads a whole file.
func File(t testing.TB, b []byte) []Packet {
	t.Helper()
	if want := capture.AppendFileHeader(nil, 0); len(b) < len(want) || string(b[:16]) != string(want[:16]) || string(b[20:24]) != string(want[20:]) {
		t.Fatalf("no file of ours: % x", b[:min(len(b), capture.FileHeaderLen)])
	}
	return Records(t, b[capture.FileHeaderLen:])
}

// Drain reads all that a tap has now, a few records at a time.
func Drain(t testing.TB, tap *capture.Tap) (out []Packet) {
	t.Helper()
	for {
		b := tap.Read(make([]byte, 0, capture.RecordHeaderLen+capture.MaxSnap))
		if len(b) == 0 {
			return out
		}
		out = append(out, Records(t, b)...)
	}
}
