package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// SessionsRow is what part "sessions" found out about the built daemon, with loadgen as its clients on the same machine.
type SessionsRow struct {
	Logins  []LoginRow   `json:"logins"`
	Memory  MemoryRow    `json:"memory"`
	Ceiling []CeilingRow `json:"ceiling"` // of one session
	Half    TrafficRow   `json:"half"`    // all sessions at half the ceiling
	Few     TrafficRow   `json:"few"`     // some sessions, as fast as goes
	Many    TrafficRow   `json:"many"`    // all sessions, as fast as goes
	// ManyToFew is the throughput with all sessions over that with some; ManyToFewCPU the same for a CPU second.
	ManyToFew    float64 `json:"manyToFew"`
	ManyToFewCPU float64 `json:"manyToFewCPU"`
	Run          *Run    `json:"run"`
}

// LoginRow is a run of log-ins.
type LoginRow struct {
	Kind       string         `json:"kind"`
	Count      int            `json:"count"`
	OK         int            `json:"ok"`
	Failed     map[string]int `json:"failed"`
	Rate       float64        `json:"rate"` // a second
	P50Ms      float64        `json:"p50Ms"`
	P99Ms      float64        `json:"p99Ms"`
	OwnCPUS    float64        `json:"ownCpuS"`
	ServerCPUS float64        `json:"serverCpuS"`
}

// MemoryRow is the daemon's resident memory in octets.
type MemoryRow struct {
	Idle       uint64  `json:"idle"`
	AtMost     uint64  `json:"atMost"` // with all sessions open
	Sessions   int     `json:"sessions"`
	PerSession float64 `json:"perSession"`
}

// CeilingRow is what one session carries, up.
type CeilingRow struct {
	Protocol string  `json:"protocol"`
	PPS      float64 `json:"pps"`
}

// TrafficRow is a run of traffic through sessions of all protocols.
type TrafficRow struct {
	Sessions        int     `json:"sessions"`
	OfferedPPS      float64 `json:"offeredPps"` // 0: as many as go
	PPS             float64 `json:"pps"`
	BitsPerSecond   float64 `json:"bitsPerSecond"`
	Sent            uint64  `json:"sent"`
	Lost            uint64  `json:"lost"`
	CPUSecondsPerGB float64 `json:"cpuSecondsPerGB"` // of the daemon, for 1e9 octets of inner packets
	P99Ms           float64 `json:"p99Ms"`
}

// few is how many sessions are few; a multiple of the protocols, so that the mixture is that of many.
const few = 12

// responder is where the traffic goes.
const responder = farHost + ":5001"

// sourceNet holds the clients' addresses.
const sourceNet = "10.200.0.0/16"

// report is what loadgen prints.
type report struct {
	OK         int            `json:"ok"`
	Failed     map[string]int `json:"failed"`
	Rate       float64        `json:"rate"`
	P50Ms      float64        `json:"p50Ms"`
	P99Ms      float64        `json:"p99Ms"`
	Lost       int            `json:"lost"`
	OwnCPUS    float64        `json:"ownCpuS"`
	ServerCPUS float64        `json:"serverCpuS"`
	Traffic    *struct {
		Up   *stream `json:"up"`
		Down *stream `json:"down"`
	} `json:"traffic"`
}

type stream struct {
	Sent          uint64  `json:"sent"`
	Received      uint64  `json:"received"`
	Lost          uint64  `json:"lost"`
	Bytes         uint64  `json:"bytes"`
	PPS           float64 `json:"pps"`
	BitsPerSecond float64 `json:"bitsPerSecond"`
	P99Ms         float64 `json:"p99Ms"`
}

// sessionsLab is a daemon, a place for its clients and a host behind it.
type sessionsLab struct {
	lab    *lab
	daemon *daemon
	dir    string
	long   time.Duration // of a run of traffic
	count  int           // of all sessions
	closed []closed
}

// partSessions is part "sessions".
func partSessions(ctx context.Context, b *bench) (any, error) { return b.measureSessions(ctx) }

func (b *bench) measureSessions(ctx context.Context) (row SessionsRow, err error) {
	l := &lab{}
	defer b.closing("sessions", l.close)
	t := &sessionsLab{lab: l, long: 5 * time.Second, count: maxSessions}
	if b.short {
		t.long, t.count = 2*time.Second, 100
	}
	if err := t.build(); err != nil {
		return row, err
	}
	if t.dir, err = os.MkdirTemp("", prefix); err != nil {
		return row, err
	}
	defer b.closing("sessions", func() error { return os.RemoveAll(t.dir) })
	b.progress("sessions: building the daemon and loadgen")
	if err := buildPrograms(ctx, t.dir); err != nil {
		return row, err
	}
	if t.daemon, err = startDaemon(ctx, l, "srv", t.dir, t.dir); err != nil {
		if t.daemon != nil {
			err = errors.Join(err, t.daemon.stop())
		}
		return row, err
	}
	defer b.closing("sessions", t.daemon.stop)
	row.Run = b.run
	if row.Memory, err = t.memory(ctx, b); err != nil {
		return row, err
	}
	if row.Logins, err = t.logins(ctx, b); err != nil {
		return row, err
	}
	return row, t.traffic(ctx, b, &row)
}

func (t *sessionsLab) build() error {
	l := t.lab
	if err := errors.Join(l.outer("srv", "cli"), l.behind("srv", "host")); err != nil {
		return err
	}
	return errors.Join(
		// All addresses of the network are the clients'.
		run("ip", "-n", l.ns("cli"), "route", "add", "local", sourceNet, "dev", "lo"),
		run("ip", "-n", l.ns("srv"), "route", "add", sourceNet, "via", clientAddr),
	)
}

// loadgen prepares a run of loadgen among the clients.
func (t *sessionsLab) loadgen(ctx context.Context, args ...string) *exec.Cmd {
	line := append([]string{t.lab.enter("cli"), filepath.Join(t.dir, "loadgen")}, args...)
	line = append(line, "--server", serverAddr, "--user", "u%d", "--password", "pw%d", "--psk", benchPSK, "--nat-t",
		"--source-net", sourceNet, "--server-pid", strconv.Itoa(t.daemon.pid()), "-q", "-o", "json")
	cmd := exec.CommandContext(ctx, "nsenter", line...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// run runs loadgen, which makes up to so many tunnels.
func (t *sessionsLab) run(ctx context.Context, tunnels int, args ...string) (r report, err error) {
	if err := t.room(ctx, tunnels); err != nil {
		return r, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if r, err = reportOf(t.loadgen(ctx, args...)); err != nil {
		return r, err
	}
	return r, t.ended(ctx, tunnels)
}

// reportOf runs loadgen to its end. It may have failed with some sessions: the report tells.
func reportOf(cmd *exec.Cmd) (r report, err error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	runErr := cmd.Run()
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		return r, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), errors.Join(runErr, err), stderr.String())
	}
	return r, nil
}

// tunnelMemory is for how long the daemon remembers an L2TP tunnel that was closed, in case its goodbye was lost (RFC 2661
// section 5.7). It takes twice as many tunnels as sessions, those included.
const tunnelMemory = 33 * time.Second

// room waits until the daemon takes so many more tunnels.
func (t *sessionsLab) room(ctx context.Context, tunnels int) error {
	for {
		sum := tunnels
		for _, c := range t.closed {
			if time.Since(c.at) < tunnelMemory {
				sum += c.tunnels
			}
		}
		if sum <= 2*maxSessions {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// closed are tunnels that a run has closed.
type closed struct {
	at      time.Time
	tunnels int
}

// ended waits until the daemon has no session left, and remembers the tunnels that went with them.
func (t *sessionsLab) ended(ctx context.Context, tunnels int) error {
	err := t.holds(ctx, 0)
	t.closed = append(t.closed, closed{time.Now(), tunnels})
	return err
}

// holds waits until the daemon has so many sessions.
func (t *sessionsLab) holds(ctx context.Context, n int) error {
	var have float64
	for end := time.Now().Add(45 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if have, err = t.daemon.sum("concentrator_sessions"); err != nil {
			return err
		}
		if int(have) == n {
			return nil
		}
	}
	return fmt.Errorf("the daemon has %.0f sessions, not %d: %s", have, n, t.daemon.log())
}

// memory looks at the daemon's memory without sessions and with all of them.
func (t *sessionsLab) memory(ctx context.Context, b *bench) (m MemoryRow, err error) {
	b.progress("sessions: memory of %d", t.count)
	if m.Idle, err = t.daemon.resident(); err != nil {
		return m, err
	}
	const keep = 10 * time.Second
	cmd := t.loadgen(ctx, "login", "--protocol", "MIX", "--count", strconv.Itoa(t.count), "--keep", keep.String())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return m, err
	}
	held := t.holds(ctx, t.count)
	if held == nil {
		time.Sleep(keep / 2)
		m.AtMost, held = t.daemon.resident()
	}
	if err := cmd.Wait(); err != nil || held != nil {
		return m, fmt.Errorf("loadgen: %w: %s", errors.Join(err, held), stderr.String())
	}
	m.Sessions = t.count
	m.PerSession = rounded(float64(m.AtMost-m.Idle)/float64(t.count), 0)
	b.progress("sessions: %.1f KiB each", m.PerSession/1024)
	return m, t.ended(ctx, t.count)
}

// kinds of log-ins.
var kinds = []struct {
	name    string
	tunnels bool // L2TP's
	args    []string
}{
	{"PPTP", false, []string{"--protocol", "PPTP"}},
	{"L2TP", true, []string{"--protocol", "L2TP"}},
	{"L2TP/IPsec, ecp256", true, []string{"--protocol", "L2TP_IPSEC", "--group", "ecp256"}},
	{"L2TP/IPsec, modp2048", true, []string{"--protocol", "L2TP_IPSEC", "--group", "modp2048"}},
	{"mixed", true, []string{"--protocol", "MIX"}},
}

// logins logs all clients in by each kind.
func (t *sessionsLab) logins(ctx context.Context, b *bench) (rows []LoginRow, err error) {
	for _, k := range kinds {
		b.progress("sessions: %d log-ins, %s", t.count, k.name)
		tunnels := 0
		if k.tunnels {
			tunnels = t.count
		}
		r, err := t.run(ctx, tunnels, append([]string{"login", "--count", strconv.Itoa(t.count)}, k.args...)...)
		if err != nil {
			return nil, err
		}
		rows = append(rows, LoginRow{
			Kind: k.name, Count: t.count, OK: r.OK, Failed: r.Failed, Rate: rounded(r.Rate, 1), P50Ms: rounded(r.P50Ms, 1),
			P99Ms: rounded(r.P99Ms, 1), OwnCPUS: r.OwnCPUS, ServerCPUS: r.ServerCPUS,
		})
	}
	return rows, nil
}

// traffic finds one session's ceiling, and how all sessions do at half of it and at full speed.
func (t *sessionsLab) traffic(ctx context.Context, b *bench, row *SessionsRow) error {
	var inverse float64
	protocols := []string{"PPTP", "L2TP", "L2TP_IPSEC"}
	for _, p := range protocols {
		b.progress("sessions: ceiling of one session of %s", p)
		r, err := t.send(ctx, p, 1, 0)
		if err != nil {
			return err
		}
		row.Ceiling = append(row.Ceiling, CeilingRow{Protocol: p, PPS: r.PPS})
		inverse += 1 / r.PPS
	}
	// Each protocol carries a third of the packets: what they take one after the other adds up.
	ceiling := float64(len(protocols)) / inverse
	b.progress("sessions: all at half of %.0f packets/s", ceiling)
	var err error
	if row.Half, err = t.send(ctx, "MIX", t.count, ceiling/2); err != nil {
		return err
	}
	b.progress("sessions: %d and %d at full speed", few, t.count)
	var fewer, more []TrafficRow
	for range 3 {
		for _, n := range []int{few, t.count} {
			r, err := t.send(ctx, "MIX", n, 0)
			if err != nil {
				return err
			}
			if n == few {
				fewer = append(fewer, r)
			} else {
				more = append(more, r)
			}
		}
	}
	row.Few, row.Many = middle(fewer), middle(more)
	row.ManyToFew = rounded(row.Many.PPS/row.Few.PPS, 3)
	row.ManyToFewCPU = rounded(row.Few.CPUSecondsPerGB/row.Many.CPUSecondsPerGB, 3)
	return nil
}

// middle is the run with the middle throughput.
func middle(runs []TrafficRow) TrafficRow {
	for _, r := range runs {
		below := 0
		for _, o := range runs {
			if o.PPS < r.PPS {
				below++
			}
		}
		if below == len(runs)/2 {
			return r
		}
	}
	return runs[0]
}

// send sends traffic up through so many sessions.
func (t *sessionsLab) send(ctx context.Context, protocol string, count int, pps float64) (r TrafficRow, err error) {
	args := []string{
		"traffic", "--protocol", protocol, "--count", strconv.Itoa(count), "--responder", responder, "--responder-ns",
		t.lab.ns("host"), "--direction", "up", "--duration", t.long.String(), "--max-loss", "1",
	}
	if pps > 0 {
		args = append(args, "--pps", fmt.Sprintf("%.0f", pps))
	}
	got, err := t.run(ctx, count, args...)
	if err != nil {
		return r, err
	}
	if got.OK != count || got.Traffic == nil || got.Traffic.Up == nil || got.Traffic.Up.Received == 0 {
		return r, fmt.Errorf("traffic of %d sessions of %s: %d logged in, failed: %v", count, protocol, got.OK, got.Failed)
	}
	u := got.Traffic.Up
	return TrafficRow{
		Sessions: count, OfferedPPS: rounded(pps, 0), PPS: rounded(u.PPS, 0), BitsPerSecond: rounded(u.BitsPerSecond, 0), Sent: u.Sent,
		Lost: u.Lost, CPUSecondsPerGB: rounded(got.ServerCPUS/float64(u.Bytes)*1e9, 3), P99Ms: rounded(u.P99Ms, 2),
	}, nil
}

func sessionsTable(r SessionsRow) table {
	t := table{
		title: "The daemon and loadgen on one machine: log-ins",
		head:  []string{"kind", "log-ins", "failed", "a second", "p50 ms", "p99 ms", "server CPU ms each", "client CPU ms each"},
	}
	for _, l := range r.Logins {
		each := func(s float64) string { return fmt.Sprintf("%.2f", s/float64(max(l.OK, 1))*1000) }
		t.rows = append(t.rows, []string{
			l.Kind, fmt.Sprint(l.OK), fmt.Sprint(l.Count - l.OK), fmt.Sprintf("%.0f", l.Rate), fmt.Sprintf("%.0f", l.P50Ms),
			fmt.Sprintf("%.0f", l.P99Ms), each(l.ServerCPUS), each(l.OwnCPUS),
		})
		for reason, n := range l.Failed {
			t.notes = append(t.notes, fmt.Sprintf("FAILED: %d log-ins of %s: %s.", n, l.Kind, reason))
		}
	}
	m := r.Memory
	t.notes = append(t.notes,
		fmt.Sprintf("Memory: %.1f MiB without sessions, %.1f MiB with %d mixed ones: %.1f KiB a session.",
			float64(m.Idle)/(1<<20), float64(m.AtMost)/(1<<20), m.Sessions, m.PerSession/1024))
	for _, c := range r.Ceiling {
		t.notes = append(t.notes, fmt.Sprintf("One session of %s carries %.0f packets/s up.", c.Protocol, c.PPS))
	}
	t.notes = append(t.notes,
		fmt.Sprintf("%d mixed sessions at half of that, %.0f packets/s: %d of %d lost.", r.Half.Sessions, r.Half.OfferedPPS,
			r.Half.Lost, r.Half.Sent),
		fmt.Sprintf("At full speed %d sessions carry %.0f packets/s (%.2f CPU s/GB), %d carry %.0f (%.2f): %.2f of it, %.2f for a CPU second.",
			r.Few.Sessions, r.Few.PPS, r.Few.CPUSecondsPerGB, r.Many.Sessions, r.Many.PPS, r.Many.CPUSecondsPerGB,
			r.ManyToFew, r.ManyToFewCPU))
	return t
}
