package dhcp

// Options that we read or write: RFC 2132 but where it is said.
const (
	optionPad           = 0
	optionSubnetMask    = 1
	optionDNS           = 6
	optionDomainName    = 15
	optionWINS          = 44
	optionMessageType   = 53
	optionServer        = 54
	optionRequestList   = 55
	optionClientID      = 61
	optionRoutes        = 121 // RFC 3442
	optionRoutesWindows = 249 // the same, under the number that Windows used before RFC 3442 had one
	optionEnd           = 255
)

// Message types, RFC 2132 section 9.6.
const (
	typeAck    = 5
	typeInform = 8
)

// optionHeaderLen is what comes before an option's value: its code and its length.
const optionHeaderLen = 2

// maxValueLen is the longest value of an option, in octets.
const maxValueLen = 255

// options walks over the options of a message. Its zero value has none.
type options struct {
	rest []byte
}

// next returns the next option, or ok false at the end. Padding is skipped. sound is false if an option reaches beyond the
// message.
func (o *options) next() (code byte, value []byte, ok, sound bool) {
	for len(o.rest) > 0 && o.rest[0] == optionPad {
		o.rest = o.rest[1:]
	}
	if len(o.rest) == 0 || o.rest[0] == optionEnd {
		return 0, nil, false, true
	}
	if len(o.rest) < optionHeaderLen {
		return 0, nil, false, false
	}
	end := optionHeaderLen + int(o.rest[1])
	if end > len(o.rest) {
		return 0, nil, false, false
	}
	code, value = o.rest[0], o.rest[optionHeaderLen:end]
	o.rest = o.rest[end:]
	return code, value, true, true
}

// writer appends options to a message as long as they fit.
type writer struct {
	b    []byte
	most int // how long b may become
}

// put appends an option, or leaves it out if it is empty or does not fit whole with the end behind it.
func (w *writer) put(code byte, value ...byte) {
	if len(value) == 0 || len(value) > maxValueLen || len(w.b)+optionHeaderLen+len(value)+1 > w.most {
		return
	}
	w.b = append(w.b, code, byte(len(value)))
	w.b = append(w.b, value...)
}
