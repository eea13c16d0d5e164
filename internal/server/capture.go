package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/session"
)

// liveCapture is what CaptureSession needs of the running sessions. It is safe for concurrent use.
type liveCapture interface {
	// Capture copies the packets of a live session, and gives them to sink in pieces of a pcap file, each borrowed until sink
	// returns. It ends with the session, ctx, a limit of the spec, or sink's error.
	Capture(ctx context.Context, name string, spec session.CaptureSpec, sink func(piece []byte) error) (session.Captured, error)
}

const (
	// captureType is the media type of pcap files, as registered with IANA.
	captureType = "application/vnd.tcpdump.pcap"
	// Trailers of a capture.
	capturedHeader = "x-concentrator-packets"
	missedHeader   = "x-concentrator-missed"

	// maxCapturesOf is how many captures the callers of one tenant may have at a time: there are few places.
	maxCapturesOf = 2

	defaultCaptureTime   = time.Minute
	defaultCaptureOctets = 64 << 20
)

// captureStall is how long a reader may take nothing before its capture is cut off: a place is not held for nobody. It is
// variable for tests only.
var captureStall = 10 * time.Second

// CaptureSession implements SessionServiceServer.
func (s sessionService) CaptureSession(r *concentratorv1.CaptureSessionRequest, stream grpc.ServerStreamingServer[httpbody.HttpBody]) error {
	if err := checkSessionName(r.GetName()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	leave, err := s.captures.enter(callerOf(ctx).tenant)
	if err != nil {
		return err
	}
	defer leave()
	to := newPieces(stream)
	defer to.close()
	all, err := s.live.Capture(ctx, r.GetName(), captureSpec(r), func(piece []byte) error { return to.send(ctx, piece) })
	stream.SetTrailer(metadata.Pairs(
		capturedHeader, strconv.FormatInt(all.Packets, 10), missedHeader, strconv.FormatUint(all.Missed, 10)))
	switch {
	case s.stopping.Err() != nil:
		return errShuttingDown
	case errors.Is(err, session.ErrNotFound):
		return noSession(r.GetName())
	}
	return err
}

// captureSpec is what a request asks for, with the defaults of what it leaves out.
func captureSpec(r *concentratorv1.CaptureSessionRequest) session.CaptureSpec {
	spec := session.CaptureSpec{
		Outer: r.GetSide() == concentratorv1.CaptureSessionRequest_OUTER, Duration: r.GetDuration().AsDuration(),
		Octets: r.GetMaxBytes(), Packets: r.GetMaxPackets(), Snap: int(r.GetSnapLength()),
	}
	if spec.Duration == 0 {
		spec.Duration = defaultCaptureTime
	}
	if spec.Octets == 0 {
		spec.Octets = defaultCaptureOctets
	}
	return spec
}

// pieces sends a file piece by piece on a goroutine of its own: a Send to a reader that takes nothing blocks without end, and
// the handler must notice. When the handler returns, gRPC ends a Send that blocks.
type pieces struct {
	stream grpc.ServerStreamingServer[httpbody.HttpBody]
	begun  bool
	todo   chan []byte
	done   chan error // of the Send under way
}

func newPieces(stream grpc.ServerStreamingServer[httpbody.HttpBody]) *pieces {
	p := &pieces{stream: stream, todo: make(chan []byte), done: make(chan error, 1)}
	go func() {
		for piece := range p.todo {
			p.done <- p.stream.Send(&httpbody.HttpBody{ContentType: captureType, Data: piece})
		}
	}()
	return p
}

// send sends one piece and returns when that is done: then nothing has it any more. After an error it must not be called
// again, nor the piece be used.
func (p *pieces) send(ctx context.Context, piece []byte) error {
	if !p.begun {
		p.begun = true // with it the capture comes into the audit trail, which is the handler's; the first never blocks
		return p.stream.Send(&httpbody.HttpBody{ContentType: captureType, Data: piece})
	}
	p.todo <- piece
	stalled := time.NewTimer(captureStall)
	defer stalled.Stop()
	select {
	case err := <-p.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-stalled.C:
		return newStatus(codes.Aborted, reasonStalled,
			fmt.Sprintf("the capture was cut off: its reader took nothing for %s", captureStall), nil).Err()
	}
}

func (p *pieces) close() { close(p.todo) }

// captures counts those of each tenant's callers. It is safe for concurrent use; the zero value is ready to use.
type captures struct {
	mu sync.Mutex
	by map[string]int
}

// enter takes one of a tenant's places, which leave gives back. "" is that of callers who are bound to none: they have all.
func (c *captures) enter(tenant string) (leave func(), err error) {
	if tenant == "" {
		return func() {}, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by[tenant] >= maxCapturesOf {
		return nil, newStatus(codes.ResourceExhausted, reasonTooManyCaptures,
			fmt.Sprintf("callers of %s have %d captures, as many as they may at a time; try again when one has ended", tenant, maxCapturesOf), nil).Err()
	}
	if c.by == nil {
		c.by = make(map[string]int)
	}
	c.by[tenant]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.by[tenant]--; c.by[tenant] == 0 {
			delete(c.by, tenant)
		}
	}, nil
}
