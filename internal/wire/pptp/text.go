package pptp

import "bytes"

// Text is a field of 64 octets that holds a text padded with zeros: a host name, a vendor name or a phone number.
type Text [64]byte

// NewText returns s as a Text, cut after 64 octets.
func NewText(s string) Text {
	var t Text
	copy(t[:], s)
	return t
}

// String returns the text up to its first zero octet. What is not printable ASCII is shown as '?', since the octets come
// from an unknown peer and go to logs.
func (t Text) String() string {
	return printable(t[:])
}

func printable(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	out := make([]byte, len(b))
	for i, c := range b {
		if c < ' ' || c > '~' {
			c = '?'
		}
		out[i] = c
	}
	return string(out)
}

// SubAddress is the Subaddress field of a call request. Windows puts a 16-octet correlation ID there, so it is never
// treated as text.
type SubAddress [64]byte
