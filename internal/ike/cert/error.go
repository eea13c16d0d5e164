package cert

import (
	"errors"
	"fmt"

	"concentrator/internal/tenant"
)

// Error says why a peer's certificate, signature or identity was refused.
type Error struct {
	// Reason is CERTIFICATE_UNTRUSTED, CERTIFICATE_EXPIRED or CERTIFICATE_REVOKED.
	Reason tenant.Reason
	// Detail is a sentence for the operator. It may hold names that the peer chose, in quotes.
	Detail string
}

// Error implements error.
func (e *Error) Error() string { return e.Detail }

// rank orders reasons by how much the trust had to do with the certificate.
func (e *Error) rank() int {
	switch e.Reason {
	case tenant.ReasonCertificateRevoked:
		return 2
	case tenant.ReasonCertificateExpired:
		return 1
	default:
		return 0
	}
}

// Worst returns the error that tells more, when several trusts have refused one peer: revoked before expired before
// untrusted, as the former come from the CA that issued the certificate. Of equals the first counts. Either may be nil.
func Worst(a, b error) error {
	var ea, eb *Error
	switch {
	case !errors.As(b, &eb):
		return a
	case !errors.As(a, &ea) || eb.rank() > ea.rank():
		return b
	default:
		return a
	}
}

func untrusted(format string, args ...any) *Error {
	return &Error{tenant.ReasonCertificateUntrusted, fmt.Sprintf(format, args...)}
}

func expired(format string, args ...any) *Error {
	return &Error{tenant.ReasonCertificateExpired, fmt.Sprintf(format, args...)}
}

func revoked(format string, args ...any) *Error {
	return &Error{tenant.ReasonCertificateRevoked, fmt.Sprintf(format, args...)}
}

// Input names what an operator gave.
type Input string

// The inputs, by the names of the API's fields.
const (
	InputCACertificates Input = "caCertificates"
	InputCRLs           Input = "crls"
	InputChain          Input = "chainPem"
	InputPrivateKey     Input = "privateKeyPem"
)

// InputError says what is wrong with certificates, lists or a key that an operator gave, and what would be right. It never
// quotes a key.
type InputError struct {
	Input Input
	// Index is the place in the list, from 0; it is 0 for InputChain and InputPrivateKey.
	Index int
	// Block is the PEM block within the text, from 1; 0 if the text as a whole is meant.
	Block  int
	Detail string
}

// Error implements error.
func (e *InputError) Error() string {
	place := string(e.Input)
	if e.Input == InputCACertificates || e.Input == InputCRLs {
		place = fmt.Sprintf("%s[%d]", e.Input, e.Index)
	}
	if e.Block > 0 {
		place = fmt.Sprintf("%s, PEM block %d", place, e.Block)
	}
	return place + ": " + e.Detail
}
