package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"concentrator/internal/dataplane"
)

// ShardRow compares one shard with two that work at the same time. Of path "I/O alone" it is threads that share nothing, not
// even a namespace, and do nothing with the packets: what the machine itself loses when both processors work.
type ShardRow struct {
	Path       string  `json:"path"`
	Direction  string  `json:"direction"`
	NS1        float64 `json:"ns1"`    // CPU time of a packet with one shard
	NS2        float64 `json:"ns2"`    // with two, of both together
	Change     float64 `json:"change"` // throughput for a CPU second with two over that with one, of each round
	ChangeQ1   float64 `json:"changeQ1"`
	ChangeQ3   float64 `json:"changeQ3"`
	WrongShard uint64  `json:"wrongShard"` // packets that came to the wrong one, with NAT rebinding and rekeys
	Run        *Run    `json:"run"`
}

// In part "shards": packets that wait for each shard, and sessions on each.
const (
	shardQueue    = 1024
	shardSessions = 16
	shardRound    = 8 * shardQueue // packets of a round
)

// partShards is part "shards".
func partShards(ctx context.Context, b *bench) (any, error) { return b.measureShards(ctx) }

func shardTable(rows []ShardRow) table {
	t := table{
		title: "One shard and two at the same time: CPU time of a packet, nanoseconds",
		head:  []string{"path", "way", "1 shard", "2 shards", "octets/CPU s, 2 to 1", "[quartiles]", "wrong shard"},
	}
	for _, r := range rows {
		t.rows = append(t.rows, []string{
			r.Path, r.Direction, fmt.Sprintf("%.0f", r.NS1), fmt.Sprintf("%.0f", r.NS2), fmt.Sprintf("%.2f", r.Change),
			fmt.Sprintf("[%.2f %.2f]", r.ChangeQ1, r.ChangeQ3), fmt.Sprint(r.WrongShard),
		})
	}
	return t
}

func (b *bench) measureShards(ctx context.Context) (rows []ShardRow, err error) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	l := &lab{}
	defer b.closing("shards", l.close)
	gen, err := newThread(b.otherCPU)
	if err != nil {
		return nil, err
	}
	defer gen.close()
	if rows, err = b.ioShards(ctx, l, gen); err != nil {
		return nil, fmt.Errorf("I/O alone: %w", err)
	}
	for i, p := range append(append([]path{}, b.paths...), rawGCM) {
		more, err := b.shardPath(ctx, l, gen, p, fmt.Sprint(i))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// shardPath measures one path with one shard and with two, in turn.
func (b *bench) shardPath(ctx context.Context, l *lab, gen *thread, p path, tag string) (rows []ShardRow, err error) {
	var loads [2]*load
	for i := range loads {
		s, err := newServer(l, fmt.Sprintf("s%s%d", tag, i), dataplane.Config{Shards: 1 + i})
		if err != nil {
			return nil, err
		}
		defer b.closing("shards", s.close)
		if err := l.inside(s.inner, device); err != nil {
			return nil, err
		}
		x, err := newLoad(s, gen, p, shardSessions*(1+i), 0)
		if err != nil {
			return nil, err
		}
		defer x.close()
		loads[i] = x.with(shardQueue * (1 + i))
	}
	for _, d := range []direction{up, down} {
		row, err := b.oneAndTwo(ctx, p.name, d, [2]sampler{loads[0].sampler(d), loads[1].sampler(d)})
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	if err := loads[1].move(); err != nil {
		return nil, err
	}
	for i := range rows {
		for _, st := range loads[1].server.d.ShardStats() {
			rows[i].WrongShard += st.WrongShard
		}
	}
	return rows, nil
}

// oneAndTwo compares them in turn, so that what else goes on in the machine meets both.
func (b *bench) oneAndTwo(ctx context.Context, name string, d direction, samplers [2]sampler) (r ShardRow, err error) {
	var ns [2][]float64
	var change []float64
	for n := -warmUp; n < b.rounds; n++ {
		b.progress("shards: %s %s, round %d of %d", name, d, n+1, b.rounds)
		var got [2]sample
		for packets := 2 * shardQueue; packets <= shardRound; packets += 2 * shardQueue {
			for k := range samplers {
				if err := ctx.Err(); err != nil {
					return r, err
				}
				i := (k + n + warmUp) % len(samplers)
				if err := samplers[i].until(packets, &got[i]); err != nil {
					return r, err
				}
			}
		}
		if n >= 0 {
			one, two := got[0].perPacket(), got[1].perPacket()
			ns[0], ns[1], change = append(ns[0], one), append(ns[1], two), append(change, one/two)
		}
		runtime.GC()
	}
	c := spreadOf(change)
	return ShardRow{
		Path: name, Direction: string(d), NS1: rounded(spreadOf(ns[0]).median, 1), NS2: rounded(spreadOf(ns[1]).median, 1),
		Change: rounded(c.median, 3), ChangeQ1: rounded(c.q1, 3), ChangeQ3: rounded(c.q3, 3), Run: b.run,
	}, nil
}

// ioShards is the same of threads that only move packets, single ones, as plain L2TP's.
func (b *bench) ioShards(ctx context.Context, l *lab, gen *thread) (rows []ShardRow, err error) {
	var loads [2]*ioLoad
	for i, cpu := range [...]int{b.shardCPU, b.otherCPU} {
		work, err := newThread(cpu)
		if err != nil {
			return nil, err
		}
		defer work.close()
		k, err := newIOLab(l, fmt.Sprint(i), work, gen)
		if err != nil {
			return nil, err
		}
		defer k.close()
		x, err := k.newLoad(paths[0], shardSessions, false, wireLen)
		if err != nil {
			return nil, err
		}
		defer x.close()
		loads[i] = x.with(shardQueue)
	}
	for _, d := range []direction{up, down} {
		row, err := b.oneAndTwo(ctx, "I/O alone", d, [2]sampler{together(d, loads[0]), together(d, loads[:]...)})
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// move gives the clients other ports, as a NAT that forgot them would, and new SAs, and then sends both ways again. Plain
// L2TP and PPTP have neither.
func (l *load) move() error {
	p := l.sessions[0].path
	if !p.secured() {
		return nil
	}
	both := func() error {
		for _, phase := range []func() error{l.once(up), l.once(down)} {
			if err := phase(); err != nil {
				return err
			}
		}
		return nil
	}
	if p.carrier == espInUDP {
		var ports []uint16
		for _, x := range l.sessions {
			x.port += 10000
			ports = append(ports, x.port)
		}
		l.clients.close()
		moved, err := dialClients(l.server.lab, l.server.client, p.carrier, ports, p.serverPort())
		if err != nil {
			return err
		}
		l.clients.fds = moved.fds
		if err := both(); err != nil {
			return fmt.Errorf("after NAT rebinding: %w", err)
		}
	}
	for _, x := range l.sessions {
		if err := l.server.rekey(x); err != nil {
			return err
		}
	}
	if err := both(); err != nil {
		return fmt.Errorf("after the rekey: %w", err)
	}
	return nil
}

// once is a single phase.
func (l *load) once(d direction) func() error {
	return func() error {
		var err error
		if d == up {
			_, err = l.up(l.queue)
		} else {
			_, err = l.down(l.queue)
		}
		return err
	}
}
