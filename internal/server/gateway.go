package server

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
)

// Bounds of the REST side. A caller that sends or reads slower than this is cut off.
const (
	writeTimeout = 30 * time.Second // of one piece of an answer
	idleTimeout  = 2 * time.Minute
	maxHeader    = 16 << 10
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
func (jsonMarshaler) StreamContentType(any) string { return typeLines }

// restJSON spells the REST side's messages.
var restJSON = jsonMarshaler{&runtime.JSONPb{MarshalOptions: protojson.MarshalOptions{EmitDefaultValues: true}}}

// rest is the HTTP side of the API.
type rest struct {
	mux   *runtime.ServeMux
	audit *auditTrail // nil: nothing is recorded
	count observer
	gate  gate
	// unready says why the instance is not ready, a line for each reason; "": it is.
	unready func() string
	cors    *origins
}

// newREST registers the gateway of every service over conn, the in-process connection.
func newREST(ctx context.Context, conn *grpc.ClientConn, g gate, unready func() string, cors *origins) (*rest, error) {
	r := &rest{gate: g, unready: unready, cors: cors}
	r.mux = runtime.NewServeMux(append(restMarshalers,
		runtime.WithMetadata(func(ctx context.Context, r *http.Request) metadata.MD {
			who := callerOf(ctx)
			md := metadata.Pairs(callerHeader, who.name, addressHeader, who.address)
			if who.grant != nil {
				md.Set(tokenHeader, who.grant.name)
				md.Set(grantHeader, who.grant.id)
			}
			if etag, _ := ifMatchOf(r.Header); etag != "" {
				md.Set(ifMatchHeader, etag)
			}
			return md
		}),
		// Nothing that the caller sends may become metadata: the in-process side believes it.
		runtime.WithIncomingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithOutgoingHeaderMatcher(func(key string) (string, bool) { return "X-Request-Id", key == requestHeader }),
		runtime.WithForwardResponseOption(letIn),
		runtime.WithForwardResponseOption(showEtag),
		runtime.WithErrorHandler(explain),
		runtime.WithStreamErrorHandler(streamFailed),
		runtime.WithRoutingErrorHandler(unrouted),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
	)...)
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
		concentratorv1.RegisterOperationServiceHandler,
		concentratorv1.RegisterAuditEventServiceHandler,
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
	strictHeaders(w.Header(), r.TLS != nil)
	if h.cors.answer(w, r) {
		return
	}
	if !isText(r.URL) {
		h.fail(w, r, newStatus(codes.InvalidArgument, reasonRequest, "the URL is not UTF-8", nil).Err())
		return
	}
	if open, ok := openPaths[r.URL.Path]; ok {
		if readOnly(w, r) {
			open(h, w, r)
		}
		return
	}
	allowed := methodsOf(r.URL.EscapedPath())
	if r.Method == http.MethodOptions {
		h.options(w, r, allowed)
		return
	}
	who, ok := h.gate.authenticateHTTP(r)
	if !ok {
		w.Header().Set("Connection", "close") // over HTTP/2 too: the next try costs a stranger another handshake
		h.audit.stranger(r)
		h.count.stranger()
		h.fail(w, r, errUnauthenticated)
		return
	}
	if len(allowed) > 0 && !slices.Contains(allowed, r.Method) {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		unrouted(r.Context(), h.mux, restJSON, w, r, http.StatusMethodNotAllowed)
		return
	}
	h.serve(w, r, who)
}

// isText says whether path and parameters of a URL are UTF-8: no message, and so no error either, can hold anything else. What can't be
// read at all is left to others.
func isText(u *url.URL) bool {
	query, err := url.QueryUnescape(u.RawQuery)
	return utf8.ValidString(u.Path) && (err != nil || utf8.ValidString(query))
}

// serve hands a call to the gateway.
func (h *rest) serve(w http.ResponseWriter, r *http.Request, who caller) {
	r = r.Clone(context.WithValue(r.Context(), callerKey{}, who))
	if _, err := ifMatchOf(r.Header); err != nil {
		h.fail(w, r, err)
		return
	}
	if err := checkQuery(r); err != nil {
		h.fail(w, r, err)
		return
	}
	// Names are percent-encoded themselves. The gateway would decode them once more than they are encoded.
	r.URL.Path = r.URL.EscapedPath()
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	if r.Method == http.MethodHead {
		r.Method = http.MethodGet // net/http keeps the body back
	}
	kind := streamType(r)
	// The marshaler is chosen here, not by what the caller writes into these two.
	r.Header.Del("Content-Type")
	r.Header.Set("Accept", cmp.Or(kind, typeJSON))
	if kind == "" {
		h.mux.ServeHTTP(w, r)
		return
	}
	resume(r)
	s, r := newStreamWriter(w, r, kind)
	defer s.close()
	h.mux.ServeHTTP(s, r)
}

// resume lets a browser that lost a stream of events go on where it was: it asks for the same URL again and says in a header
// what it saw last (HTML Living Standard, section 9.2.4).
func resume(r *http.Request) {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		query := r.URL.Query()
		query.Set("revision", id)
		r.URL.RawQuery = query.Encode()
	}
}

// explain writes an error.
func explain(ctx context.Context, mux *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	var routed *runtime.HTTPStatusError
	if errors.As(err, &routed) {
		err = routed.Err
	}
	st := detailed(r, err)
	err = st.Err()
	retryAfter(w.Header(), st)
	if failedPrecondition(r, st) {
		routed = &runtime.HTTPStatusError{HTTPStatus: http.StatusPreconditionFailed}
	}
	if routed != nil {
		err = &runtime.HTTPStatusError{HTTPStatus: routed.HTTPStatus, Err: err}
	}
	runtime.DefaultHTTPErrorHandler(ctx, mux, restJSON, w, r, err)
}

// detailed is the status of an error. Those of the gateway itself, such as broken JSON in r, get the details that ours have;
// r is nil once a stream has begun.
func detailed(r *http.Request, err error) *status.Status {
	st := status.Convert(err)
	if len(st.Details()) > 0 {
		return st
	}
	if r != nil && st.Code() == codes.InvalidArgument {
		return explainJSON(r, st.Message())
	}
	return newStatus(st.Code(), reasonRequest, st.Message(), nil)
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
