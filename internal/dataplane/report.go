package dataplane

import (
	"context"
	"strconv"
	"time"

	"concentrator/internal/telemetry"
)

// maxReports is how many reports may wait to be told. What comes on top is only counted.
const maxReports = 16

// report is what a shard says of a panic.
type report struct {
	shard  int
	value  string // what it panicked with
	stack  string
	whose  string // for whom it worked
	action string // what became of them
}

// reports brings them from shards to tellPanics.
type reports chan report

// put never blocks.
func (r reports) put(one report) {
	select {
	case r <- one:
	default:
	}
}

// tellPanics logs what shards report. The fault of a shard stands until it has been calm for a while.
func (d *Dataplane) tellPanics(ctx context.Context) {
	last := make(map[int]time.Time)
	tick := time.NewTicker(time.Duration(calm) / 10)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-d.reports:
			d.log.Error("a shard has panicked", telemetry.Shard, r.shard, telemetry.Error, r.value,
				telemetry.Detail, r.whose+": "+r.action, telemetry.Stack, r.stack)
			d.faults.Raise(telemetry.FaultShard, shardName(r.shard), r.value+"; "+r.whose+": "+r.action)
			last[r.shard] = time.Now()
		case now := <-tick.C:
			for id, at := range last {
				if now.Sub(at) > time.Duration(calm) {
					d.faults.Clear(telemetry.FaultShard, shardName(id))
					delete(last, id)
				}
			}
		}
	}
}

// shardName is the subject of a shard's fault.
func shardName(id int) string { return "shards/" + strconv.Itoa(id) }
