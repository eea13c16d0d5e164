package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane"
	"concentrator/internal/wire/gre"
)

// FairRow is how long one session's packets take while another of the same shard sends ten times what it may.
type FairRow struct {
	Path      string  `json:"path"`
	Direction string  `json:"direction"` // of the flood
	LimitBps  float64 `json:"limitBps"`
	FloodBps  float64 `json:"floodBps"`  // offered
	PassedBps float64 `json:"passedBps"` // of it
	IdleP50Ms float64 `json:"idleP50Ms"` // round trips of the other session
	IdleP99Ms float64 `json:"idleP99Ms"`
	P50Ms     float64 `json:"p50Ms"`
	P99Ms     float64 `json:"p99Ms"`
	RiseMs    float64 `json:"riseMs"` // of the 99th percentile
	Lost      int     `json:"lost"`   // of the probes
	Probes    int     `json:"probes"`
	Run       *Run    `json:"run"`
}

const (
	// fairLimit is the flooding session's limit in bits a second, fairTimes how many times that it sends.
	fairLimit = 20e6
	fairTimes = 10
	// probeEvery is how often the other session sends an echo request.
	probeEvery = time.Millisecond
	// probePatience is when a reply is taken to be lost.
	probePatience = 200 * time.Millisecond
)

// partFairness is part "fairness".
func partFairness(ctx context.Context, b *bench) (any, error) {
	var rows []FairRow
	for i, p := range b.paths {
		b.progress("fairness: %s", p.name)
		more, err := b.fairPath(ctx, p, strconv.Itoa(i))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

func fairTable(rows []FairRow) table {
	t := table{
		title: fmt.Sprintf("Round trips of one session, ms, while another with a limit of %d Mbit/s sends %d times that", int(fairLimit/1e6), fairTimes),
		head: []string{
			"path", "flood", "offered Mbit/s", "passed", "idle p50", "p99", "flooded p50", "p99", "rise of p99", "lost",
		},
	}
	for _, r := range rows {
		t.rows = append(t.rows, []string{
			r.Path, r.Direction, fmt.Sprintf("%.0f", r.FloodBps/1e6), fmt.Sprintf("%.1f", r.PassedBps/1e6),
			fmt.Sprintf("%.2f", r.IdleP50Ms), fmt.Sprintf("%.2f", r.IdleP99Ms), fmt.Sprintf("%.2f", r.P50Ms),
			fmt.Sprintf("%.2f", r.P99Ms), fmt.Sprintf("%.2f", r.RiseMs), fmt.Sprintf("%d of %d", r.Lost, r.Probes),
		})
	}
	return t
}

// fairLab is a server with two sessions: one floods, one is probed.
type fairLab struct {
	server         *server
	flooder, other *session
	clients        [2]*clients // of these two
	source         *sources    // to the flooder
	threads        [2]*thread
}

func (b *bench) newFairLab(l *lab, p path, tag string) (t *fairLab, err error) {
	t = &fairLab{}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	if t.server, err = newServer(l, tag, dataplane.Config{Shards: 1}); err != nil {
		return t, err
	}
	if err = l.inside(t.server.inner, device); err != nil {
		return t, err
	}
	if t.flooder, err = t.server.opened(p, func(s *dataplane.SessionSpec) { s.UpBps, s.DownBps = fairLimit, fairLimit }); err != nil {
		return t, err
	}
	if t.other, err = t.server.opened(p, nil); err != nil {
		return t, err
	}
	for i, x := range []*session{t.flooder, t.other} {
		if t.clients[i], err = dialClients(l, t.server.client, p.carrier, []uint16{x.port}, p.serverPort()); err != nil {
			return t, err
		}
		if t.threads[i], err = newThread(b.otherCPU); err != nil {
			return t, err
		}
	}
	t.source, err = dialSources(l, t.server.inner, []netip.Addr{t.flooder.addr}, 0)
	return t, err
}

func (t *fairLab) close() error {
	for i := range t.threads {
		if t.threads[i] != nil {
			t.threads[i].close()
		}
		if t.clients[i] != nil {
			t.clients[i].close()
		}
	}
	if t.source != nil {
		t.source.close()
	}
	if t.server == nil {
		return nil
	}
	return t.server.close()
}

func (b *bench) fairPath(ctx context.Context, p path, tag string) (rows []FairRow, err error) {
	l := &lab{}
	defer b.closing("fairness", l.close)
	t, err := b.newFairLab(l, p, "f"+tag)
	if err != nil {
		return nil, err
	}
	defer b.closing("fairness", t.close)
	long := 3 * time.Second
	if b.short {
		long = time.Second
	}
	if _, _, err := t.probe(ctx, 100*time.Millisecond); err != nil {
		return nil, err
	}
	for _, d := range []direction{up, down} {
		idle, _, err := t.probe(ctx, long)
		if err != nil {
			return nil, err
		}
		r := FairRow{Path: p.name, Direction: string(d), LimitBps: fairLimit, Run: b.run}
		before := t.flooderBytes(d)
		pace := &pacer{rate: fairLimit * fairTimes / 8 / innerLen}
		flooding := make(chan error, 1)
		began := time.Now()
		go func() {
			flooding <- t.threads[0].do(func() error { return t.flood(ctx, pace, d, long+200*time.Millisecond) })
		}()
		time.Sleep(100 * time.Millisecond) // let it take hold
		times, lost, err := t.probe(ctx, long)
		if err = errors.Join(err, <-flooding); err != nil {
			return nil, err
		}
		took := time.Since(began).Seconds()
		r.FloodBps = rounded(float64(pace.sent)*innerLen*8/took, 0)
		r.PassedBps = rounded(float64(t.flooderBytes(d)-before)*8/took, 0)
		r.IdleP50Ms, r.IdleP99Ms = rounded(quantile(idle, 0.5), 3), rounded(quantile(idle, 0.99), 3)
		r.P50Ms, r.P99Ms = rounded(quantile(times, 0.5), 3), rounded(quantile(times, 0.99), 3)
		r.RiseMs = rounded(r.P99Ms-r.IdleP99Ms, 3)
		r.Lost, r.Probes = lost, lost+len(times)
		rows = append(rows, r)
	}
	return rows, nil
}

// flooderBytes is how many octets of the flooder have passed in a direction.
func (t *fairLab) flooderBytes(d direction) uint64 {
	k := t.flooder.call.Counters()
	if d == up {
		return k.InBytes
	}
	return k.OutBytes
}

// flood sends at the pace, without spinning: the probes share the CPU.
func (t *fairLab) flood(ctx context.Context, pace *pacer, d direction, long time.Duration) error {
	inner := innerUDP(t.flooder.addr, netip.MustParseAddr(sinkhole), clientPort, insidePort)
	return pace.run(ctx, long, func(int) error {
		if d == down {
			return sendOrLose(t.source.fds[0], inner[ipLen+udpLen:])
		}
		p, err := t.flooder.far.data(inner)
		if err != nil {
			return err
		}
		return sendOrLose(t.clients[0].fds[0], p)
	}, func() {
		t.clients[0].drain()
		time.Sleep(100 * time.Microsecond)
	})
}

// probe sends echo requests by the other session and returns the round trips in milliseconds, and how many got no reply.
func (t *fairLab) probe(ctx context.Context, long time.Duration) (times []float64, lost int, err error) {
	echo := innerEcho(t.other.addr, netip.MustParseAddr(gatewayAddr))
	fd, buf := t.clients[1].fds[0], make([]byte, 2048)
	err = t.threads[1].do(func() error {
		for begin := time.Now(); time.Since(begin) < long; {
			if err := ctx.Err(); err != nil {
				return err
			}
			t.clients[1].drain() // a late one
			p, err := t.other.far.data(echo)
			if err != nil {
				return err
			}
			at := time.Now()
			if err := send(fd, p); err != nil {
				return err
			}
			if t.replied(fd, buf, at) {
				times = append(times, time.Since(at).Seconds()*1000)
			} else {
				lost++
			}
			if rest := probeEvery - time.Since(at); rest > 0 {
				time.Sleep(rest)
			}
		}
		return nil
	})
	if err == nil && len(times) == 0 {
		err = fmt.Errorf("no echo reply came; dropped: %s", t.server.drops())
	}
	return times, lost, err
}

// replied waits for a packet to the other session.
func (t *fairLab) replied(fd int, buf []byte, since time.Time) bool {
	for time.Since(since) < probePatience {
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10) // EINTR is as good as a timeout
		for {
			n, err := unix.Read(fd, buf)
			if err != nil {
				break
			}
			if t.other.path.carrier != pptp || t.isOthers(buf[:n]) {
				return true
			}
		}
	}
	return false
}

// isOthers says whether a GRE packet, with its IP header, brings data to the other session: a raw socket gets everybody's.
func (t *fairLab) isOthers(p []byte) bool {
	if len(p) < ipLen {
		return false
	}
	h, _, err := gre.ParseHeader(p[int(p[0]&0xf)*4:])
	return err == nil && h.CallID == t.other.id && h.HasSeq
}

// innerEcho is an echo request with 56 octets of data.
func innerEcho(src, dst netip.Addr) []byte {
	const icmpLen = 8 + 56
	p := make([]byte, ipLen+icmpLen)
	p[0], p[8], p[9] = 0x45, 64, 1
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	s, d := src.As4(), dst.As4()
	copy(p[12:], s[:])
	copy(p[16:], d[:])
	binary.BigEndian.PutUint16(p[10:], ^sum16(p[:ipLen], 0))
	p[ipLen] = 8 // echo request
	binary.BigEndian.PutUint16(p[ipLen+2:], ^sum16(p[ipLen:], 0))
	return p
}

// quantile is the q-th of times, which it sorts.
func quantile(times []float64, q float64) float64 {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[min(int(q*float64(len(times))), len(times)-1)]
}
