package traffic

import (
	"time"

	"concentrator/internal/simclient/histogram"
)

// Report is what a run has found.
type Report struct {
	Sessions  int     `json:"sessions"`
	DurationS float64 `json:"durationS"` // how long was sent
	Up        *Stream `json:"up,omitempty"`
	Down      *Stream `json:"down,omitempty"`
	// Lost is of both directions.
	Lost uint64 `json:"lost"`
	// OwnCPUS is this process's processor time, ClientCPUS and ResponderCPUS that of the threads of either end, with what
	// the kernel did on their behalf: seconds, user and system.
	OwnCPUS       float64 `json:"ownCpuS"`
	ClientCPUS    float64 `json:"clientCpuS"`
	ResponderCPUS float64 `json:"responderCpuS"`
	// Foreign counts what came to the sessions and was neither theirs nor control: other inner packets, and what could not
	// be opened.
	Foreign uint64 `json:"foreign"`
	// Trials are those of a Search.
	Trials []Trial `json:"trials,omitempty"`
}

// Stream is one direction of it. In an echo, Down is measured from the client and back.
type Stream struct {
	Sent       uint64 `json:"sent"`     // packets that the kernel has taken
	Received   uint64 `json:"received"` // without duplicates
	Lost       uint64 `json:"lost"`
	Reordered  uint64 `json:"reordered"` // behind a later one of their flow
	Duplicates uint64 `json:"duplicates"`
	Unsent     uint64 `json:"unsent"` // that the generator could not send: its own fault
	Bytes      uint64 `json:"bytes"`  // received, inner IP
	// PPS and BitsPerSecond are of what was received, by DurationS.
	PPS           float64 `json:"pps"`
	BitsPerSecond float64 `json:"bitsPerSecond"`
	// Latencies are from the packet's making to its reading at the other end, by one clock.
	P50Ms  float64 `json:"p50Ms"`
	P99Ms  float64 `json:"p99Ms"`
	P999Ms float64 `json:"p999Ms"`
	MaxMs  float64 `json:"maxMs"`
}

// LossRatio is the lost share of what was sent.
func (s *Stream) LossRatio() float64 {
	if s == nil || s.Sent == 0 {
		return 0
	}
	return float64(s.Lost) / float64(s.Sent)
}

// sink is the receiving end of one direction on one thread.
type sink struct {
	flows     []flow // by session
	latencies histogram.Histogram
}

// newStream sums up one direction.
func newStream(m *meter, sinks []*sink, took time.Duration) *Stream {
	s := &Stream{Sent: m.sent.Load(), Unsent: m.unsent.Load()}
	var h histogram.Histogram
	for _, k := range sinks {
		h.Merge(&k.latencies)
		for i := range k.flows {
			f := &k.flows[i]
			s.Received += f.received
			s.Reordered += f.reordered
			s.Duplicates += f.duplicates
			s.Bytes += f.octets
		}
	}
	s.Lost = s.Sent - min(s.Sent, s.Received)
	if sec := took.Seconds(); sec > 0 {
		s.PPS, s.BitsPerSecond = float64(s.Received)/sec, float64(s.Bytes)*8/sec
	}
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	s.P50Ms, s.P99Ms, s.P999Ms, s.MaxMs = ms(h.Quantile(0.5)), ms(h.Quantile(0.99)), ms(h.Quantile(0.999)), ms(h.Max())
	return s
}
