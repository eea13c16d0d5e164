package pap

import "errors"

// PAP codes (RFC 1334 section 2.2).
const (
	CodeAuthenticateRequest byte = 1
	CodeAuthenticateAck     byte = 2
	CodeAuthenticateNak     byte = 3
)

// maxField is the longest name, password or message, in octets: its length is one octet.
const maxField = 0xff

// Errors of this package.
var (
	// ErrShortData is returned when a field runs over the end of the packet.
	ErrShortData = errors.New("pap: field runs over the end of the packet")
	// ErrFieldLen is returned when a name or password is too long to be written.
	ErrFieldLen = errors.New("pap: field too long")
)

// Request is the data of an Authenticate-Request (RFC 1334 section 2.2.1). Both fields borrow the packet.
type Request struct {
	Name     []byte
	Password []byte
}

// ParseRequest reads the data of an Authenticate-Request. Octets behind the password are ignored.
func ParseRequest(data []byte) (Request, error) {
	name, rest, err := field(data)
	if err != nil {
		return Request{}, err
	}
	password, _, err := field(rest)
	if err != nil {
		return Request{}, err
	}
	return Request{Name: name, Password: password}, nil
}

// AppendBinary implements encoding.BinaryAppender.
func (r Request) AppendBinary(b []byte) ([]byte, error) {
	if len(r.Name) > maxField || len(r.Password) > maxField {
		return b, ErrFieldLen
	}
	b = append(b, byte(len(r.Name)))
	b = append(b, r.Name...)
	b = append(b, byte(len(r.Password)))
	return append(b, r.Password...), nil
}

// ParseReply reads the data of an Authenticate-Ack or -Nak: the message, borrowed. Peers that leave out even the length
// octet have sent an empty message.
func ParseReply(data []byte) (message []byte, err error) {
	if len(data) == 0 {
		return nil, nil
	}
	message, _, err = field(data)
	return message, err
}

// AppendReply appends the data of an Authenticate-Ack or -Nak. A message over 255 octets is cut.
func AppendReply(b []byte, message string) []byte {
	message = message[:min(len(message), maxField)]
	return append(append(b, byte(len(message))), message...)
}

// field takes one length octet and as many octets off data.
func field(data []byte) (value, rest []byte, err error) {
	if len(data) == 0 {
		return nil, nil, ErrShortData
	}
	n := int(data[0])
	if n > len(data)-1 {
		return nil, nil, ErrShortData
	}
	return data[1 : 1+n], data[1+n:], nil
}
