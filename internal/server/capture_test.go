package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/session"
)

// fakeCapture is a liveCapture whose packets the test makes.
type fakeCapture struct {
	mu    sync.Mutex
	specs []session.CaptureSpec
	run   func(ctx context.Context, sink func([]byte) error) (session.Captured, error)
	errs  chan error // what a capture has ended with
}

func (f *fakeCapture) Capture(ctx context.Context, name string, spec session.CaptureSpec, sink func([]byte) error) (session.Captured, error) {
	if !strings.HasSuffix(name, "/sessions/s1") {
		return session.Captured{}, session.ErrNotFound
	}
	f.mu.Lock()
	f.specs = append(f.specs, spec)
	run := f.run
	f.mu.Unlock()
	if run == nil {
		return session.Captured{}, nil
	}
	all, err := run(ctx, sink)
	f.errs <- err
	return all, err
}

// taken is what a fake capture gives.
func taken(pieces ...string) func(context.Context, func([]byte) error) (session.Captured, error) {
	return func(_ context.Context, sink func([]byte) error) (session.Captured, error) {
		room := make([]byte, 0, 1024)
		for _, p := range pieces {
			room = append(room[:0], p...)
			if err := sink(room); err != nil {
				return session.Captured{}, err
			}
			clear(room) // it was borrowed
		}
		return session.Captured{Packets: 7, Missed: 3}, nil
	}
}

// startCapture serves an API with a session that can be captured.
func startCapture(t *testing.T, run func(context.Context, func([]byte) error) (session.Captured, error)) *fixture {
	t.Helper()
	f := start(t)
	f.seedLive(t)
	f.live.fakeCapture.run, f.live.errs = run, make(chan error, 10)
	return f
}

// receive reads a capture to its end.
func receive(stream grpc.ServerStreamingClient[httpbody.HttpBody]) (contentType string, data []byte, err error) {
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return contentType, data, nil
		}
		if err != nil {
			return contentType, data, err
		}
		contentType = m.GetContentType()
		data = append(data, m.GetData()...)
	}
}

func TestCaptureSession(t *testing.T) {
	f := startCapture(t, taken("header", "records", "", "\n\x00more"))
	want := "headerrecords\n\x00more"
	for _, tt := range []struct {
		name string
		r    *concentratorv1.CaptureSessionRequest
		body string
		spec session.CaptureSpec
	}{
		{
			"defaults", &concentratorv1.CaptureSessionRequest{}, `{}`,
			session.CaptureSpec{Duration: time.Minute, Octets: 64 << 20},
		},
		{
			"all", &concentratorv1.CaptureSessionRequest{
				Side: concentratorv1.CaptureSessionRequest_OUTER, Duration: durationpb.New(time.Hour), MaxBytes: 1 << 30, MaxPackets: 5, SnapLength: 20,
			},
			`{"side": "OUTER", "duration": "3600s", "maxBytes": "1073741824", "maxPackets": "5", "snapLength": 20}`,
			session.CaptureSpec{Outer: true, Duration: time.Hour, Octets: 1 << 30, Packets: 5, Snap: 20},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.live.specs = nil
			tt.r.Name = "tenants/acme/sessions/s1"
			stream, err := concentratorv1.NewSessionServiceClient(f.conn).CaptureSession(t.Context(), tt.r)
			if err != nil {
				t.Fatal(err)
			}
			kind, data, err := receive(stream)
			if err != nil || string(data) != want || kind != "application/vnd.tcpdump.pcap" {
				t.Errorf("%v: %q of %s", err, data, kind)
			}
			if n, missed := stream.Trailer().Get(capturedHeader), stream.Trailer().Get(missedHeader); strings.Join(n, "") != "7" || strings.Join(missed, "") != "3" {
				t.Errorf("the trailer says %q, %q missed", n, missed)
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
				"https://"+f.RESTAddr().String()+"/v1/tenants/acme/sessions/s1:capture", strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+f.token)
			resp, err := f.http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if err != nil || string(text) != want || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != kind {
				t.Errorf("REST: %v, %s, %v: %q", err, resp.Status, resp.Header, text)
			}
			if s := f.live.specs; len(s) != 2 || s[0] != tt.spec || s[1] != tt.spec {
				t.Errorf("asked for %+v, want %+v", s, tt.spec)
			}
		})
	}
}

func TestCaptureSessionRefused(t *testing.T) {
	f := startCapture(t, taken("header"))
	capture := func(r *concentratorv1.CaptureSessionRequest) error {
		t.Helper()
		stream, err := concentratorv1.NewSessionServiceClient(f.conn).CaptureSession(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		_, data, err := receive(stream)
		if len(data) != 0 {
			t.Errorf("%q came", data)
		}
		return err
	}
	for field, r := range map[string]*concentratorv1.CaptureSessionRequest{
		"duration":    {Duration: durationpb.New(time.Hour + time.Second)},
		"duration ":   {Duration: durationpb.New(time.Second / 2)},
		"maxBytes":    {MaxBytes: 1<<30 + 1},
		"maxBytes ":   {MaxBytes: -1},
		"maxPackets":  {MaxPackets: -1},
		"snapLength":  {SnapLength: 19},
		"snapLength ": {SnapLength: 65536},
		"side":        {Side: 3},
		"name":        {Name: "acme"},
		"name ":       {Name: "tenants/acme/users/alice"},
	} {
		if r.Name == "" {
			r.Name = "tenants/acme/sessions/s1"
		}
		got := failureOf(capture(r))
		if got.code != codes.InvalidArgument || got.reason != reasonInvalid || len(got.fields) != 1 || got.fields[0] != strings.TrimSpace(field) {
			t.Errorf("%s: %+v", field, got)
		}
	}
	gone := capture(&concentratorv1.CaptureSessionRequest{Name: "tenants/acme/sessions/s2"})
	if got := failureOf(gone); got.code != codes.NotFound || got.reason != reasonNotFound || !strings.Contains(gone.Error(), "acme/sessions/s2") {
		t.Errorf("no such session: %v", gone)
	}
	if code, body := f.rest(t, http.MethodPost, "/v1/tenants/acme/sessions/s2:capture", `{}`); code != http.StatusNotFound || !strings.Contains(body, reasonNotFound) {
		t.Errorf("REST: %d %s", code, body)
	}
	f.live.fakeCapture.run = func(context.Context, func([]byte) error) (session.Captured, error) {
		return session.Captured{}, session.ErrTooManyCaptures
	}
	if got := failureOf(capture(&concentratorv1.CaptureSessionRequest{Name: "tenants/acme/sessions/s1"})); got.code != codes.ResourceExhausted || got.reason != reasonTooManyCaptures {
		t.Errorf("a fifth: %+v", got)
	}
}

// endless captures more than anybody reads.
func endless(_ context.Context, sink func([]byte) error) (session.Captured, error) {
	piece := bytes.Repeat([]byte("x"), 64<<10)
	for {
		if err := sink(piece); err != nil {
			return session.Captured{}, err
		}
	}
}

// TestCaptureStalled: a reader that takes nothing is noticed, and its place given to others.
func TestCaptureStalled(t *testing.T) {
	before := captureStall
	captureStall = 200 * time.Millisecond
	t.Cleanup(func() { captureStall = before })
	f := startCapture(t, endless)
	ended := func() {
		t.Helper()
		select {
		case err := <-f.live.errs:
			if got := failureOf(err); got.code != codes.Aborted || got.reason != reasonStalled {
				t.Errorf("ended with %v", err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("a reader that takes nothing is not noticed")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := concentratorv1.NewSessionServiceClient(f.conn).CaptureSession(ctx, &concentratorv1.CaptureSessionRequest{Name: "tenants/acme/sessions/s1"}); err != nil {
		t.Fatal(err)
	}
	ended()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+f.RESTAddr().String()+"/v1/tenants/acme/sessions/s1:capture", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+f.token)
	resp, err := f.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	ended()
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("a file that was cut off looks whole")
	}
}

// TestCaptureEndsWithServer: the caller is told, and so is one that goes.
func TestCaptureEndsWithServer(t *testing.T) {
	f := startCapture(t, func(ctx context.Context, sink func([]byte) error) (session.Captured, error) {
		if err := sink([]byte("header")); err != nil {
			return session.Captured{}, err
		}
		<-ctx.Done()
		return session.Captured{}, ctx.Err()
	})
	begin := func(ctx context.Context) grpc.ServerStreamingClient[httpbody.HttpBody] {
		t.Helper()
		stream, err := concentratorv1.NewSessionServiceClient(f.conn).CaptureSession(ctx, &concentratorv1.CaptureSessionRequest{Name: "tenants/acme/sessions/s1"})
		if err != nil {
			t.Fatal(err)
		}
		if m, err := stream.Recv(); err != nil || string(m.GetData()) != "header" {
			t.Fatalf("%v, %v", m, err)
		}
		return stream
	}
	ctx, cancel := context.WithCancel(t.Context())
	begin(ctx)
	cancel()
	if err := <-f.live.errs; !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that goes: %v", err)
	}
	stream := begin(t.Context())
	f.stop()
	if _, _, err := receive(stream); failureOf(err).reason != reasonShuttingDown {
		t.Errorf("when the server stops: %v", err)
	}
}

// TestCaptureIsAudited: who captured whom is in the trail before the first packet is handed out, and so is a refusal.
func TestCaptureIsAudited(t *testing.T) {
	hold := make(chan struct{})
	f := startCapture(t, func(_ context.Context, sink func([]byte) error) (session.Captured, error) {
		err := sink([]byte("header"))
		<-hold
		return session.Captured{}, err
	})
	ask := func(name string) grpc.ServerStreamingClient[httpbody.HttpBody] {
		t.Helper()
		stream, err := concentratorv1.NewSessionServiceClient(f.conn).CaptureSession(t.Context(), &concentratorv1.CaptureSessionRequest{
			Name: name, Side: concentratorv1.CaptureSessionRequest_OUTER, MaxPackets: 5,
		})
		if err != nil {
			t.Fatal(err)
		}
		return stream
	}
	events := func() []*concentratorv1.AuditEvent {
		t.Helper()
		list, err := concentratorv1.NewAuditEventServiceClient(f.conn).ListAuditEvents(t.Context(), &concentratorv1.ListAuditEventsRequest{
			Parent: "tenants/acme", Filter: `method = "CaptureSession"`,
		})
		if err != nil {
			t.Fatal(err)
		}
		return list.GetAuditEvents()
	}
	stream := ask("tenants/acme/sessions/s1")
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	got := events()
	if len(got) != 1 || got[0].GetResource() != "tenants/acme/sessions/s1" || got[0].GetCode() != "OK" ||
		got[0].GetCaller() == "" || !strings.Contains(got[0].GetDetail(), "OUTER") {
		t.Errorf("while it runs: %v", got)
	}
	close(hold)
	if _, _, err := receive(stream); err != nil {
		t.Fatal(err)
	}
	if _, _, err := receive(ask("tenants/acme/sessions/s2")); err == nil {
		t.Fatal("there is no s2")
	}
	codes := map[string]int{}
	for _, e := range events() {
		codes[e.GetResource()+" "+e.GetCode()]++
	}
	if len(codes) != 2 || codes["tenants/acme/sessions/s1 OK"] != 1 || codes["tenants/acme/sessions/s2 NOT_FOUND"] != 1 {
		t.Errorf("afterwards: %v", codes)
	}
}
