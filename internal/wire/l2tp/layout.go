package l2tp

import (
	"encoding/binary"
	"slices"
)

// Optional is the value of an AVP that may be absent.
type Optional[T any] struct {
	Value T
	Set   bool
}

// Some is the Optional that holds v.
func Some[T any](v T) Optional[T] { return Optional[T]{v, true} }

// layout walks the AVPs of one message, reading them or writing them, so that each message is written down once. Reading
// takes them in any order; understand has checked the sizes of those that are not marked as reserved.
type layout struct {
	write  bool
	out    []byte
	hiding *Hiding // nil: nothing is hidden

	avps []AVP
	bad  *Error // the first thing that is wrong
}

// get finds an AVP. The first counts if it is there twice.
func (l *layout) get(a Attribute) ([]byte, bool) {
	for i := range l.avps {
		if v := &l.avps[i]; v.Attribute == a && !v.reserved {
			return v.Value, true
		}
	}
	return nil, false
}

// need finds an AVP that the message can't do without.
func (l *layout) need(a Attribute) ([]byte, bool) {
	v, ok := l.get(a)
	if !ok && l.bad == nil {
		l.bad = &Error{ErrorVendor, "no " + a.String()}
	}
	return v, ok
}

// put writes an AVP.
func (l *layout) put(a Attribute, value []byte) {
	avp := AVP{Mandatory: kinds[a].mandatory, Attribute: a, Value: value}
	if l.hiding != nil && l.hiding.Hide(a) {
		avp = l.hiding.hide(avp)
	}
	l.out = avp.append(l.out)
}

func (l *layout) u16(a Attribute, v *uint16) {
	if l.write {
		l.put(a, binary.BigEndian.AppendUint16(nil, *v))
	} else if b, ok := l.need(a); ok {
		*v = binary.BigEndian.Uint16(b)
	}
}

func (l *layout) u32(a Attribute, v *uint32) {
	if l.write {
		l.put(a, binary.BigEndian.AppendUint32(nil, *v))
	} else if b, ok := l.need(a); ok {
		*v = binary.BigEndian.Uint32(b)
	}
}

// id reads or writes the ID of a tunnel or session, which is never 0.
func (l *layout) id(a Attribute, v *uint16) {
	l.u16(a, v)
	if !l.write && l.bad == nil && *v == 0 {
		l.bad = &Error{ErrorValue, a.String() + " of 0"}
	}
}

func (l *layout) optional16(a Attribute, v *Optional[uint16]) {
	if l.write {
		if v.Set {
			l.put(a, binary.BigEndian.AppendUint16(nil, v.Value))
		}
	} else if b, ok := l.get(a); ok {
		*v = Some(binary.BigEndian.Uint16(b))
	}
}

func (l *layout) optional32(a Attribute, v *Optional[uint32]) {
	if l.write {
		if v.Set {
			l.put(a, binary.BigEndian.AppendUint32(nil, v.Value))
		}
	} else if b, ok := l.get(a); ok {
		*v = Some(binary.BigEndian.Uint32(b))
	}
}

func (l *layout) optional64(a Attribute, v *Optional[uint64]) {
	if l.write {
		if v.Set {
			l.put(a, binary.BigEndian.AppendUint64(nil, v.Value))
		}
	} else if b, ok := l.get(a); ok {
		*v = Some(binary.BigEndian.Uint64(b))
	}
}

// octets reads or writes an octet string; nil is an absent one, which an empty one is not.
func (l *layout) octets(a Attribute, v *[]byte) {
	if l.write {
		if *v != nil {
			l.put(a, *v)
		}
	} else if b, ok := l.get(a); ok {
		*v = append([]byte{}, b...)
	}
}

// text reads or writes an optional text; an empty one is an absent one.
func (l *layout) text(a Attribute, v *string) {
	if l.write {
		if *v != "" {
			l.put(a, []byte(*v))
		}
	} else if b, ok := l.get(a); ok {
		*v = string(b)
	}
}

// flag reads or writes an AVP whose presence is all it says.
func (l *layout) flag(a Attribute, v *bool) {
	if l.write {
		if *v {
			l.put(a, nil)
		}
	} else {
		_, *v = l.get(a)
	}
}

// words reads or writes an AVP of two reserved octets and 32-bit words.
func (l *layout) words(a Attribute, v ...*uint32) {
	if l.write {
		b := make([]byte, 2, 2+4*len(v))
		for _, w := range v {
			b = binary.BigEndian.AppendUint32(b, *w)
		}
		l.put(a, b)
	} else if b, ok := l.need(a); ok {
		for i, w := range v {
			*w = binary.BigEndian.Uint32(b[2+4*i:])
		}
	}
}

// Result is a Result Code AVP, RFC 2661 section 4.4.2.
type Result struct {
	Code    uint16 // a StopResult or CallResult
	Error   uint16 // an Error value; says more if Code is the general error
	Message string // for a human, UTF-8
}

// result reads or writes a Result. The Error Code may be absent on the wire, but xl2tpd takes none without.
func (l *layout) result(a Attribute, v *Result) {
	if l.write {
		b := binary.BigEndian.AppendUint16(nil, v.Code)
		b = binary.BigEndian.AppendUint16(b, v.Error)
		l.put(a, append(b, v.Message...))
		return
	}
	b, ok := l.need(a)
	switch {
	case !ok:
	case len(b) < 2 || len(b) == 3:
		if l.bad == nil {
			l.bad = &Error{ErrorLength, a.String() + " is too short"}
		}
	default:
		v.Code = binary.BigEndian.Uint16(b)
		if len(b) >= 4 {
			v.Error, v.Message = binary.BigEndian.Uint16(b[2:]), string(b[4:])
		}
	}
}

// Printable returns s, cut after limit octets, with '?' for what is not printable ASCII, since texts come from an unknown
// peer and go to logs.
func Printable(s string, limit int) string {
	b := slices.Clone([]byte(s[:min(len(s), limit)]))
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}
