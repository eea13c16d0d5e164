package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"concentrator/test/bench/rawio"
)

// HotRow is what a path's crypto costs one thread that does nothing else, in nanoseconds of CPU time for a packet of innerLen
// octets in batches of rawio.Batch: in the quickest hundredth of many batches, when nobody else had the processor's caches or
// its other thread, and the median. Not the least, because the clock may be wrong once.
type HotRow struct {
	Path        string  `json:"path"`
	Direction   string  `json:"direction"`
	Sessions    int     `json:"sessions"` // whose packets a batch has, in turn
	NS          float64 `json:"ns"`
	MedianNS    float64 `json:"medianNs"`
	StdNS       float64 `json:"stdNs"`
	StdMedianNS float64 `json:"stdMedianNs"`
	Batches     int     `json:"batches"`
	Run         *Run    `json:"run"`
}

// hotBatches are measured of each, in turns of hotTurn: both meet what else goes on in the machine, and find their caches as
// they left them.
const (
	hotBatches  = 4000
	hotTurn     = 100
	undisturbed = 0.01
)

// partCrypto is part "crypto".
func partCrypto(ctx context.Context, b *bench) (any, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	work, err := newThread(b.shardCPU)
	if err != nil {
		return nil, err
	}
	defer work.close()
	batches := hotBatches
	if b.short {
		batches /= 10
	}
	var rows []HotRow
	for _, p := range b.paths {
		if p.carrier == plainL2TP {
			continue // it has no crypto
		}
		for _, d := range []direction{up, down} {
			for _, sessions := range []int{1, sessionsSingle} {
				b.progress("crypto: %s %s, %d sessions", p.name, d, sessions)
				row, err := hot(ctx, work, p, d, sessions, batches)
				if err != nil {
					return nil, fmt.Errorf("%s %s: %w", p.name, d, err)
				}
				row.Run = b.run
				rows = append(rows, row)
			}
		}
	}
	return rows, nil
}

// hot measures so many batches of a path and of the standard library in turn.
func hot(ctx context.Context, work *thread, p path, d direction, sessions, batches int) (r HotRow, err error) {
	ours, err := cryptoBatch(p, d, sessions)
	if err != nil {
		return r, err
	}
	std, err := stdBatch(p, d)
	if err != nil {
		return r, err
	}
	var costs [2][]float64
	for n := 0; n < batches; n += hotTurn {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		runtime.GC() // between what is measured: the standard library's RC4 is garbage for each packet
		for i, f := range []batch{ours, std} {
			if err := work.do(func() error { return f.turn(&costs[i]) }); err != nil {
				return r, err
			}
		}
	}
	return HotRow{
		Path: p.name, Direction: string(d), Sessions: sessions, Batches: len(costs[0]),
		NS: rounded(quantile(costs[0], undisturbed), 1), MedianNS: rounded(spreadOf(costs[0]).median, 1),
		StdNS: rounded(quantile(costs[1], undisturbed), 1), StdMedianNS: rounded(spreadOf(costs[1]).median, 1),
	}, nil
}

// turn notes what a packet of each of hotTurn batches costs.
func (f batch) turn(costs *[]float64) error {
	for range hotTurn {
		took, err := f()
		if err != nil {
			return err
		}
		*costs = append(*costs, float64(took)/rawio.Batch)
	}
	return nil
}

func hotTable(rows []HotRow) table {
	t := table{
		title: "Crypto alone, in a loop of its own: CPU time of a packet, nanoseconds; the quickest hundredth of many batches, and their median",
		head:  []string{"path", "way", "sessions", "batch", "median", "std crypto", "median"},
	}
	for _, r := range rows {
		t.rows = append(t.rows, []string{
			r.Path, r.Direction, fmt.Sprint(r.Sessions), fmt.Sprintf("%.0f", r.NS), fmt.Sprintf("%.0f", r.MedianNS),
			fmt.Sprintf("%.0f", r.StdNS), fmt.Sprintf("%.0f", r.StdMedianNS),
		})
	}
	return t
}
