package pktbuf

// Sizes in octets. The array is deliberately not a power of two: sixteen lanes of crypto that walk sixteen
// buffers in step would otherwise meet in the same cache sets.
const (
	// Size is the length of the array.
	Size = 2048 + 192
	// Headroom is where the window starts after Reset: room for the outer headers that are put in front.
	Headroom = 128
	// Tailroom is what ReadArea leaves free behind a packet that was just read: room for padding and check values.
	Tailroom = 64
	// MaxRead is the longest packet that can be read into a Buf.
	MaxRead = Size - Headroom - Tailroom
)

// Buf holds one packet: the window [start, end) of its array. The zero value is an empty window without
// headroom; Reset it before use. A Buf belongs to one goroutine and must not be copied by assignment (2 KiB).
type Buf struct {
	// TOS is the Type of Service octet of the outer packet that brought this one, or that is to carry it away.
	TOS        uint8
	start, end int
	array      [Size]byte
}

// Reset empties the window, gives it its headroom back and clears TOS. It doesn't clear the octets.
func (b *Buf) Reset() {
	b.start, b.end, b.TOS = Headroom, Headroom, 0
}

// Bytes returns the window. It is borrowed until the window is changed or the Buf is used again.
// Its capacity ends with the window, so that an append can't write behind it unseen.
func (b *Buf) Bytes() []byte {
	return b.array[b.start:b.end:b.end]
}

// Len is the length of the window in octets.
func (b *Buf) Len() int {
	return b.end - b.start
}

// Front is how many octets Prepend can still give.
func (b *Buf) Front() int {
	return b.start
}

// Back is how many octets Append can still give.
func (b *Buf) Back() int {
	return Size - b.end
}

// ReadArea resets b and returns the MaxRead octets that a read may fill; SetLen then says how many it filled.
func (b *Buf) ReadArea() []byte {
	b.Reset()
	return b.array[Headroom : Size-Tailroom : Size-Tailroom]
}

// SetLen makes the window n octets long, keeping its start. It reports false, and changes nothing, when n is
// negative or ends behind the array.
func (b *Buf) SetLen(n int) bool {
	if n < 0 || n > Size-b.start {
		return false
	}
	b.end = b.start + n
	return true
}

// SetBytes resets b and copies p into the window, with headroom before and tailroom behind. It reports
// false, and leaves b empty, when p is longer than MaxRead.
func (b *Buf) SetBytes(p []byte) bool {
	b.Reset()
	if len(p) > MaxRead {
		return false
	}
	b.end = b.start + copy(b.array[b.start:], p)
	return true
}

// Prepend puts n octets in front of the window and returns them, to be filled by the caller (they hold what was
// there before). It returns nil, and changes nothing, when there is no room or n is negative.
func (b *Buf) Prepend(n int) []byte {
	if n < 0 || n > b.start {
		return nil
	}
	b.start -= n
	return b.array[b.start : b.start+n : b.start+n]
}

// Append puts n octets behind the window and returns them, to be filled by the caller. It returns nil, and
// changes nothing, when there is no room or n is negative.
func (b *Buf) Append(n int) []byte {
	if n < 0 || n > Size-b.end {
		return nil
	}
	b.end += n
	return b.array[b.end-n : b.end : b.end]
}

// TrimFront takes the first n octets out of the window and returns them. It returns nil, and changes nothing,
// when the window is shorter or n is negative.
func (b *Buf) TrimFront(n int) []byte {
	if n < 0 || n > b.Len() {
		return nil
	}
	b.start += n
	return b.array[b.start-n : b.start : b.start]
}

// Truncate cuts the window to its first n octets. It reports false, and changes nothing, when the window is
// shorter or n is negative.
func (b *Buf) Truncate(n int) bool {
	if n < 0 || n > b.Len() {
		return false
	}
	b.end = b.start + n
	return true
}

// CopyFrom makes b a copy of src: the same window at the same place, so that the headroom is the same too, and its TOS.
func (b *Buf) CopyFrom(src *Buf) {
	b.start, b.end, b.TOS = src.start, src.end, src.TOS
	copy(b.array[b.start:b.end], src.array[src.start:src.end])
}
