package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/emptypb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
)

// streams is a session service whose streams the test plays.
type streams struct {
	concentratorv1.UnimplementedSessionServiceServer
	watch   func(*concentratorv1.WatchSessionsRequest, grpc.ServerStreamingServer[concentratorv1.WatchSessionsResponse]) error
	capture func(grpc.ServerStreamingServer[httpbody.HttpBody]) error
}

func (s *streams) WatchSessions(r *concentratorv1.WatchSessionsRequest, stream grpc.ServerStreamingServer[concentratorv1.WatchSessionsResponse]) error {
	return s.watch(r, stream)
}

func (s *streams) CaptureSession(_ *concentratorv1.CaptureSessionRequest, stream grpc.ServerStreamingServer[httpbody.HttpBody]) error {
	return s.capture(stream)
}

const (
	streamToken = "a token of the test"
	watchPath   = "/v1/tenants/acme/sessions:watch"
)

// restOver serves the REST side alone, over a service that the test plays.
func restOver(t *testing.T, service *streams, change ...func(*http.Server)) *httptest.Server {
	t.Helper()
	l := bufconn.Listen(1 << 16)
	inner := grpc.NewServer()
	concentratorv1.RegisterSessionServiceServer(inner, service)
	go func() { _ = inner.Serve(l) }()
	t.Cleanup(inner.Stop)
	conn, err := grpc.NewClient("passthrough:///inner", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithChainStreamInterceptor(passTrailers),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	must(t)(conn, err)
	t.Cleanup(func() { _ = conn.Close() })
	cors, err := newOrigins([]string{"https://portal.example.net"})
	must(t)(cors, err)
	handler, err := newREST(t.Context(), conn, newGate(streamToken, nil), func() string { return "" }, cors)
	must(t)(handler, err)
	s := httptest.NewUnstartedServer(handler)
	s.EnableHTTP2 = true
	for _, fn := range change {
		fn(s.Config)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// askREST sends a request with the token.
func askREST(t *testing.T, s *httptest.Server, http1 bool, method, path string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
	must(t)(req, err)
	req.Header.Set("Authorization", "Bearer "+streamToken)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := clientOf(t, s, http1).Do(req)
	must(t)(resp, err)
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// clientOf is a client that believes the server; http1 keeps it off HTTP/2.
func clientOf(t *testing.T, s *httptest.Server, http1 bool) *http.Client {
	t.Helper()
	if !http1 {
		return s.Client()
	}
	transport := s.Client().Transport.(*http.Transport).Clone()
	transport.ForceAttemptHTTP2 = false
	transport.TLSClientConfig.NextProtos = nil
	transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	client := &http.Client{Transport: transport}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// hurry shortens the times of a stream.
func hurry(t *testing.T, first, beat time.Duration) {
	t.Helper()
	before := [...]time.Duration{firstSign, heartbeat}
	firstSign, heartbeat = first, beat
	t.Cleanup(func() { firstSign, heartbeat = before[0], before[1] })
}

// A watch as server-sent events: a name, an ID and the message for each; at the end the error.
func TestEvents(t *testing.T) {
	asked := make(chan string, 2)
	s := restOver(t, &streams{watch: func(r *concentratorv1.WatchSessionsRequest, stream grpc.ServerStreamingServer[concentratorv1.WatchSessionsResponse]) error {
		asked <- r.GetParent() + " " + r.GetRevision()
		for _, m := range []*concentratorv1.WatchSessionsResponse{
			{Event: &concentratorv1.WatchSessionsResponse_Upsert{Upsert: &concentratorv1.Session{Name: "tenants/acme/sessions/s1"}}, Revision: "r1"},
			{Event: &concentratorv1.WatchSessionsResponse_SnapshotDone{SnapshotDone: &emptypb.Empty{}}, Revision: "r2"},
			{Event: &concentratorv1.WatchSessionsResponse_Removed{Removed: "tenants/acme/sessions/s1"}, Revision: "r3"},
			{Revision: "r4"},
			{Revision: "r5\nevent: upsert"}, // no ID can break out of its line
		} {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		return status.Error(codes.OutOfRange, "too slow")
	}})
	for _, http1 := range []bool{true, false} {
		resp := askREST(t, s, http1, "GET", watchPath+"?revision=r0", "Accept", "text/html;q=0.9, text/event-stream", "Last-Event-ID", "r9")
		if want := map[bool]int{true: 1, false: 2}[http1]; resp.ProtoMajor != want || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != typeEvents {
			t.Errorf("%s %s, content type %q", resp.Proto, resp.Status, resp.Header.Get("Content-Type"))
		}
		if q := <-asked; q != "tenants/acme r9" {
			t.Errorf("the watch was asked for %s: a browser that comes back knows more than its URL", q)
		}
		b, err := io.ReadAll(resp.Body)
		must(t)(b, err)
		events := strings.Split(string(b), "\n\n")
		for i, want := range []struct{ name, id, data string }{
			{"upsert", "r1", `"name":"tenants/acme/sessions/s1"`},
			{"snapshot_done", "r2", `"snapshotDone":{}`},
			{"removed", "r3", `"removed":"tenants/acme/sessions/s1"`},
			{"bookmark", "r4", `"revision":"r4"`},
			{"bookmark", "", `"revision":"r5\nevent: upsert"`},
			{"error", "", `"reason":"INVALID_REQUEST"`},
		} {
			if len(events) < i+2 {
				t.Fatalf("got %q", events)
			}
			lines := strings.Split(events[i+1], "\n")
			data, _ := strings.CutPrefix(lines[len(lines)-1], "data: ")
			shape := "event: " + want.name + "\n"
			if want.id != "" {
				shape += "id: " + want.id + "\n"
			}
			if events[i+1] != shape+"data: "+data || !strings.Contains(strings.ReplaceAll(data, " ", ""), strings.ReplaceAll(want.data, " ", "")) || data != "" && decodeJSON(t, data) == nil {
				t.Errorf("event %d is %q, want %v", i, events[i+1], want)
			}
		}
		if events[0] != "retry: 3000" || len(events) != 8 || events[7] != "" {
			t.Errorf("%d events, the first %q", len(events), events[0])
		}
	}
}

func TestWatchType(t *testing.T) {
	for accept, want := range map[string]string{
		"": typeLines, "*/*": typeLines, "application/json": typeLines, "text/event-stream": typeEvents,
		"text/event-stream;q=0": typeLines, "text/event-stream; q=0.0": typeLines, "text/event-stream;q=0.1": typeEvents,
		"application/x-ndjson, text/event-stream": typeLines, "text/html, TEXT/event-stream": typeEvents, ";;, x": typeLines,
	} {
		if got := watchType([]string{accept}); got != want {
			t.Errorf("%q: %s, want %s", accept, got, want)
		}
	}
}

// A watch that has nothing to say begins all the same, and events never fall silent for longer than a heartbeat.
func TestQuietWatch(t *testing.T) {
	hurry(t, 20*time.Millisecond, 30*time.Millisecond)
	finish := make(chan error)
	s := restOver(t, &streams{watch: func(_ *concentratorv1.WatchSessionsRequest, stream grpc.ServerStreamingServer[concentratorv1.WatchSessionsResponse]) error {
		_ = stream.SendHeader(nil)
		return <-finish
	}})
	for _, http1 := range []bool{true, false} {
		resp := askREST(t, s, http1, "GET", watchPath, "Accept", typeEvents)
		lines := bufio.NewReader(resp.Body)
		want := "retry: 3000\n\n:\n\n:\n\n"
		got := make([]byte, len(want))
		if _, err := io.ReadFull(lines, got); err != nil || string(got) != want {
			t.Errorf("a quiet stream of events is %q, %v", got, err)
		}
		finish <- status.Error(codes.OutOfRange, "too late for a status")
		rest, err := io.ReadAll(lines)
		if err != nil || !strings.Contains(string(rest), "event: error\ndata: {") || resp.StatusCode != 200 {
			t.Errorf("the end is %q, %v", rest, err)
		}

		resp = askREST(t, s, http1, "GET", watchPath)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != typeLines {
			t.Errorf("a quiet watch: %s, content type %q", resp.Status, resp.Header.Get("Content-Type"))
		}
		time.Sleep(2 * heartbeat)
		finish <- nil
		if b, err := io.ReadAll(resp.Body); err != nil || len(b) != 0 {
			t.Errorf("lines of a watch that says nothing: %q, %v", b, err)
		}
	}
}

// What fails before it begins has the status and the body of any other error, whatever was asked for.
func TestStreamFailsAtOnce(t *testing.T) {
	refuse := newStatus(codes.NotFound, reasonNotFound, "no such tenant", nil).Err()
	s := restOver(t, &streams{
		watch: func(_ *concentratorv1.WatchSessionsRequest, stream grpc.ServerStreamingServer[concentratorv1.WatchSessionsResponse]) error {
			_ = stream.SendHeader(nil)
			return refuse
		},
		capture: func(grpc.ServerStreamingServer[httpbody.HttpBody]) error { return refuse },
	})
	for _, http1 := range []bool{true, false} {
		for _, c := range []struct{ method, path, accept string }{
			{"GET", watchPath, typeEvents},
			{"GET", watchPath, typeLines},
			{"GET", watchPath, ""},
			{"POST", "/v1/tenants/acme/sessions/s1:capture", ""},
		} {
			resp := askREST(t, s, http1, c.method, c.path, "Accept", c.accept)
			b, err := io.ReadAll(resp.Body)
			must(t)(b, err)
			got := decodeJSON(t, string(b))
			if resp.StatusCode != 404 || resp.Header.Get("Content-Type") != typeJSON || got["message"] != "no such tenant" || !strings.Contains(string(b), reasonNotFound) {
				t.Errorf("%s as %q: %s, %q, %s", c.path, c.accept, resp.Status, resp.Header.Get("Content-Type"), b)
			}
		}
	}
}

// A file comes as it is; one that breaks off is cut off, so that nobody takes it for whole.
func TestBinary(t *testing.T) {
	var end error
	s := restOver(t, &streams{capture: func(stream grpc.ServerStreamingServer[httpbody.HttpBody]) error {
		for _, piece := range []string{"\xd4\xc3\xb2\xa1", "", "one\n", "two"} {
			if err := stream.Send(&httpbody.HttpBody{ContentType: "application/vnd.tcpdump.pcap", Data: []byte(piece)}); err != nil {
				return err
			}
		}
		stream.SetTrailer(metadata.Pairs("x-concentrator-missed", "7", "x-other", "no"))
		return end
	}})
	for _, http1 := range []bool{true, false} {
		end = nil
		resp := askREST(t, s, http1, "POST", "/v1/tenants/acme/sessions/s1:capture", "Accept", "application/json")
		b, err := io.ReadAll(resp.Body)
		if err != nil || string(b) != "\xd4\xc3\xb2\xa1one\ntwo" || resp.Header.Get("Content-Type") != "application/vnd.tcpdump.pcap" {
			t.Errorf("%q, %v, content type %q", b, err, resp.Header.Get("Content-Type"))
		}
		if len(resp.Trailer) != 1 || resp.Trailer.Get("X-Concentrator-Missed") != "7" {
			t.Errorf("trailers are %v", resp.Trailer)
		}
		end = status.Error(codes.Unavailable, "going down")
		resp = askREST(t, s, http1, "POST", "/v1/tenants/acme/sessions/s1:capture")
		if b, err := io.ReadAll(resp.Body); err == nil || errors.Is(err, context.Canceled) || strings.Contains(string(b), "going down") {
			t.Errorf("a file that broke off: %q, %v", b, err)
		}
	}
}

// A capture has a body to send, and lasts longer than sending may.
func TestStreamOutlastsTheTimeToSend(t *testing.T) {
	const toSend = 100 * time.Millisecond
	s := restOver(t, &streams{capture: func(stream grpc.ServerStreamingServer[httpbody.HttpBody]) error {
		for range 6 {
			select {
			case <-time.After(toSend / 2):
			case <-stream.Context().Done():
				return stream.Context().Err()
			}
			if err := stream.Send(&httpbody.HttpBody{Data: []byte("x")}); err != nil {
				return err
			}
		}
		return nil
	}}, func(c *http.Server) { c.ReadTimeout = toSend })
	for _, http1 := range []bool{true, false} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/tenants/acme/sessions/s1:capture", strings.NewReader(`{"side":"OUTER"}`))
		must(t)(req, err)
		req.Header.Set("Authorization", "Bearer "+streamToken)
		resp, err := clientOf(t, s, http1).Do(req)
		must(t)(resp, err)
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(b) != "xxxxxx" || (resp.ProtoMajor == 1) != http1 {
			t.Errorf("%s: %q, %v", resp.Proto, b, err)
		}
	}
}

// A reader of events that goes away ends the call behind it.
func TestReaderOfEventsGoes(t *testing.T) {
	hurry(t, 5*time.Millisecond, 5*time.Millisecond)
	ended := make(chan struct{})
	s := restOver(t, &streams{watch: func(_ *concentratorv1.WatchSessionsRequest, stream grpc.ServerStreamingServer[concentratorv1.WatchSessionsResponse]) error {
		_ = stream.SendHeader(nil)
		<-stream.Context().Done()
		close(ended)
		return stream.Context().Err()
	}})
	resp := askREST(t, s, true, "GET", watchPath, "Accept", typeEvents)
	must(t)(resp.Body.Read(make([]byte, 1)))
	must(t)(nil, resp.Body.Close())
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the watch goes on")
	}
}

// The answer to a watch begins when the request is there, and waits neither for something to say nor begins before: some
// clients stop sending a request when they see its answer begin.
func TestAnswerBeginsBehindTheRequest(t *testing.T) {
	f := start(t)
	stream, err := f.conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, concentratorv1.ListenerService_WatchListeners_FullMethodName)
	must(t)(stream, err)
	began := make(chan error, 1)
	go func() {
		_, err := stream.Header()
		began <- err
	}()
	select {
	case err := <-began:
		t.Errorf("the answer begins before the request: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	must(t)(nil, stream.SendMsg(&concentratorv1.WatchListenersRequest{}))
	must(t)(nil, stream.CloseSend())
	select {
	case err := <-began:
		must(t)(nil, err)
	case <-time.After(10 * time.Second):
		t.Error("the answer does not begin")
	}
}
