package tracing

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// receiver is an OTLP collector that keeps what it gets.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	address string

	mu       sync.Mutex
	resource map[string]string
	spans    []*otlp.Span
}

func startReceiver(t *testing.T) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{address: l.Addr().String(), resource: make(map[string]string)}
	s := grpc.NewServer()
	collector.RegisterTraceServiceServer(s, r)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-served; err != nil {
			t.Errorf("receiver: %v", err)
		}
	})
	return r
}

// Export implements the collector.
func (r *receiver) Export(_ context.Context, q *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, of := range q.GetResourceSpans() {
		for _, a := range of.GetResource().GetAttributes() {
			r.resource[a.GetKey()] = a.GetValue().GetStringValue()
		}
		for _, s := range of.GetScopeSpans() {
			r.spans = append(r.spans, s.GetSpans()...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func (r *receiver) names() (names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		names = append(names, s.GetName())
	}
	return names
}

// TestSends: what was traced comes to the collector by Close at the latest, and says who sent it.
func TestSends(t *testing.T) {
	r := startReceiver(t)
	s, err := Start(Config{
		Endpoint: r.address, Insecure: true, SampleRatio: 1, Instance: "gw1", Version: "v1", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	l := s.Login("x1", "PPTP", "listeners/main")
	l.Reached("LCP")
	l.End("tenants/acme", "ACCEPTED", "OPEN", "")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	s.Close(ctx)
	if got := strings.Join(r.names(), " "); got != "LCP login" {
		t.Fatalf("the collector has %q", got)
	}
	if a, b := r.spans[0], r.spans[1]; !bytes.Equal(a.GetTraceId(), b.GetTraceId()) || !bytes.Equal(a.GetParentSpanId(), b.GetSpanId()) {
		t.Errorf("%v does not stand below %v", a, b)
	}
	for key, want := range map[string]string{"service.name": "concentrator", "service.instance.id": "gw1", "service.version": "v1"} {
		if got := r.resource[key]; got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

// TestSampleRatio: so many traces are made, and those are whole.
func TestSampleRatio(t *testing.T) {
	const most = 2000
	for ratio, want := range map[float64][2]int{0: {0, 0}, 0.25: {400, 600}, 1: {most, most}} {
		r := startReceiver(t)
		s, err := Start(Config{Endpoint: r.address, Insecure: true, SampleRatio: ratio, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		for range most {
			l := s.Login("x", "PPTP", "l")
			l.Reached("LCP")
			l.End("", "REFUSED", "LCP", "PEER_TIMEOUT")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		s.Close(ctx)
		cancel()
		logins, stages := 0, 0
		for _, name := range r.names() {
			switch name {
			case "login":
				logins++
			case "LCP":
				stages++
			}
		}
		if logins != stages || logins < want[0] || logins > want[1] {
			t.Errorf("ratio %v: %d log-ins and %d stages of %d, want %v", ratio, logins, stages, most, want)
		}
	}
}

// TestNoCollector: nobody waits for a collector that is not there, what is traced does not pile up, and it is logged once.
func TestNoCollector(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nowhere := l.Addr().String()
	l.Close() // nobody listens there any more
	var log syncBuffer
	s, err := Start(Config{Endpoint: nowhere, Insecure: true, SampleRatio: 1, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for range 5 * queueSpans {
		l := s.Login("x", "PPTP", "l")
		l.Reached("LCP")
		l.End("", "REFUSED", "LCP", "PEER_TIMEOUT")
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("%d log-ins took %v", 5*queueSpans, took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	begin = time.Now()
	s.Close(ctx)
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("Close took %v with a second's time", took)
	}
	if n := strings.Count(log.String(), "traces can't be sent"); n != 1 {
		t.Errorf("logged %d times, want once:\n%s", n, log.String())
	}
}

// syncBuffer is a log that several goroutines write to.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
