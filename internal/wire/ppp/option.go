package ppp

import (
	"errors"
	"iter"
)

// optionHeaderLen is type and length, in octets (RFC 1661 section 6).
const optionHeaderLen = 2

// MaxOptionValue is the longest value of one option, in octets.
const MaxOptionValue = 0xff - optionHeaderLen

// Errors of ParseOptions and Option.AppendBinary.
var (
	// ErrShortOption is returned when an option runs over the end of the list.
	ErrShortOption = errors.New("ppp: option runs over the end of the list")
	// ErrOptionLen is returned for an option whose length field is less than its own header.
	ErrOptionLen = errors.New("ppp: option length field too small")
	// ErrOptionValue is returned when an option value is too long to be written.
	ErrOptionValue = errors.New("ppp: option value too long")
)

// Option is one configuration option.
type Option struct {
	Type  byte
	Value []byte // without type and length
}

// AppendBinary implements encoding.BinaryAppender.
func (o Option) AppendBinary(b []byte) ([]byte, error) {
	if len(o.Value) > MaxOptionValue {
		return b, ErrOptionValue
	}
	b = append(b, o.Type, byte(optionHeaderLen+len(o.Value)))
	return append(b, o.Value...), nil
}

// Options is a list of configuration options whose lengths were checked. It borrows the packet.
type Options struct {
	b []byte
}

// ParseOptions checks every length once, so that walking the list can not fail later. The result borrows b.
func ParseOptions(b []byte) (Options, error) {
	for rest := b; len(rest) > 0; {
		if len(rest) < optionHeaderLen {
			return Options{}, ErrShortOption
		}
		n := int(rest[1])
		if n < optionHeaderLen {
			return Options{}, ErrOptionLen
		}
		if n > len(rest) {
			return Options{}, ErrShortOption
		}
		rest = rest[n:]
	}
	return Options{b}, nil
}

// All walks the options in their order. The values borrow the packet.
func (o Options) All() iter.Seq[Option] {
	return func(yield func(Option) bool) {
		for rest := o.b; len(rest) > 0; {
			n := int(rest[1])
			if !yield(Option{Type: rest[0], Value: rest[optionHeaderLen:n]}) {
				return
			}
			rest = rest[n:]
		}
	}
}

// Bytes returns the list as it stood in the packet, borrowed.
func (o Options) Bytes() []byte { return o.b }

// Find returns the value of the first option of the type, borrowed, and whether there is one.
func (o Options) Find(typ byte) ([]byte, bool) {
	for opt := range o.All() {
		if opt.Type == typ {
			return opt.Value, true
		}
	}
	return nil, false
}

// AppendOption appends one option to b. The value must not be longer than MaxOptionValue; it is cut if it is.
func AppendOption(b []byte, typ byte, value ...byte) []byte {
	value = value[:min(len(value), MaxOptionValue)]
	b = append(b, typ, byte(optionHeaderLen+len(value)))
	return append(b, value...)
}
