package server

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// ifMatchHeader carries the etag of If-Match over the in-process connection. Only there is it looked at.
const ifMatchHeader = "x-concentrator-if-match"

// ifMatchOf reads If-Match, RFC 9110 section 13.1.1: one strong etag. "" is none, and so is "*": that the resource is there is
// what every call that takes an etag wants anyway.
func ifMatchOf(h http.Header) (string, error) {
	values := h.Values("If-Match")
	if len(values) == 0 || len(values) == 1 && values[0] == "*" {
		return "", nil
	}
	etag, begins := strings.CutPrefix(strings.TrimSpace(strings.Join(values, ",")), `"`)
	etag, ends := strings.CutSuffix(etag, `"`)
	odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == ',' }
	if !begins || !ends || etag == "" || strings.ContainsFunc(etag, odd) {
		return "", invalid("If-Match", `must be one etag in quotation marks, as in "%s", or *`, "1a2b-3c")
	}
	return etag, nil
}

// applyIfMatch puts the etag of a REST call's If-Match into its request.
func applyIfMatch(ctx context.Context, req proto.Message) error {
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get(ifMatchHeader)
	if p, ok := peer.FromContext(ctx); !ok || len(values) == 0 {
		return nil
	} else if _, inner := p.AuthInfo.(innerInfo); !inner {
		return nil
	}
	m, fd := etagField(req)
	if fd == nil {
		return invalid("If-Match", "is not for this call: it takes no etag")
	}
	if etag := m.Get(fd).String(); etag != "" && etag != values[0] {
		return invalid("etag", "is another one than that of If-Match")
	}
	m.Set(fd, protoreflect.ValueOfString(values[0]))
	return nil
}

// etagField finds what guards a call against changes: the request's etag, or for an update that of the resource. nil: nothing.
func etagField(req proto.Message) (protoreflect.Message, protoreflect.FieldDescriptor) {
	m := req.ProtoReflect()
	fields := m.Descriptor().Fields()
	if fd := fields.ByName("etag"); fd != nil {
		return m, fd
	}
	if !strings.HasPrefix(string(m.Descriptor().Name()), "Update") {
		return nil, nil
	}
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.Message() == nil || fd.IsList() || fd.IsMap() || !isResource(fd.Message()) {
			continue
		}
		if etag := fd.Message().Fields().ByName("etag"); etag != nil {
			return m.Mutable(fd).Message(), etag
		}
	}
	return nil, nil
}

// showEtag tells a REST caller the etag of the resource that it gets, in the header too.
func showEtag(_ context.Context, w http.ResponseWriter, m proto.Message) error {
	if m, ok := m.(interface{ GetEtag() string }); ok && m.GetEtag() != "" {
		w.Header().Set("ETag", strconv.Quote(m.GetEtag()))
	}
	return nil
}

// failedPrecondition says whether an error is that the resource is not the one of If-Match, which is 412 in HTTP.
func failedPrecondition(r *http.Request, st *status.Status) bool {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetReason() == reasonConflict {
			return r.Header.Get("If-Match") != ""
		}
	}
	return false
}

// retryAfter tells a REST caller when to come back, RFC 9110 section 10.2.3.
func retryAfter(h http.Header, st *status.Status) {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			wait := info.GetRetryDelay().AsDuration()
			h.Set("Retry-After", strconv.FormatInt(max(1, int64((wait+999_999_999)/1_000_000_000)), 10))
		}
	}
}
