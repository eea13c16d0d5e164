package coa

import (
	"errors"
	"fmt"
)

// Cause is a value of the Error-Cause attribute, RFC 5176 section 3.5.
type Cause uint32

// The values of Error-Cause that a NAK of ours may have.
const (
	UnsupportedAttribute Cause = 401
	MissingAttribute     Cause = 402
	NASMismatch          Cause = 403
	InvalidRequest       Cause = 404
	UnsupportedService   Cause = 405
	InvalidValue         Cause = 407
	Prohibited           Cause = 501
	NotFound             Cause = 503
	NotRemovable         Cause = 504
	Resources            Cause = 506
	MultipleSessions     Cause = 508
)

var causeNames = map[Cause]string{
	UnsupportedAttribute: "Unsupported Attribute",
	MissingAttribute:     "Missing Attribute",
	NASMismatch:          "NAS Identification Mismatch",
	InvalidRequest:       "Invalid Request",
	UnsupportedService:   "Unsupported Service",
	InvalidValue:         "Invalid Attribute Value",
	Prohibited:           "Administratively Prohibited",
	NotFound:             "Session Context Not Found",
	NotRemovable:         "Session Context Not Removable",
	Resources:            "Resources Unavailable",
	MultipleSessions:     "Multiple Session Selection Unsupported",
}

// String returns the name in the RFC and the number, for example "Session Context Not Found (503)".
func (c Cause) String() string {
	if name := causeNames[c]; name != "" {
		return fmt.Sprintf("%s (%d)", name, uint32(c))
	}
	return fmt.Sprintf("Error-Cause %d", uint32(c))
}

// ErrNotFound is what a Host returns for a session that is no longer there.
var ErrNotFound = errors.New("coa: no such session")

// Refusal is the error of a Host that knows the Error-Cause.
type Refusal struct {
	Cause  Cause
	Detail string // for operators, without secrets
}

// Error implements error.
func (r *Refusal) Error() string { return r.Cause.String() + ": " + r.Detail }

func refuse(c Cause, format string, args ...any) *Refusal {
	return &Refusal{Cause: c, Detail: fmt.Sprintf(format, args...)}
}

// refusal makes a Refusal of an error of the Host.
func refusal(err error) *Refusal {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r
	}
	if errors.Is(err, ErrNotFound) {
		return refuse(NotFound, "the session ended meanwhile")
	}
	return refuse(Resources, "%v", err)
}
