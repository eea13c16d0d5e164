package cert

import (
	"bytes"
	"encoding/pem"
	"fmt"
)

// Bounds on what is parsed.
const (
	// MaxChain is the greatest number of certificates in a peer's message and in an own chain.
	MaxChain = 8
	// MaxCertificate is the greatest size of one certificate in DER, in octets.
	MaxCertificate = 16 << 10
	// MaxAnchors is the greatest number of CA certificates in a Trust.
	MaxAnchors = 64
	// MaxCRL is the greatest size of one revocation list in DER, in octets: about a hundred thousand entries.
	MaxCRL = 4 << 20
	// maxName is the greatest size of a peer's subject in DER, in octets.
	maxName = 1 << 10
)

// block is one PEM block of an operator's text.
type block struct {
	*pem.Block
	number int // from 1
}

// begin is what each PEM block begins with, RFC 7468 section 3.
const begin = "-----BEGIN "

// blocks splits a text into PEM blocks of one type. Text around the blocks is ignored, as openssl prints some. Each fault
// is an InputError at in and index.
func blocks(text string, in Input, index int, want string) ([]block, error) {
	var out []block
	for rest := []byte(text); bytes.Contains(rest, []byte(begin)); {
		n := len(out) + 1
		b, behind := pem.Decode(rest)
		// Decode passes over what it can't read, so it has seen more than one beginning then.
		if b == nil || bytes.Count(rest[:len(rest)-len(behind)], []byte(begin)) > 1 {
			return nil, &InputError{in, index, n, "it is cut off or damaged; all lines from -----BEGIN to -----END are needed"}
		}
		if b.Type != want {
			return nil, &InputError{in, index, n, fmt.Sprintf("it is a %q block; it must be a %q block", b.Type, want)}
		}
		out = append(out, block{b, n})
		rest = behind
	}
	if len(out) == 0 {
		return nil, &InputError{in, index, 0, fmt.Sprintf("it holds no PEM block; it must begin with %s%s-----", begin, want)}
	}
	return out, nil
}
