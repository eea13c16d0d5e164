package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"

	"concentrator/internal/dataplane"
	"concentrator/test/bench/rawio"
)

// How many packets wait in a phase: few, so that all is warm, as on a live server; and many, so that memory counts.
const (
	hotQueue  = 256
	coldQueue = 4096
)

// warmUp is how many rounds come before those that count.
const warmUp = 2

// sessionsSingle are the sessions that single packets belong to, in turn. A train belongs to one.
const sessionsSingle = 16

// Row is one path's figures in one direction, in nanoseconds of CPU time for a packet of innerLen octets. NS is the shard's,
// CryptoNS that of the batch calls alone, IONS that of the system calls alone; Ratio is the first over the sum of the
// others, of each round.
// Q1 and Q3 are quartiles of the rounds, of which all others are the median.
type Row struct {
	Path       string  `json:"path"`
	Direction  string  `json:"direction"`
	NS         float64 `json:"ns"`
	CryptoNS   float64 `json:"cryptoNs"`
	IONS       float64 `json:"ioNs"`
	Ratio      float64 `json:"ratio"`
	NSQ1       float64 `json:"nsQ1"`
	NSQ3       float64 `json:"nsQ3"`
	CryptoNSQ1 float64 `json:"cryptoNsQ1"`
	CryptoNSQ3 float64 `json:"cryptoNsQ3"`
	IONSQ1     float64 `json:"ioNsQ1"`
	IONSQ3     float64 `json:"ioNsQ3"`
	RatioQ1    float64 `json:"ratioQ1"`
	RatioQ3    float64 `json:"ratioQ3"`

	Offload     bool    `json:"offload"` // of both: the shard's and the I/O alone
	Queue       int     `json:"queue"`   // packets that waited at the start of each phase
	Sessions    int     `json:"sessions"`
	WireOctets  int     `json:"wireOctets"` // behind the IP or UDP header
	GbitPerS    float64 `json:"gbitPerS"`   // of inner packets, what one core at NS carries
	StdCryptoNS float64 `json:"stdCryptoNs"`
	IOReadNS    float64 `json:"ioReadNs"`
	IOWriteNS   float64 `json:"ioWriteNs"`
	IOAckNS     float64 `json:"ioAckNs"`      // PPTP's acknowledgements of what came up
	IOExpected  float64 `json:"ioExpectedNs"` // of this kind of machine, without them; 0: not known
	Void        bool    `json:"void"`

	Variants []Row `json:"variants,omitempty"` // the same with other queues, and without offload
	Run      *Run  `json:"run,omitempty"`
}

// cell is a row that is being measured.
type cell struct {
	row                    Row
	path                   path
	shard, io, crypto, std sampler
	ioLoad                 *ioLoad
	ns, ioNS, cryptoNS     []float64
	stdNS, ratio           []float64
	read, write, ack       []float64
}

// round measures each, a queue of packets at a time in turn. The order changes, and goes the other way in every second round:
// none is always measured with what the same other one has left in the caches.
func (c *cell) round(n int) error {
	var got [4]sample
	c.ioLoad.sum = rawio.Cost{}
	samplers := [4]sampler{c.shard, c.io, c.crypto, c.std}
	for packets := c.row.Queue; packets < perRound+c.row.Queue; packets += c.row.Queue {
		for i := range samplers {
			k := (i + n + warmUp) % len(samplers)
			if n%2 != 0 {
				k = len(samplers) - 1 - k
			}
			if err := samplers[k].until(packets, &got[k]); err != nil {
				return err
			}
		}
	}
	if n < 0 {
		return nil
	}
	var v [4]float64
	for k := range got {
		v[k] = got[k].perPacket()
	}
	c.ns, c.ioNS, c.cryptoNS = append(c.ns, v[0]), append(c.ioNS, v[1]), append(c.cryptoNS, v[2])
	c.stdNS, c.ratio = append(c.stdNS, v[3]), append(c.ratio, v[0]/(v[1]+v[2]))
	c.read = append(c.read, c.ioLoad.sum.ReadPerPacket())
	c.write = append(c.write, c.ioLoad.sum.WritePerPacket())
	c.ack = append(c.ack, c.ioLoad.sum.AckPerPacket())
	return nil
}

// finish makes the row of the rounds.
func (c *cell) finish(model string) Row {
	r := c.row
	ns, io, crypto, ratio := spreadOf(c.ns), spreadOf(c.ioNS), spreadOf(c.cryptoNS), spreadOf(c.ratio)
	r.NS, r.NSQ1, r.NSQ3 = rounded(ns.median, 1), rounded(ns.q1, 1), rounded(ns.q3, 1)
	r.IONS, r.IONSQ1, r.IONSQ3 = rounded(io.median, 1), rounded(io.q1, 1), rounded(io.q3, 1)
	r.CryptoNS, r.CryptoNSQ1, r.CryptoNSQ3 = rounded(crypto.median, 1), rounded(crypto.q1, 1), rounded(crypto.q3, 1)
	r.Ratio = rounded(ratio.median, 3)
	r.RatioQ1, r.RatioQ3 = rounded(ratio.q1, 3), rounded(ratio.q3, 3)
	r.StdCryptoNS = rounded(spreadOf(c.stdNS).median, 1)
	r.IOReadNS, r.IOWriteNS = rounded(spreadOf(c.read).median, 1), rounded(spreadOf(c.write).median, 1)
	r.IOAckNS = rounded(spreadOf(c.ack).median, 1)
	r.GbitPerS = rounded(innerLen*8/r.NS, 2)
	r.IOExpected = expected(model, c.path, direction(r.Direction), r.Offload, r.Queue)
	r.Void = strange(r.IOReadNS+r.IOWriteNS, r.IOExpected)
	return r
}

// partPaths is part "paths".
func partPaths(ctx context.Context, b *bench) (any, error) {
	// The collector would take a share of what is measured; the rounds clean up between them.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	l := &lab{}
	defer b.closing("paths", l.close)
	work, err := newThread(b.shardCPU)
	if err != nil {
		return nil, err
	}
	defer work.close()
	gen, err := newThread(b.generatorCPU)
	if err != nil {
		return nil, err
	}
	defer gen.close()
	k, err := newIOLab(l, "", work, gen)
	if err != nil {
		return nil, err
	}
	defer k.close()
	var all []Row
	for _, offload := range b.modes {
		rows, err := b.measureMode(ctx, l, k, work, gen, offload)
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	heads := headlines(all, b.run)
	b.run.judge(heads)
	return heads, nil
}

// measureMode measures all paths with offload or without, in rounds that go through all of them. Each path has a dataplane of
// its own: sessions that take turns on one shard would be held to their shares of it.
func (b *bench) measureMode(ctx context.Context, l *lab, k *ioLab, work, gen *thread, offload bool) (rows []Row, err error) {
	sessions, train := sessionsSingle, 0
	if offload {
		sessions, train = 1, trainLen
	}
	var cells []*cell
	for i, p := range b.paths {
		s, err := newServer(l, fmt.Sprintf("%d%d", index(offload), i), dataplane.Config{Shards: 1, NoOffload: !offload})
		if err != nil {
			return nil, err
		}
		defer b.closing("paths", s.close)
		if err := l.inside(s.inner, device); err != nil {
			return nil, err
		}
		x, err := newLoad(s, gen, p, sessions, train)
		if err != nil {
			return nil, err
		}
		defer x.close()
		packet, err := x.sessions[0].far.data(example())
		if err != nil {
			return nil, err
		}
		wire := len(packet)
		y, err := k.newLoad(p, sessions, offload, wire)
		if err != nil {
			return nil, err
		}
		defer y.close()
		for _, d := range []direction{up, down} {
			crypto, err := cryptoBatch(p, d, sessions)
			if err != nil {
				return nil, err
			}
			std, err := stdBatch(p, d)
			if err != nil {
				return nil, err
			}
			for _, queue := range b.queues {
				io := y.with(queue)
				cells = append(cells, &cell{
					path: p, shard: x.with(queue).sampler(d), io: io.sampler(d), crypto: crypto.sampler(work),
					std: std.sampler(work), ioLoad: io,
					row: Row{
						Path: p.name, Direction: string(d), Offload: offload, Queue: queue, Sessions: sessions, WireOctets: wire,
					},
				})
			}
		}
	}
	// The first rounds, from -warmUp on, touch memory and make neighbours known; they count for nothing.
	for n := -warmUp; n < b.rounds; n++ {
		b.progress("paths, offload %v: round %d of %d", offload, n+1, b.rounds)
		for _, c := range cells {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := c.round(n); err != nil {
				return nil, fmt.Errorf("%s %s, queue %d, offload %v: %w", c.row.Path, c.row.Direction, c.row.Queue, offload, err)
			}
		}
		runtime.GC()
	}
	for _, c := range cells {
		rows = append(rows, c.finish(b.run.Model))
	}
	return rows, nil
}

// headlines puts the rows of each path and direction below one of them: single packets and the long queue. A packet's costs
// are compared with those of its system calls there, of which it has its own; and a shard at its limit, where the costs are the
// limit, has a socket buffer full of packets before it.
func headlines(all []Row, run *Run) (heads []Row) {
	for _, p := range paths {
		for _, d := range []direction{up, down} {
			var same []Row
			for _, r := range all {
				if r.Path == p.name && r.Direction == string(d) {
					same = append(same, r)
				}
			}
			i := slices.IndexFunc(same, func(r Row) bool { return !r.Offload && r.Queue == coldQueue })
			if i < 0 {
				if len(same) == 0 {
					continue
				}
				i = 0
			}
			head := same[i]
			head.Variants = slices.Delete(same, i, i+1)
			head.Run = run
			heads = append(heads, head)
		}
	}
	return heads
}
