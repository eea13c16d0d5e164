package query

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Bounds of an order: it stands in the page token.
const (
	maxOrder     = 512 // octets
	maxOrderKeys = 4
	// maxOrderText is how much of a text counts, in octets. What is alike so far is ordered by name.
	maxOrderText = 256
)

// Order sorts resources by their fields, google.aip.dev/132, and what is alike in them by name.
type Order struct{ keys []orderKey }

type orderKey struct {
	path []protoreflect.FieldDescriptor
	desc bool
}

// ParseOrder reads an order over messages of one type, as in "inBytes desc, user"; nil for "". The error says what is wrong.
func ParseOrder(md protoreflect.MessageDescriptor, text string) (*Order, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	parts := strings.Split(text, ",")
	if len(text) > maxOrder || len(parts) > maxOrderKeys {
		return nil, fmt.Errorf("has %d octets and %d fields, at most %d and %d are allowed", len(text), len(parts), maxOrder, maxOrderKeys)
	}
	o := &Order{}
	for _, part := range parts {
		words := strings.Fields(part)
		switch {
		case len(words) == 2 && words[1] == "desc", len(words) == 2 && words[1] == "asc", len(words) == 1:
		default:
			return nil, fmt.Errorf(`%q is neither a field nor a field and desc, as in "inBytes desc, user"`, strings.TrimSpace(part))
		}
		path, err := orderPath(md, words[0])
		if err != nil {
			return nil, err
		}
		o.keys = append(o.keys, orderKey{path, len(words) == 2 && words[1] == "desc"})
	}
	return o, nil
}

// orderPath finds a field that has an order.
func orderPath(md protoreflect.MessageDescriptor, text string) ([]protoreflect.FieldDescriptor, error) {
	var path []protoreflect.FieldDescriptor
	for name := range strings.SplitSeq(text, ".") {
		if md == nil {
			return nil, fmt.Errorf("%q: %s has no fields of its own", text, path[len(path)-1].JSONName())
		}
		fd := fieldBySpelling(md, name)
		switch {
		case fd == nil:
			return nil, fmt.Errorf("%q: no field %q; there are %s", text, name, shownFields(md))
		case WriteOnly(fd):
			return nil, fmt.Errorf("%q: %s is never shown", text, fd.JSONName())
		case fd.IsList() || fd.IsMap() || fd.Kind() == protoreflect.BytesKind:
			return nil, fmt.Errorf("%q: %s holds more than one value, so it has no order", text, fd.JSONName())
		}
		path = append(path, fd)
		md = Children(fd)
	}
	if last := path[len(path)-1]; last.Message() != nil && !isMoment(last) {
		return nil, fmt.Errorf("%q: %s", text, hasFields(last))
	}
	return path, nil
}

// Place is where a resource stands: places compare as the resources shall, octet by octet. What is unset comes before what is
// set. name tells apart what is alike in all fields.
func (o *Order) Place(m proto.Message, name string) string {
	var b []byte
	for _, k := range o.keys {
		begin := len(b)
		b = appendPlace(b, m.ProtoReflect(), k.path)
		if k.desc {
			for i := range b[begin:] {
				b[begin+i] ^= 0xff
			}
		}
	}
	return string(b) + name
}

// appendPlace appends the place of one field's value.
func appendPlace(b []byte, m protoreflect.Message, path []protoreflect.FieldDescriptor) []byte {
	for _, fd := range path[:len(path)-1] {
		if !m.Has(fd) {
			return append(b, 0)
		}
		m = m.Get(fd).Message()
	}
	fd := path[len(path)-1]
	if fd.HasPresence() && !m.Has(fd) {
		return append(b, 0)
	}
	b = append(b, 1)
	v := m.Get(fd)
	switch fd.Kind() {
	case protoreflect.BoolKind:
		if v.Bool() {
			return append(b, 1)
		}
		return append(b, 0)
	case protoreflect.EnumKind:
		return appendInt(b, int64(v.Enum()))
	case protoreflect.StringKind:
		return appendText(b, v.String())
	case protoreflect.MessageKind:
		seconds, nanos := secondsOf(v)
		return appendInt(appendInt(b, seconds), nanos)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return appendFloat(b, v.Float())
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return binary.BigEndian.AppendUint64(b, v.Uint())
	}
	return appendInt(b, v.Int())
}

// appendInt appends a number whose octets compare as numbers do.
func appendInt(b []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(n)^(1<<63))
}

// appendFloat is appendInt for a float: of negative ones, the larger in octets is the smaller.
func appendFloat(b []byte, f float64) []byte {
	n := math.Float64bits(f)
	if n>>63 != 0 {
		n = ^n
	} else {
		n |= 1 << 63
	}
	return binary.BigEndian.AppendUint64(b, n)
}

// appendText appends a text with an end that comes before any other octet, so that "a" comes before "ab".
func appendText(b []byte, s string) []byte {
	for i := range min(len(s), maxOrderText) {
		if b = append(b, s[i]); s[i] == 0 {
			b = append(b, 0xff)
		}
	}
	return append(b, 0, 0)
}
