package main

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane"
)

// GCRow says what the collector did while packets of all protocols passed both ways.
type GCRow struct {
	Seconds     float64 `json:"seconds"`
	Packets     uint64  `json:"packets"` // that passed, both ways
	PPS         float64 `json:"pps"`
	Busy        float64 `json:"busy"` // part of the time that the shard worked
	Collections uint32  `json:"collections"`
	Allocations uint64  `json:"allocations"` // by the whole process, the sender included
	Run         *Run    `json:"run"`
}

// gcBurst is how many packets of one session are sent in a row.
const gcBurst = 16

// partGC is part "gc".
func partGC(ctx context.Context, b *bench) (any, error) {
	long := time.Minute
	if b.short {
		long = 10 * time.Second
	}
	b.progress("gc: %v", long)
	return b.measureGC(ctx, long)
}

func gcTable(r GCRow) table {
	return table{
		title: "All protocols both ways at full speed: what the garbage collector did",
		head:  []string{"seconds", "packets", "packets/s", "busy", "collections", "allocations"},
		rows: [][]string{{
			fmt.Sprintf("%.0f", r.Seconds), fmt.Sprint(r.Packets), fmt.Sprintf("%.0f", r.PPS), fmt.Sprintf("%.0f %%", 100*r.Busy),
			fmt.Sprint(r.Collections), fmt.Sprint(r.Allocations),
		}},
	}
}

func (b *bench) measureGC(ctx context.Context, long time.Duration) (r GCRow, err error) {
	l := &lab{}
	defer b.closing("gc", l.close)
	s, err := newServer(l, "g", dataplane.Config{Shards: 1})
	if err != nil {
		return r, err
	}
	defer b.closing("gc", s.close)
	if err := l.inside(s.inner, device); err != nil {
		return r, err
	}
	gen, err := newThread(b.otherCPU)
	if err != nil {
		return r, err
	}
	defer gen.close()
	type sending struct {
		*load
		segment bool
	}
	var loads []sending
	var inners [][]byte
	var all []*session
	for _, p := range b.paths {
		x, err := newLoad(s, gen, p, 1, trainLen)
		if err != nil {
			return r, err
		}
		defer x.close()
		inner := innerUDP(x.sessions[0].addr, netip.MustParseAddr(sinkhole), clientPort, insidePort)
		if p.segmentable() {
			example, err := x.sessions[0].far.data(inner)
			if err != nil {
				return r, err
			}
			if err := unix.SetsockoptInt(x.clients.fds[0], unix.IPPROTO_UDP, unix.UDP_SEGMENT, len(example)); err != nil {
				return r, fmt.Errorf("send in trains: %w", err)
			}
		}
		loads = append(loads, sending{x, p.segmentable()})
		all = append(all, x.sessions...)
		inners = append(inners, inner)
	}
	// One round moves packets of one session both ways, by as few system calls as the kernel lets us: the shard, not the
	// sender, is to be busy.
	payload, burst := make([]byte, gcBurst*(innerLen-ipLen-udpLen)), make([]byte, 0, 1<<16)
	round := func(i int) error {
		x := loads[i%len(loads)]
		burst = burst[:0]
		for range gcBurst {
			p, err := x.sessions[0].far.data(inners[i%len(loads)])
			if err != nil {
				return err
			}
			if burst = append(burst, p...); x.segment {
				continue
			}
			if err := sendOrLose(x.clients.fds[0], burst); err != nil {
				return err
			}
			burst = burst[:0]
		}
		if len(burst) > 0 {
			if err := sendOrLose(x.clients.fds[0], burst); err != nil {
				return err
			}
		}
		if err := sendOrLose(x.sources.fds[0], payload); err != nil {
			return err
		}
		for range 2 * gcBurst {
			_ = receive(x.clients.fds[0], x.clients.buf)
		}
		return nil
	}
	send := func(long time.Duration) error {
		return gen.do(func() error { return (&pacer{}).run(ctx, long, round, func() {}) })
	}
	if err := send(200 * time.Millisecond); err != nil { // what is made on first use is made
		return r, err
	}
	s.settle()
	before, cpu := s.passed(all), s.cpu()
	runtime.GC() // and no collection just because two minutes are over
	var a, z runtime.MemStats
	runtime.ReadMemStats(&a)
	if err := send(long); err != nil {
		return r, err
	}
	runtime.ReadMemStats(&z)
	spent := s.cpu() - cpu
	r = GCRow{
		Seconds: long.Seconds(), Packets: s.passed(all) - before, Busy: rounded(spent.Seconds()/long.Seconds(), 2),
		Collections: z.NumGC - a.NumGC, Allocations: z.Mallocs - a.Mallocs, Run: b.run,
	}
	r.PPS = rounded(float64(r.Packets)/long.Seconds(), 0)
	if r.Packets == 0 {
		return r, fmt.Errorf("nothing went through; dropped: %s", s.drops())
	}
	return r, nil
}
