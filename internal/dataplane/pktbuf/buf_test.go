package pktbuf

import (
	"bytes"
	"testing"
)

// state is what a caller can see of a Buf.
type state struct{ front, length, back int }

func stateOf(b *Buf) state { return state{b.Front(), b.Len(), b.Back()} }

func TestWindow(t *testing.T) {
	const n = 100
	full := state{Headroom, n, Size - Headroom - n}
	for _, tt := range []struct {
		name string
		do   func(b *Buf) bool
		ok   bool
		want state
	}{
		{"prepend", func(b *Buf) bool { return len(b.Prepend(16)) == 16 }, true, state{Headroom - 16, n + 16, full.back}},
		{"prepend all", func(b *Buf) bool { return b.Prepend(Headroom) != nil }, true, state{0, n + Headroom, full.back}},
		{"prepend too much", func(b *Buf) bool { return b.Prepend(Headroom+1) != nil }, false, full},
		{"prepend less than nothing", func(b *Buf) bool { return b.Prepend(-1) != nil }, false, full},
		{"append", func(b *Buf) bool { return len(b.Append(16)) == 16 }, true, state{Headroom, n + 16, full.back - 16}},
		{"append all", func(b *Buf) bool { return b.Append(full.back) != nil }, true, state{Headroom, n + full.back, 0}},
		{"append too much", func(b *Buf) bool { return b.Append(full.back+1) != nil }, false, full},
		{"append less than nothing", func(b *Buf) bool { return b.Append(-1) != nil }, false, full},
		{"trim", func(b *Buf) bool { return bytes.Equal(b.TrimFront(3), []byte{0, 1, 2}) && b.Bytes()[0] == 3 }, true, state{Headroom + 3, n - 3, full.back}},
		{"trim all", func(b *Buf) bool { return b.TrimFront(n) != nil }, true, state{Headroom + n, 0, full.back}},
		{"trim too much", func(b *Buf) bool { return b.TrimFront(n+1) != nil }, false, full},
		{"trim less than nothing", func(b *Buf) bool { return b.TrimFront(-1) != nil }, false, full},
		{"truncate", func(b *Buf) bool { return b.Truncate(10) }, true, state{Headroom, 10, Size - Headroom - 10}},
		{"truncate to more", func(b *Buf) bool { return b.Truncate(n + 1) }, false, full},
		{"truncate to less than nothing", func(b *Buf) bool { return b.Truncate(-1) }, false, full},
		{"set length", func(b *Buf) bool { return b.SetLen(Size - Headroom) }, true, state{Headroom, Size - Headroom, 0}},
		{"set length too much", func(b *Buf) bool { return b.SetLen(Size - Headroom + 1) }, false, full},
		{"set length less than nothing", func(b *Buf) bool { return b.SetLen(-1) }, false, full},
		{"set bytes too long", func(b *Buf) bool { return b.SetBytes(make([]byte, MaxRead+1)) }, false, state{Headroom, 0, Size - Headroom}},
		{"reset", func(b *Buf) bool { b.Reset(); return true }, true, state{Headroom, 0, Size - Headroom}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b Buf
			p := make([]byte, n)
			for i := range p {
				p[i] = byte(i)
			}
			if !b.SetBytes(p) || stateOf(&b) != full || !bytes.Equal(b.Bytes(), p) {
				t.Fatalf("SetBytes: %+v", stateOf(&b))
			}
			if ok := tt.do(&b); ok != tt.ok {
				t.Errorf("%t, want %t", ok, tt.ok)
			}
			if got := stateOf(&b); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestCapacity: what the methods return can't be appended to over what lies behind it.
func TestCapacity(t *testing.T) {
	var b Buf
	b.SetBytes([]byte("payload"))
	for name, p := range map[string][]byte{
		"Bytes": b.Bytes(), "Prepend": b.Prepend(4), "Append": b.Append(4), "TrimFront": b.TrimFront(2), "ReadArea": b.ReadArea(),
	} {
		if cap(p) != len(p) {
			t.Errorf("%s: capacity %d, length %d", name, cap(p), len(p))
		}
	}
}

func TestReadArea(t *testing.T) {
	var b Buf
	copy(b.ReadArea(), "packet")
	if len(b.ReadArea()) != MaxRead || b.Len() != 0 {
		t.Errorf("area %d, length %d", len(b.ReadArea()), b.Len())
	}
	b.SetLen(6)
	if string(b.Bytes()) != "packet" {
		t.Errorf("%q", b.Bytes())
	}
	b.SetLen(MaxRead)
	if b.Back() != Tailroom || b.Front() != Headroom {
		t.Errorf("%+v", stateOf(&b))
	}
}

func TestCopyFrom(t *testing.T) {
	var a, b Buf
	a.SetBytes([]byte("payload"))
	a.TrimFront(3)
	b.CopyFrom(&a)
	if string(b.Bytes()) != "load" || stateOf(&a) != stateOf(&b) {
		t.Errorf("%q %+v", b.Bytes(), stateOf(&b))
	}
	a.Bytes()[0] = 'r'
	if string(b.Bytes()) != "load" {
		t.Error("the copy shares memory")
	}
}

func TestZeroValue(t *testing.T) {
	var b Buf
	if b.Len() != 0 || b.Prepend(1) != nil {
		t.Errorf("%+v", stateOf(&b))
	}
}

func TestPool(t *testing.T) {
	p := NewPool(2)
	a, b := p.Get(), p.Get()
	if a == nil || b == nil || a == b || p.Get() != nil || p.Free() != 0 {
		t.Fatal("not two different buffers")
	}
	a.SetBytes([]byte("x"))
	p.Put(a)
	if p.Free() != 1 || p.Get() != a || stateOf(a) != (state{Headroom, 0, Size - Headroom}) {
		t.Errorf("%+v", stateOf(a))
	}
	p.Put(a)
	p.Put(b)
	defer func() {
		if recover() == nil {
			t.Error("a third buffer was put back")
		}
	}()
	p.Put(&Buf{})
}

func TestNoAllocation(t *testing.T) {
	p, data := NewPool(1), []byte("payload")
	if n := testing.AllocsPerRun(1000, func() {
		b := p.Get()
		b.SetBytes(data)
		b.Prepend(16)
		b.Append(8)
		b.TrimFront(16)
		p.Put(b)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestStride: buffers side by side must not start in the same cache sets.
func TestStride(t *testing.T) {
	if Size&(Size-1) == 0 || Headroom < 96 || Tailroom < 64 {
		t.Errorf("size %d, headroom %d, tailroom %d", Size, Headroom, Tailroom)
	}
}
