package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Content types of what REST answers with.
const (
	typeJSON   = "application/json"
	typeLines  = "application/x-ndjson"
	typeEvents = "text/event-stream"
	typeBinary = "application/octet-stream"
)

// Times of a stream; variables only for tests that can't wait so long.
var (
	// firstSign is how long a stream that has nothing to say yet waits before it says that it has begun.
	firstSign = time.Second
	// heartbeat is the longest silence of a stream of server-sent events: proxies cut what is silent for a minute.
	heartbeat = 15 * time.Second
)

// retryEvents begins a stream of server-sent events: how soon a browser shall come back after a break, in milliseconds.
const retryEvents = "retry: 3000\n\n"

// streamType says how the answer to a request is streamed: typeLines, typeEvents, typeBinary, or "" for what is no stream.
func streamType(r *http.Request) string {
	_, verb, _ := strings.Cut(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], ":")
	switch verb {
	case "watch":
		return watchType(r.Header.Values("Accept"))
	case "capture", "download":
		return typeBinary
	}
	return ""
}

// watchType is the first type of an Accept header that a watch is served as; lines if there is none.
func watchType(accept []string) string {
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, params, err := mime.ParseMediaType(part)
		if err != nil || params["q"] != "" && strings.Trim(params["q"], "0.") == "" {
			continue // a weight of nothing refuses it
		}
		if name == typeEvents || name == typeLines {
			return name
		}
	}
	return typeLines
}

// eventMarshaler spells each message of a watch as a server-sent event: its name is what happened, its ID the revision,
// its data the message.
type eventMarshaler struct{ jsonMarshaler }

// StreamContentType implements runtime.StreamContentType.
func (eventMarshaler) StreamContentType(any) string { return typeEvents }

// Delimiter implements runtime.Delimited: an event is written whole, for a heartbeat may come behind it.
func (eventMarshaler) Delimiter() []byte { return nil }

// Marshal implements runtime.Marshaler.
func (m eventMarshaler) Marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case map[string]any:
		if result, ok := v["result"].(proto.Message); ok {
			return m.event(eventName(result), revisionOf(result), result)
		}
	case map[string]proto.Message:
		return m.event("error", "", v["error"])
	}
	return m.jsonMarshaler.Marshal(v)
}

func (m eventMarshaler) event(name, id string, data proto.Message) ([]byte, error) {
	text, err := m.jsonMarshaler.Marshal(data)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString("event: " + name + "\n")
	if id != "" && !strings.ContainsAny(id, "\x00\r\n") {
		b.WriteString("id: " + id + "\n")
	}
	b.WriteString("data: ")
	b.Write(text) // JSON in one line
	b.WriteString("\n\n")
	return b.Bytes(), nil
}

// eventName is what a message of a watch says: upsert, removed, snapshot_done, or bookmark where it has only a revision.
func eventName(m proto.Message) string {
	r := m.ProtoReflect()
	if event := r.Descriptor().Oneofs().ByName("event"); event != nil {
		if fd := r.WhichOneof(event); fd != nil {
			return string(fd.Name())
		}
	}
	return "bookmark"
}

func revisionOf(m proto.Message) string {
	if w, ok := m.(interface{ GetRevision() string }); ok {
		return w.GetRevision()
	}
	return ""
}

// binaryMarshaler hands the pieces of a file on as they are.
type binaryMarshaler struct{ jsonMarshaler }

// StreamContentType implements runtime.StreamContentType.
func (binaryMarshaler) StreamContentType(v any) string {
	if body, ok := v.(*httpbody.HttpBody); ok && body.GetContentType() != "" {
		return body.GetContentType()
	}
	return typeBinary
}

// Delimiter implements runtime.Delimited: nothing stands between the pieces.
func (binaryMarshaler) Delimiter() []byte { return nil }

// streamWriter is the answer of a streaming method. It begins the answer before there is anything to say, keeps a stream of
// events from falling silent, and tells an error as long as that is possible by an HTTP status, with the same body as of
// any other call. The gateway writes to it from one goroutine, the heartbeat from another.
type streamWriter struct {
	kind string      // typeLines, typeEvents or typeBinary
	own  http.Header // what the gateway sets: only its goroutine touches it

	mu      sync.Mutex
	w       http.ResponseWriter
	timer   *time.Timer // nil until the call has been let in
	begun   bool        // the status line is written
	plain   bool        // the answer is an error and nothing else
	closed  bool        // the handler has returned
	failure *status.Status
}

type streamKey struct{}

// newStreamWriter wraps w for the answer to r, which it returns as the gateway shall see it.
func newStreamWriter(w http.ResponseWriter, r *http.Request, kind string) (*streamWriter, *http.Request) {
	s := &streamWriter{kind: kind, w: w, own: http.Header{}}
	w.Header().Set("X-Accel-Buffering", "no") // a proxy that collects an answer before it hands it on makes a watch useless
	return s, r.WithContext(context.WithValue(r.Context(), streamKey{}, s))
}

// letIn is called by the gateway when the call has been accepted and its headers are known.
func letIn(_ context.Context, w http.ResponseWriter, m proto.Message) error {
	if s, ok := w.(*streamWriter); ok && m == nil {
		s.start()
	}
	return nil
}

// streamFailed tells the writer which error the gateway is about to write.
func streamFailed(ctx context.Context, err error) *status.Status {
	st := detailed(nil, err)
	if s, ok := ctx.Value(streamKey{}).(*streamWriter); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failure = st
	}
	return st
}

// start lets the answer show signs of life from now on.
func (s *streamWriter) start() {
	if s.kind == typeBinary {
		return // its status is worth waiting for
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takeHeaders()
	s.timer = time.AfterFunc(firstSign, s.sign)
}

// sign begins the answer, or shows that it goes on.
func (s *streamWriter) sign() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.plain {
		return
	}
	if !s.begun {
		s.w.Header().Set("Content-Type", s.kind)
		s.begin(http.StatusOK)
	} else if s.kind == typeEvents {
		_, _ = s.w.Write([]byte(":\n\n")) // a caller that is gone ends the call
	}
	_ = http.NewResponseController(s.w).Flush() // as above
	if s.kind == typeEvents {
		s.timer.Reset(heartbeat)
	}
}

// takeHeaders takes over what the gateway has set. It holds mu.
func (s *streamWriter) takeHeaders() {
	for key, values := range s.own {
		s.w.Header()[key] = values
	}
}

// begin writes the status line. It holds mu.
func (s *streamWriter) begin(code int) {
	s.begun = true
	s.w.WriteHeader(code)
	if s.kind == typeEvents && code == http.StatusOK {
		_, _ = s.w.Write([]byte(retryEvents)) // the next write says whether the caller is gone
	}
}

// close ends the heartbeat. After it nothing touches the connection.
func (s *streamWriter) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
}

// Header implements http.ResponseWriter.
func (s *streamWriter) Header() http.Header { return s.own }

// WriteHeader implements http.ResponseWriter. Only errors come with a status.
func (s *streamWriter) WriteHeader(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun {
		return // then the error is the last message
	}
	s.takeHeaders()
	s.w.Header().Set("Content-Type", typeJSON)
	s.w.Header().Del("Transfer-Encoding")
	if s.failure != nil {
		retryAfter(s.w.Header(), s.failure)
	}
	s.plain = true
	s.begun = true
	s.w.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (s *streamWriter) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(b) == 0:
		return 0, nil
	case s.plain:
		return len(b), s.writePlain(b)
	case s.failure != nil && s.kind == typeBinary:
		// A file that ends early must not look like one that is whole.
		panic(http.ErrAbortHandler)
	case !s.begun:
		s.takeHeaders()
		s.begin(http.StatusOK)
	}
	if s.timer != nil && s.kind == typeEvents {
		s.timer.Reset(heartbeat)
	}
	return s.w.Write(b)
}

// writePlain writes the status alone: the gateway puts what it would be in a stream around it.
func (s *streamWriter) writePlain(b []byte) error {
	if s.failure != nil {
		text, err := restJSON.Marshal(s.failure.Proto())
		if err != nil {
			return err
		}
		b, s.failure = text, nil
	} else if len(bytes.TrimSpace(b)) == 0 {
		return nil // the delimiter behind it
	}
	_, err := s.w.Write(b)
	return err
}

// trailers takes over what the call said at its end.
func (s *streamWriter) trailers(md metadata.MD) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, values := range md {
		if strings.HasPrefix(key, trailerPrefix) && s.begun && !s.plain {
			s.w.Header()[http.TrailerPrefix+http.CanonicalHeaderKey(key)] = values
		}
	}
}

// trailerPrefix begins the names of our own trailers, as in x-concentrator-missed of a capture.
const trailerPrefix = "x-concentrator-"

// passTrailers lets the REST side see the trailers of the calls that it makes: the gateway itself drops those of streams.
func passTrailers(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := next(ctx, desc, cc, method, opts...)
	if w, ok := ctx.Value(streamKey{}).(*streamWriter); ok && err == nil {
		return &trailedStream{stream, w}, nil
	}
	return stream, err
}

type trailedStream struct {
	grpc.ClientStream
	w *streamWriter
}

// RecvMsg implements grpc.ClientStream.
func (s *trailedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if errors.Is(err, io.EOF) {
		s.w.trailers(s.Trailer())
	}
	return err
}

// FlushError lets http.ResponseController flush.
func (s *streamWriter) FlushError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return http.NewResponseController(s.w).Flush()
}

// The marshalers of the types that ServeHTTP asks the gateway for.
var restMarshalers = []runtime.ServeMuxOption{
	runtime.WithMarshalerOption(runtime.MIMEWildcard, restJSON),
	runtime.WithMarshalerOption(typeJSON, restJSON),
	runtime.WithMarshalerOption(typeLines, restJSON),
	runtime.WithMarshalerOption(typeEvents, eventMarshaler{restJSON}),
	runtime.WithMarshalerOption(typeBinary, binaryMarshaler{restJSON}),
}
