package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"concentrator/internal/telemetry"
)

// callTimeout bounds a unary call that sets no deadline of its own.
const callTimeout = 30 * time.Second

// requestHeader gives the caller the ID under which the log has the call.
const requestHeader = "x-request-id"

// interceptor is what every call passes: it names the caller, holds the call against what the caller may do, turns errors into
// statuses, survives panics and logs.
type interceptor struct {
	gate  gate
	audit *auditTrail
	quota *quotas
	log   *slog.Logger

	strangers *rate.Limiter // of calls that are refused at once
}

// requestID is 64 random bits: enough to find a call in the log.
func requestID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}

func (i interceptor) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	id := requestID()
	_ = grpc.SetHeader(ctx, metadata.Pairs(requestHeader, id)) // fails only if the call is over
	return i.call(ctx, id, info.FullMethod, req, func(ctx context.Context) (any, error) {
		return authorized(ctx, callerOf(ctx), info.FullMethod, req, next)
	})
}

func (i interceptor) stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	id := requestID()
	_ = s.SetHeader(metadata.Pairs(requestHeader, id)) // as above
	_, err := i.call(s.Context(), id, info.FullMethod, nil, func(ctx context.Context) (any, error) {
		return nil, authorizedStream(ctx, callerOf(ctx), info.FullMethod, srv, s, next)
	})
	return err
}

// serverStream is a stream with the caller in its context.
type serverStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // gRPC's way of handing it on
}

func (s serverStream) Context() context.Context { return s.ctx }

// call runs one call. req is nil for streams.
func (i interceptor) call(ctx context.Context, id, method string, req any, do func(context.Context) (any, error)) (any, error) {
	start := time.Now()
	var resp any
	who, err := i.gate.authenticate(ctx)
	if err != nil {
		who.address = addressOf(ctx)
	}
	a := i.audit.of(who, method, id)
	a.req = req
	if err == nil {
		ctx = context.WithValue(context.WithValue(ctx, callerKey{}, who), auditKey{}, a)
		if err = i.quota.take(who); err == nil {
			resp, err = i.recovered(id, method, func() (any, error) { return do(ctx) })
		}
	}
	code, st := codes.OK, (*status.Status)(nil)
	if err != nil {
		var hidden bool
		st, hidden = toStatus(err, id)
		if hidden {
			i.log.Error("api call failed", telemetry.Request, id, telemetry.Method, method, telemetry.Error, err.Error())
		}
		resp, code, err = nil, st.Code(), st.Err()
	}
	level := slog.LevelDebug
	switch {
	case i.audit.end(a, resp, st): // else whoever is refused again and again fills the disk
	case isWrite(method) && !validateOnly(req), code == codes.Unauthenticated, code == codes.PermissionDenied:
		level = slog.LevelInfo
	}
	if i.log.Enabled(ctx, level) {
		i.log.Log(ctx, level, "api call", telemetry.Method, method, telemetry.Resource, resourceOf(resp, req),
			telemetry.Caller, who.name, telemetry.Peer, who.address, telemetry.Code, code.String(),
			telemetry.Duration, time.Since(start), telemetry.Request, id)
	}
	return resp, err
}

// recovered turns a panic of do into an error that toStatus hides.
func (i interceptor) recovered(id, method string, do func() (any, error)) (resp any, err error) {
	defer func() {
		if p := recover(); p != nil {
			i.log.Error("api call panicked", telemetry.Request, id, telemetry.Method, method,
				telemetry.Error, fmt.Sprint(p), telemetry.Stack, string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return do()
}

// isWrite says whether a method of ours may change something.
func isWrite(method string) bool {
	name := method[strings.LastIndexByte(method, '/')+1:]
	for _, read := range []string{"Get", "List", "Watch", "Wait", "Check", "Verify", "ServerReflectionInfo"} {
		if strings.HasPrefix(name, read) {
			return false
		}
	}
	return true
}

// validateOnly says whether a request asks to change nothing.
func validateOnly(req any) bool {
	m, ok := req.(interface{ GetValidateOnly() bool })
	return ok && m.GetValidateOnly()
}

// resourceOf names what a call is about, for the log: the resource that came back or was asked for, or the parent.
func resourceOf(resp, req any) string {
	for _, m := range []any{resp, req} {
		if m, ok := m.(interface{ GetName() string }); ok {
			return m.GetName()
		}
	}
	if m, ok := req.(interface{ GetParent() string }); ok {
		return m.GetParent()
	}
	return ""
}
