package radius

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz"
)

const (
	// maxTraced bounds how many attributes of one packet a trace shows: a server chooses how many it sends.
	maxTraced = 128
	// maxTracedOctets bounds what of octets that are no text is shown.
	maxTracedOctets = 64
)

// describe is the attributes of b, a verified packet or one of our own, as text. Secrets, and what is not in the table, which
// may be one, are shown by their length only.
func describe(b []byte) (list []authz.Attribute) {
	for n, v := range walk(b) {
		if len(list) == maxTraced {
			return append(list, authz.Attribute{Name: "...", Value: "and more"})
		}
		list = append(list, authz.Attribute{Name: nameOf(n), Value: valueOf(byNumber[n], v)})
	}
	return list
}

// valueOf is one value as text.
func valueOf(row *attribute, v radius.Attribute) string {
	masked := fmt.Sprintf("(%d octets)", len(v))
	if row == nil {
		return masked
	}
	switch row.kind {
	case kindText:
		return printable(v)
	case kindInteger, kindTagged:
		n, err := radius.Integer(v)
		if err != nil {
			return masked
		}
		if row.kind == kindTagged {
			n &= 0xffffff
		}
		if word, known := row.values[n]; known {
			return word
		}
		return strconv.FormatUint(uint64(n), 10)
	case kindAddress, kindAddress6:
		if ip, ok := netip.AddrFromSlice(v); ok {
			return ip.String()
		}
	case kindTime:
		if n, err := radius.Integer(v); err == nil {
			return time.Unix(int64(n), 0).UTC().Format(time.RFC3339)
		}
	case kindOctets:
		if text := printable(v); text == string(v) {
			return text
		}
		if len(v) > maxTracedOctets {
			return "0x" + hex.EncodeToString(v[:maxTracedOctets]) + "..."
		}
		return "0x" + hex.EncodeToString(v)
	case kindSecret:
	}
	return masked
}
