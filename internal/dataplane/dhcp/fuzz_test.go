package dhcp

import (
	"encoding/binary"
	"testing"

	"concentrator/internal/corpus"
	"concentrator/internal/dataplane/policy"
)

// FuzzAppend: no packet makes Append panic, and every answer is one that a strict client takes.
func FuzzAppend(f *testing.F) {
	corpus.Add(f)
	f.Add(windows().bytes(f), 576)
	f.Add(macOS().bytes(f), 1500)
	q := windows()
	q.options, q.ipOptions = "350108 3dff", 12
	f.Add(q.bytes(f), 400)
	a := New(config())
	f.Fuzz(func(t *testing.T, p []byte, most int) {
		if len(p) < 20 || len(p) > 2000 {
			return
		}
		// A right header, so that what is behind it is looked at.
		p[0], p[9] = 0x40|max(5, p[0]&0xf), 17
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		copy(p[12:], []byte{10, 50, 0, 7})
		n := int(p[0]&0xf) * 4
		if n > len(p) {
			return
		}
		p[10], p[11] = 0, 0
		binary.BigEndian.PutUint16(p[10:], ^sum16(p[:n]))
		h, ok := policy.ParseIPv4(p)
		if !ok {
			t.Fatal("no IPv4 header")
		}
		if out, ok := a.Append(nil, p, &h, most); ok {
			read(t, out, p, h, most)
		}
	})
}
