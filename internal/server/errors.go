package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"concentrator/internal/session"
	"concentrator/internal/store"
)

// domain is the ErrorInfo domain of all errors of this API.
const domain = "concentrator"

// Reasons of ErrorInfo. Callers may rely on them; the messages beside them are for people.
const (
	reasonNotFound        = "RESOURCE_NOT_FOUND"
	reasonExists          = "RESOURCE_EXISTS"
	reasonConflict        = "ETAG_MISMATCH"
	reasonRateLimited     = "RATE_LIMITED"
	reasonReferenced      = "RESOURCE_REFERENCED"
	reasonLeased          = "ADDRESSES_LEASED"
	reasonExpired         = "RESOURCE_EXPIRED"
	reasonTooSlow         = "WATCH_TOO_SLOW"
	reasonTooManyWatches  = "TOO_MANY_WATCHES"
	reasonTooManyCaptures = "TOO_MANY_CAPTURES"
	reasonStalled         = "READER_STALLED"
	reasonInvalid         = "INVALID_FIELD"
	reasonUnmet           = "UNMET_REFERENCE"
	reasonTooLarge        = "RESOURCE_TOO_LARGE"
	reasonUnreadable      = "SECRETS_UNREADABLE"
	reasonUntestable      = "TEST_IMPOSSIBLE"
	reasonUnauthenticated = "UNAUTHENTICATED"
	reasonDenied          = "PERMISSION_DENIED"
	reasonNotWritten      = "STATE_NOT_WRITTEN"
	reasonShuttingDown    = "SHUTTING_DOWN"
	reasonCanceled        = "CANCELED"
	reasonDeadline        = "DEADLINE_EXCEEDED"
	reasonRequest         = "INVALID_REQUEST"
	reasonInternal        = "INTERNAL"
)

// errShuttingDown ends streams when the server stops.
var errShuttingDown = errors.New("the server is shutting down")

// rules is read in order. What matches none is INTERNAL: hidden from the caller, and logged.
var rules = []struct {
	is     error
	code   codes.Code
	reason string
}{
	{errShuttingDown, codes.Unavailable, reasonShuttingDown},
	{store.ErrClosed, codes.Unavailable, reasonShuttingDown},
	{store.ErrNotWritten, codes.Unavailable, reasonNotWritten},
	{store.ErrExists, codes.AlreadyExists, reasonExists},
	{store.ErrNotFound, codes.NotFound, reasonNotFound},
	{store.ErrConflict, codes.Aborted, reasonConflict},
	{store.ErrNotEmpty, codes.FailedPrecondition, reasonReferenced},
	{store.ErrInvalidName, codes.InvalidArgument, reasonInvalid},
	{store.ErrUnreadable, codes.FailedPrecondition, reasonUnreadable},
	{store.ErrTooLarge, codes.InvalidArgument, reasonTooLarge},
	{session.ErrNotFound, codes.NotFound, reasonNotFound},
	{session.ErrNoLockout, codes.NotFound, reasonNotFound},
	{session.ErrExpired, codes.OutOfRange, reasonExpired},
	{session.ErrTooManyCaptures, codes.ResourceExhausted, reasonTooManyCaptures},
	{context.Canceled, codes.Canceled, reasonCanceled},
	{context.DeadlineExceeded, codes.DeadlineExceeded, reasonDeadline},
}

// resourceError says which resource an error is about.
type resourceError struct {
	name string
	err  error
}

func (e *resourceError) Error() string { return e.err.Error() }

func (e *resourceError) Unwrap() error { return e.err }

// toStatus makes the status of an error. hidden is true when the error matches no rule, so that its text stays here and
// must be logged under requestID.
func toStatus(err error, requestID string) (st *status.Status, hidden bool) {
	if st, ok := status.FromError(err); ok {
		return st, false
	}
	metadata := map[string]string{}
	var about *resourceError
	if errors.As(err, &about) {
		metadata["resource"] = about.name
	}
	for _, r := range rules {
		if errors.Is(err, r.is) {
			return newStatus(r.code, r.reason, err.Error(), metadata), false
		}
	}
	metadata["requestId"] = requestID
	return newStatus(codes.Internal, reasonInternal, "internal error, logged as request "+requestID, metadata), true
}

func newStatus(code codes.Code, reason, message string, metadata map[string]string, more ...protoadapt.MessageV1) *status.Status {
	info := &errdetails.ErrorInfo{Reason: reason, Domain: domain, Metadata: metadata}
	st, err := status.New(code, message).WithDetails(append([]protoadapt.MessageV1{info}, more...)...)
	if err != nil {
		// The details are messages of ours, and code is never OK.
		panic("server: status details: " + err.Error())
	}
	return st
}

// fieldErrors collects what is wrong with a request, field by field. Paths are those of the resource's JSON, as in
// "mppe.keyBits[1]"; fields of the request itself stand alone, as in "pageSize".
type fieldErrors struct {
	list   []*errdetails.BadRequest_FieldViolation
	unmet  bool
	denied bool // the caller may not, whatever the fields hold
	// tenant is the one that the caller is bound to; what is said must then name nothing of others.
	tenant string
}

// add says what is wrong with the field at path, and what would be right.
func (f *fieldErrors) add(path, format string, args ...any) {
	f.list = append(f.list, &errdetails.BadRequest_FieldViolation{Field: path, Description: fmt.Sprintf(format, args...)})
}

// addUnmet is add for what would be right if other resources were different.
func (f *fieldErrors) addUnmet(path, format string, args ...any) {
	f.add(path, format, args...)
	f.unmet = true
}

func (f *fieldErrors) empty() bool { return len(f.list) == 0 }

// err returns the status for what was collected, nil for nothing.
func (f *fieldErrors) err() error {
	if f.empty() {
		return nil
	}
	texts := make([]string, len(f.list))
	for i, v := range f.list {
		texts[i] = v.GetField() + ": " + v.GetDescription()
	}
	code, reason := codes.InvalidArgument, reasonInvalid
	if f.unmet {
		code, reason = codes.FailedPrecondition, reasonUnmet
	}
	if f.denied {
		code, reason = codes.PermissionDenied, reasonDenied
	}
	return newStatus(code, reason, strings.Join(texts, "; "), nil, &errdetails.BadRequest{FieldViolations: f.list}).Err()
}

// invalid is a status for one wrong field.
func invalid(path, format string, args ...any) error {
	var bad fieldErrors
	bad.add(path, format, args...)
	return bad.err()
}

// maxNamed is how many referrers an error names.
const maxNamed = 10

// referenced refuses to delete a resource that others refer to.
func referenced(name string, by []string) error {
	slices.Sort(by)
	pre := &errdetails.PreconditionFailure{}
	for _, r := range by[:min(len(by), maxNamed)] {
		pre.Violations = append(pre.Violations, &errdetails.PreconditionFailure_Violation{
			Type: "REFERENCE", Subject: r, Description: "refers to " + name,
		})
	}
	message := name + " is still referred to by " + strings.Join(by[:min(len(by), maxNamed)], ", ")
	if len(by) > maxNamed {
		message += fmt.Sprintf(" and %d more", len(by)-maxNamed)
	}
	metadata := map[string]string{"resource": name, "referrers": fmt.Sprint(len(by))}
	return newStatus(codes.FailedPrecondition, reasonReferenced, message, metadata, pre).Err()
}
