package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"concentrator/api/gen"
	concentratorv1 "concentrator/api/gen/concentrator/v1"
)

// Bounds of the REST side. A caller that sends or reads slower than this is cut off.
const (
	writeTimeout = 30 * time.Second // of one piece of an answer
	idleTimeout  = 2 * time.Minute
	maxHeader    = 64 << 10
	maxRequest   = 1 << 20 // also of a gRPC message
)

// Time for a request to arrive; variables only for tests that outlast them.
var (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 30 * time.Second
)

// jsonMarshaler spells messages as the gateway's default one does, except that what is unset and has presence stays
// away (so that no secret is shown, not even as an empty one), and that streams say what they are.
type jsonMarshaler struct{ *runtime.JSONPb }

// StreamContentType implements runtime.StreamContentType.
func (jsonMarshaler) StreamContentType(any) string { return "application/x-ndjson" }

// restJSON spells the REST side's messages.
var restJSON = jsonMarshaler{&runtime.JSONPb{MarshalOptions: protojson.MarshalOptions{EmitDefaultValues: true}}}

// rest is the HTTP side of the API.
type rest struct {
	mux   *runtime.ServeMux
	gate  gate
	ready func() bool
}

// newREST registers the gateway of every service over conn, the in-process connection.
func newREST(ctx context.Context, conn *grpc.ClientConn, g gate, ready func() bool) (*rest, error) {
	r := &rest{gate: g, ready: ready}
	r.mux = runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, restJSON),
		runtime.WithMetadata(func(ctx context.Context, _ *http.Request) metadata.MD {
			who := callerOf(ctx)
			md := metadata.Pairs(callerHeader, who.name, addressHeader, who.address)
			if who.grant != nil {
				md.Set(tokenHeader, who.grant.name)
			}
			return md
		}),
		// Nothing that the caller sends may become metadata: the in-process side believes it.
		runtime.WithIncomingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithOutgoingHeaderMatcher(func(key string) (string, bool) { return "X-Request-Id", key == requestHeader }),
		runtime.WithErrorHandler(explain),
		runtime.WithRoutingErrorHandler(unrouted),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
	)
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		concentratorv1.RegisterListenerServiceHandler,
		concentratorv1.RegisterTenantServiceHandler,
		concentratorv1.RegisterProfileServiceHandler,
		concentratorv1.RegisterUserServiceHandler,
		concentratorv1.RegisterPoolServiceHandler,
		concentratorv1.RegisterLeaseServiceHandler,
		concentratorv1.RegisterAclServiceHandler,
		concentratorv1.RegisterRadiusServerServiceHandler,
		concentratorv1.RegisterSessionServiceHandler,
		concentratorv1.RegisterLoginAttemptServiceHandler,
		concentratorv1.RegisterLockoutServiceHandler,
		concentratorv1.RegisterAccountingQueueServiceHandler,
		concentratorv1.RegisterApiTokenServiceHandler,
		concentratorv1.RegisterInstanceServiceHandler,
	} {
		if err := register(ctx, r.mux, conn); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// ServeHTTP implements http.Handler.
func (h *rest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w = &patientWriter{ResponseWriter: w}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	switch r.URL.Path {
	case "/livez":
		h.text(w, r, http.StatusOK, "live\n")
		return
	case "/readyz":
		if !h.ready() {
			h.text(w, r, http.StatusServiceUnavailable, "not ready\n")
			return
		}
		h.text(w, r, http.StatusOK, "ready\n")
		return
	case "/openapi.json":
		if !h.read(w, r) {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(gen.OpenAPI) // the caller has gone
		return
	}

	who, ok := h.gate.authenticateHTTP(r)
	if !ok {
		h.fail(w, r, errUnauthenticated)
		return
	}
	ctx := context.WithValue(r.Context(), callerKey{}, who)
	r = r.Clone(ctx)
	// Names are percent-encoded themselves. The gateway would decode them once more than they are encoded.
	r.URL.Path = r.URL.EscapedPath()
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	if r.ContentLength == 0 {
		// The time to send the request must not end a watch: there is nothing left to send.
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // a connection without deadlines is as good
	}
	h.mux.ServeHTTP(w, r)
}

// explain writes an error. Those of the gateway itself, such as broken JSON, get the details that ours have.
func explain(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	var routed *runtime.HTTPStatusError
	if errors.As(err, &routed) {
		err = routed.Err
	}
	if st := status.Convert(err); len(st.Details()) == 0 {
		err = newStatus(st.Code(), reasonRequest, st.Message(), nil).Err()
	}
	if routed != nil {
		err = &runtime.HTTPStatusError{HTTPStatus: routed.HTTPStatus, Err: err}
	}
	runtime.DefaultHTTPErrorHandler(ctx, mux, m, w, r, err)
}

func (h *rest) fail(w http.ResponseWriter, r *http.Request, err error) {
	runtime.HTTPError(r.Context(), h.mux, restJSON, w, r, err)
}

// unrouted answers a request for what is not there.
func unrouted(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, httpStatus int) {
	code := codes.NotFound
	switch httpStatus {
	case http.StatusBadRequest:
		code = codes.InvalidArgument
	case http.StatusMethodNotAllowed:
		code = codes.Unimplemented
	}
	err := status.Errorf(code, "%s %s: see /openapi.json for what there is", r.Method, r.URL.Path)
	runtime.HTTPError(ctx, mux, m, w, r, &runtime.HTTPStatusError{HTTPStatus: httpStatus, Err: err})
}

// read refuses methods other than GET and HEAD.
func (h *rest) read(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	http.Error(w, "only GET", http.StatusMethodNotAllowed)
	return false
}

func (h *rest) text(w http.ResponseWriter, r *http.Request, code int, text string) {
	if !h.read(w, r) {
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // the caller has gone
}

// patientWriter gives the caller time for each piece of an answer anew, so that a watch may last and a caller that
// stopped reading is cut off all the same.
type patientWriter struct{ http.ResponseWriter }

// Unwrap lets http.ResponseController reach the connection.
func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader puts right what the gateway says of a 401: it takes the message for the name of a scheme.
func (w *patientWriter) WriteHeader(code int) {
	if code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *patientWriter) Write(b []byte) (int, error) {
	err := http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(writeTimeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return w.ResponseWriter.Write(b)
}
