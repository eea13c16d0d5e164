package pptp

import (
	"encoding/binary"
	"fmt"
)

// layout walks the fields of one message in wire order, reading them or writing them, so that each message's format is
// written down once. b is exactly the message; off never passes its end because the sizes in kinds are those of the
// layouts, which a test checks.
type layout struct {
	b     []byte
	off   int
	write bool
}

func (l *layout) next(n int) []byte {
	l.off += n
	return l.b[l.off-n : l.off]
}

func (l *layout) u8(v *uint8) {
	if f := l.next(1); l.write {
		f[0] = *v
	} else {
		*v = f[0]
	}
}

func (l *layout) u16(v *uint16) {
	if f := l.next(2); l.write {
		binary.BigEndian.PutUint16(f, *v)
	} else {
		*v = binary.BigEndian.Uint16(f)
	}
}

func (l *layout) u32(v *uint32) {
	if f := l.next(4); l.write {
		binary.BigEndian.PutUint32(f, *v)
	} else {
		*v = binary.BigEndian.Uint32(f)
	}
}

func (l *layout) octets(v []byte) {
	if f := l.next(len(v)); l.write {
		copy(f, v)
	} else {
		copy(v, f)
	}
}

// reserved passes n octets that mean nothing. When writing they are zero already.
func (l *layout) reserved(n int) { l.next(n) }

// message is what every pointer to a message type can do.
type message[T any] interface {
	*T
	fields(l *layout)
	Type() Type
}

// parse reads b, which must be one whole message of the type T.
func parse[T any, P message[T]](b []byte) (T, error) {
	var m T
	n, err := Split(b)
	if err != nil {
		return m, err
	}
	if n == 0 || n != len(b) {
		return m, fmt.Errorf("%w: %d octets given", ErrLength, len(b))
	}
	if got, want := typeOf(b), P(&m).Type(); got != want {
		return m, fmt.Errorf("%w: %s, not %s", ErrControlType, got, want)
	}
	P(&m).fields(&layout{b: b, off: headerSize})
	return m, nil
}

// appendTo appends m, header included, to b.
func appendTo[T any, P message[T]](b []byte, m P) []byte {
	t := m.Type()
	start := len(b)
	b = binary.BigEndian.AppendUint16(b, uint16(t.Size()))
	b = binary.BigEndian.AppendUint16(b, messageControl)
	b = binary.BigEndian.AppendUint32(b, magicCookie)
	b = binary.BigEndian.AppendUint16(b, uint16(t))
	var zero [MaxSize]byte
	b = append(b, zero[:t.Size()-controlTypeEnd]...)
	m.fields(&layout{b: b[start:], off: headerSize, write: true})
	return b
}
