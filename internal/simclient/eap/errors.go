package eap

import (
	"errors"
	"fmt"
)

// What Result.Err may be, beside *Refusal and what TLS says.
var (
	// ErrImpostor: the server lets us in, but did not prove that it knows the password, or did not even ask.
	ErrImpostor = errors.New("eap: the server lets us in without a proof of its own")
	// ErrProtocol: the server sent what can't be understood.
	ErrProtocol = errors.New("eap: protocol error")

	// errNotDone is for who wants keys of a login that has not come that far.
	errNotDone = errors.New("eap: no keys yet")
)

// Refusal is a no of the server.
type Refusal struct {
	Code    int    // of EAP-MSCHAPv2, as RFC 2759 section 6 has it; else 0
	Retry   bool   // the server allows another attempt; only EAP-MSCHAPv2 says so
	Message string // for the user
}

// Error implements error.
func (r *Refusal) Error() string {
	return fmt.Sprintf("eap: refused with code %d: %q", r.Code, r.Message)
}
