package ppp

import (
	"errors"
	"fmt"

	"concentrator/internal/tenant"
)

// What Events.Finished may be given, beside *AuthError and *TerminatedError.
var (
	// ErrTimeout: the server did not answer in time.
	ErrTimeout = errors.New("ppp: no answer in time")
	// ErrNoMethod: the server wants an authentication method that we do not have.
	ErrNoMethod = errors.New("ppp: no common authentication method")
	// ErrImpostor: the server let us in but did not prove that it knows the password, RFC 2759 section 5, or did not end
	// the method of EAP as it must.
	ErrImpostor = errors.New("ppp: the server does not know the password")
	// ErrNoMPPE: MPPE is required and the server did not come to terms.
	ErrNoMPPE = errors.New("ppp: no encryption")
	// ErrNoNetwork: IPCP failed.
	ErrNoNetwork = errors.New("ppp: no network protocol")
	// ErrProtocol: LCP ended in a way that a server should not cause.
	ErrProtocol = errors.New("ppp: protocol error")
)

// AuthError is a refused login.
type AuthError struct {
	Method  tenant.AuthMethod
	Code    int    // of MS-CHAPv2, also in EAP, RFC 2759 section 6; else 0
	Retry   bool   // the server allows another attempt; only MS-CHAPv2 says so
	Message string // for the user
}

// Error implements error.
func (e *AuthError) Error() string {
	return fmt.Sprintf("ppp: %s login refused with code %d: %q", e.Method, e.Code, e.Message)
}

// TerminatedError says that the server ended the link.
type TerminatedError struct {
	Text string // of its Terminate-Request
}

// Error implements error.
func (e *TerminatedError) Error() string {
	return fmt.Sprintf("ppp: terminated by the server: %q", e.Text)
}
