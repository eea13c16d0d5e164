package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"concentrator/internal/simclient/load"
	"concentrator/internal/simclient/traffic"
	"concentrator/internal/tenant"
)

// output is what is printed: one JSON object, or lines.
type output struct {
	Command  string `json:"command"`
	Server   string `json:"server"`
	Protocol string `json:"protocol"`
	Count    int    `json:"count"`
	load.Report
	Traffic *traffic.Report `json:"traffic,omitempty"`
}

func (o output) print(w io.Writer, format string) error {
	if format == "json" {
		b, err := json.Marshal(o)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", b)
		return err
	}
	_, err := io.WriteString(w, o.text())
	return err
}

func (o output) text() string {
	var b strings.Builder
	line := func(head, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s%s\n", head, fmt.Sprintf(format, args...))
	}
	line("log-ins", "%d of %d in %.2f s: %.1f a second", o.OK, o.OK+o.Failures(), o.ElapsedS, o.Rate)
	if o.OK > 0 {
		line("latency", "p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, at most %.1f ms", o.P50Ms, o.P90Ms, o.P99Ms, o.MaxMs)
	}
	for _, p := range slices.Sorted(maps.Keys(o.Protocols)) {
		part := o.Protocols[p]
		line("", "%-10s %d ok, %d failed, p50 %.1f ms, p99 %.1f ms", p, part.OK, part.Failed, part.P50Ms, part.P99Ms)
	}
	o.reasons(line, "failed", o.Failed)
	o.reasons(line, "lost", o.LostReasons)
	if o.HangUpFailed > 0 {
		line("hanging up", "%d were not answered: %s", o.HangUpFailed, o.Examples[load.ReasonHangUp])
	}
	if p := o.Pings; p != nil {
		line("pings", "%d of %d answered", p.Answered, p.Sent)
	}
	if o.Rebound > 0 {
		line("NAT", "%d times another port", o.Rebound)
	}
	if r := o.Rekeys; r != nil {
		line("new SAs", "%d times; %d failed", r.OK, r.Failed)
	}
	if s := o.SAs; s != nil {
		line("IPsec", "%d ISAKMP SAs, %d pairs of ESP SAs", s.IKE, s.ESP)
	}
	if t := o.Traffic; t != nil {
		stream(line, "up", t.Up)
		stream(line, "down", t.Down)
	}
	cpu := fmt.Sprintf("own %.2f s", o.OwnCPUS)
	if o.ServerCPUS != nil {
		cpu += fmt.Sprintf(", server %.2f s", *o.ServerCPUS)
	}
	line("CPU", "%s", cpu)
	if o.Interrupted {
		line("", "interrupted")
	}
	return b.String()
}

// reasons prints how often each reason was met, with an example.
func (o output) reasons(line func(head, format string, args ...any), head string, counts map[tenant.Reason]int) {
	for _, r := range slices.Sorted(maps.Keys(counts)) {
		line(head, "%d %s: %s", counts[r], r, strings.ReplaceAll(o.Examples[r], "\n", "; "))
	}
}

// stream prints one direction of the traffic.
func stream(line func(head, format string, args ...any), head string, s *traffic.Stream) {
	if s == nil {
		return
	}
	line(head, "%d of %d arrived, %.0f a second, %.1f Mbit/s; %d lost, %d overtaken, %d twice", s.Received, s.Sent, s.PPS,
		s.BitsPerSecond/1e6, s.Lost, s.Reordered, s.Duplicates)
	line("", "latency p50 %.3f ms, p99 %.3f ms, p99.9 %.3f ms, at most %.3f ms", s.P50Ms, s.P99Ms, s.P999Ms, s.MaxMs)
}
