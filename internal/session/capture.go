package session

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"concentrator/internal/dataplane"
	"concentrator/internal/dataplane/capture"
	"concentrator/internal/telemetry"
)

const (
	// maxCaptures bounds what captures cost: each takes 4 MiB, and time of a shard.
	maxCaptures = 4
	// captureEvery is how often what was captured is handed on.
	captureEvery = 20 * time.Millisecond
)

// ErrTooManyCaptures is returned when as many captures run as may run at a time.
var ErrTooManyCaptures = errors.New("as many captures run as may")

// CaptureSpec says what a capture takes, and how much at most.
type CaptureSpec struct {
	Outer    bool          // what goes over the line between the client and us; else the client's own IP packets
	Duration time.Duration // when it ends
	Snap     int           // octets of each packet that are kept; 0: all
	Octets   int64         // of packets, without what the file format adds; 0: no limit
	Packets  int64         // 0: no limit
}

// Captured is what became of the packets of a capture.
type Captured struct {
	Packets int64  // that were taken
	Missed  uint64 // that were not, because the sink was too slow
}

// captures counts those that run. The zero value is ready to use.
type captures struct{ n atomic.Int32 }

func (c *captures) begin() bool {
	if c.n.Add(1) <= maxCaptures {
		return true
	}
	c.n.Add(-1)
	return false
}

func (c *captures) end() { c.n.Add(-1) }

// Capture copies the packets of a live session as they pass, until a limit of spec is reached, the session ends or ctx does.
// sink is given a pcap file in pieces: its beginning at once, then whole records, some 20 ms after the packets at most. A
// piece is borrowed until sink returns; while it works packets wait in a ring of 4 MiB, and what finds no room there is
// missed. The error is ErrNotFound, ErrTooManyCaptures, ctx's, or sink's.
func (m *Manager) Capture(ctx context.Context, name string, spec CaptureSpec, sink func(piece []byte) error) (Captured, error) {
	s := m.byName(name)
	if s == nil {
		return Captured{}, ErrNotFound
	}
	if !m.captures.begin() {
		return Captured{}, fmt.Errorf("%w: %d at a time; try again when one has ended", ErrTooManyCaptures, maxCaptures)
	}
	defer m.captures.end()
	tap := capture.New(capture.Limits{Snap: spec.Snap, Packets: spec.Packets, Octets: spec.Octets})
	side, word := dataplane.Inner, "inner side"
	if spec.Outer {
		side, word = dataplane.Outer, "outer side"
	}
	if err := s.call.Tap(side, tap); err != nil {
		return Captured{}, fmt.Errorf("capture: %w", err)
	}
	began := time.Now()
	s.log.Info("capture begins", telemetry.Tenant, s.snapshot().Tenant, telemetry.Detail, word)
	err := s.captured(ctx, tap, spec.Duration, sink)
	s.call.Untap(tap)
	all := Captured{tap.Packets(), tap.Missed()}
	m.cfg.Metrics.Captured(uint64(all.Packets), all.Missed)
	s.log.Info("capture ended", telemetry.Tenant, s.snapshot().Tenant, telemetry.Detail, fmt.Sprintf("%s, %d missed", word, all.Missed),
		telemetry.Count, all.Packets, telemetry.Duration, time.Since(began).Round(time.Millisecond).String())
	return all, err
}

// captured hands on what comes into a tap, until it is done.
func (s *session) captured(ctx context.Context, tap *capture.Tap, limit time.Duration, sink func([]byte) error) error {
	if err := sink(capture.AppendFileHeader(nil, tap.Snap())); err != nil {
		return err
	}
	defer time.AfterFunc(limit, tap.End).Stop()
	tick := time.NewTicker(captureEvery)
	defer tick.Stop()
	piece := make([]byte, 0, capture.RecordHeaderLen+capture.MaxSnap)
	for last := false; !last; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		last = tap.Done() // before the last look
		for piece = tap.Read(piece[:0]); len(piece) > 0; piece = tap.Read(piece[:0]) {
			if err := sink(piece); err != nil {
				return err
			}
		}
	}
	return nil
}
