package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"concentrator/internal/dataplane"
)

// TCPRow is what TCP through one session has cost the server, offload on and off: medians of interleaved runs.
type TCPRow struct {
	Path      string `json:"path"`
	Direction string `json:"direction"`
	On        TCPRun `json:"offload"`
	Off       TCPRun `json:"noOffload"`
	// Gain is how many times more octets a CPU second carries with offload.
	Gain float64 `json:"gain"`
	// Malformed is what the far kernel's counters say of a run in which it checks every packet itself.
	Malformed Malformed `json:"malformed"`
	Run       *Run      `json:"run"`
}

// TCPRun is one way of it.
type TCPRun struct {
	CPUSecondsPerGB float64 `json:"cpuSecondsPerGB"` // of the server, for 1e9 octets of TCP payload
	GbitPerS        float64 `json:"gbitPerS"`        // that went through; the clients' share of the machine limits it
	Busy            float64 `json:"busy"`            // part of the time that the server's shard worked
}

// Malformed counts what a kernel found wrong with what it got.
type Malformed struct {
	Octets     uint64 `json:"octets"` // that it got in the run
	CsumErrors uint64 `json:"csumErrors"`
	TCPErrors  uint64 `json:"tcpErrors"`
	IPErrors   uint64 `json:"ipErrors"`
}

// Where iperf3 listens.
const (
	farHost  = "10.99.0.2"
	iperfTCP = "5201"
)

// behind is what the client routes through its session.
var behind = netip.MustParsePrefix("10.99.0.0/16")

// tcpLab is a server with one session, a client with a TUN device and a host behind the server, with real kernels at both
// ends.
type tcpLab struct {
	lab    *lab
	server *server
	x      *session
	client *client
	host   string // part of the lab
	cpu    int    // for everything but the server
	procs  []*exec.Cmd
}

// newTCPLab makes one. strict makes the kernels at both ends check what they get: no checksum offload there.
func newTCPLab(b *bench, l *lab, tag string, p path, offload, strict bool) (t *tcpLab, err error) {
	t = &tcpLab{lab: l, host: "host" + tag, cpu: b.otherCPU}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	if t.server, err = newServer(l, tag, dataplane.Config{Shards: 1, NoOffload: !offload}); err != nil {
		return t, err
	}
	if err = l.behind(t.server.inner, t.host); err != nil {
		return t, err
	}
	// What a client sends comes by the wire in packets, not in trains that only a veth pair can carry.
	if err = l.ethtool(t.server.client, "c0", "tx-udp-segmentation", "off"); err != nil {
		return t, err
	}
	if strict {
		if err = errors.Join(
			l.ethtool(t.server.inner, "t0", "tx", "off"),
			l.ethtool(t.host, "h0", "rx", "off"),
		); err != nil {
			return t, err
		}
	}
	if t.x, err = t.server.opened(p, nil); err != nil {
		return t, err
	}
	if t.client, err = newClient(t.server, t.x, behind, !strict, t.cpu); err != nil {
		return t, err
	}
	return t, nil
}

func (t *tcpLab) close() error {
	var errs []error
	for _, p := range t.procs {
		_ = p.Process.Kill() // it may have ended
		_ = p.Wait()
	}
	if t.client != nil {
		errs = append(errs, t.client.close())
	}
	if t.server != nil {
		errs = append(errs, t.server.close())
	}
	return errors.Join(errs...)
}

func (l *lab) ethtool(part, device string, args ...string) error {
	return run("nsenter", append([]string{l.enter(part), "ethtool", "-K", device}, args...)...)
}

// command prepares a program in a part of the lab, away from the server's CPU; it dies with us.
func (t *tcpLab) command(ctx context.Context, part, name string, args ...string) *exec.Cmd {
	line := append([]string{"-c", strconv.Itoa(t.cpu), "nsenter", t.lab.enter(part), name}, args...)
	cmd := exec.CommandContext(ctx, "taskset", line...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// listen starts iperf3's server, which serves all runs.
func (t *tcpLab) listen(ctx context.Context) error {
	cmd := t.command(ctx, t.host, "iperf3", "-s", "-p", iperfTCP)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("iperf3: %w", err)
	}
	t.procs = append(t.procs, cmd)
	time.Sleep(200 * time.Millisecond) // it has nothing that says it is ready
	return nil
}

// snapshot is how far the server is.
type snapshot struct {
	at      time.Time
	cpu     time.Duration
	payload uint64 // octets of TCP payload
}

// tcpHeaders is what stands before TCP's payload in an inner packet: IPv4, TCP and timestamps.
const tcpHeaders = 20 + 20 + 12

func (t *tcpLab) look(d direction) (s snapshot) {
	k := t.x.call.Counters()
	octets, packets := k.InBytes, k.InPackets
	if d == down {
		octets, packets = k.OutBytes, k.OutPackets
	}
	s.payload = octets - tcpHeaders*packets
	for _, st := range t.server.d.ShardStats() {
		s.cpu += st.CPUTime
	}
	s.at = time.Now()
	return s
}

// tcpWarmUp is how long a connection runs before it is looked at.
const tcpWarmUp = 1200 * time.Millisecond

// once runs one connection and looks at the server for a time in its middle.
func (t *tcpLab) once(ctx context.Context, d direction, long time.Duration) (r TCPRun, err error) {
	whole := tcpWarmUp + long + time.Second
	args := []string{"-c", farHost, "-p", iperfTCP, "-B", t.x.addr.String(), "-J", "-t", fmt.Sprintf("%.0f", whole.Seconds())}
	if d == down {
		args = append(args, "-R")
	}
	ctx, cancel := context.WithTimeout(ctx, whole+15*time.Second)
	defer cancel()
	cmd := t.command(ctx, t.server.client, "iperf3", args...)
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		return r, fmt.Errorf("iperf3: %w", err)
	}
	time.Sleep(tcpWarmUp)
	a := t.look(d)
	time.Sleep(long)
	z := t.look(d)
	err = cmd.Wait()
	var report struct {
		Error string `json:"error"`
	}
	if jerr := json.Unmarshal(out.Bytes(), &report); err == nil {
		err = jerr
	}
	if err != nil || report.Error != "" {
		return r, fmt.Errorf("iperf3: %w: %s; dropped: %s", err, report.Error, t.server.drops())
	}
	if z.payload <= a.payload {
		return r, fmt.Errorf("%s %s: nothing went through; dropped: %s", t.x.path.name, d, t.server.drops())
	}
	octets, took := float64(z.payload-a.payload), z.at.Sub(a.at)
	r.CPUSecondsPerGB = (z.cpu - a.cpu).Seconds() / octets * 1e9
	r.GbitPerS = octets * 8 / took.Seconds() / 1e9
	r.Busy = float64(z.cpu-a.cpu) / float64(took)
	return r, nil
}

// counters of a namespace's kernel, by protocol and name.
func (t *tcpLab) counters(part string) (map[string]uint64, error) {
	var text []byte
	err := t.lab.do(part, func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/snmp")
		return err
	})
	if err != nil {
		return nil, err
	}
	all := map[string]uint64{}
	lines := strings.Split(string(text), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		for k := 1; k < min(len(names), len(values)); k++ {
			n, err := strconv.ParseInt(values[k], 10, 64)
			if err == nil { // MaxConn is -1, and nobody's
				all[strings.TrimSuffix(names[0], ":")+names[k]] = uint64(n)
			}
		}
	}
	return all, nil
}

// check runs a connection whose receiver checks every packet.
func (t *tcpLab) check(ctx context.Context, d direction, long time.Duration) (m Malformed, err error) {
	part := t.host
	if d == down {
		part = t.server.client
	}
	before, err := t.counters(part)
	if err != nil {
		return m, err
	}
	a := t.look(d)
	if _, err := t.once(ctx, d, long); err != nil {
		return m, err
	}
	after, err := t.counters(part)
	if err != nil {
		return m, err
	}
	m.Octets = t.look(d).payload - a.payload
	m.CsumErrors = after["TcpInCsumErrors"] - before["TcpInCsumErrors"]
	m.TCPErrors = after["TcpInErrs"] - before["TcpInErrs"]
	m.IPErrors = after["IpInHdrErrors"] - before["IpInHdrErrors"]
	return m, nil
}

// tcpTimes says how long and how often.
func (b *bench) tcpTimes() (long time.Duration, rounds int) {
	if b.short {
		return time.Second, 1
	}
	return 2 * time.Second, 3
}

// partTCP is part "tcp".
func partTCP(ctx context.Context, b *bench) (any, error) {
	var rows []TCPRow
	for i, p := range b.paths {
		more, err := b.tcpPath(ctx, p, strconv.Itoa(i))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// tcpPath measures one path both ways, with offload and without in turn.
func (b *bench) tcpPath(ctx context.Context, p path, tag string) (rows []TCPRow, err error) {
	l := &lab{}
	defer b.closing("tcp", l.close)
	var labs [3]*tcpLab // without offload, with, and with the kernels checking
	for i := range labs {
		t, err := newTCPLab(b, l, tag+string(rune('a'+i)), p, i > 0, i == 2)
		if err != nil {
			return nil, err
		}
		defer b.closing("tcp", t.close)
		if err := t.listen(ctx); err != nil {
			return nil, err
		}
		labs[i] = t
	}
	long, rounds := b.tcpTimes()
	for _, d := range []direction{up, down} {
		var cost, rate, busy [2][]float64
		for n := range rounds {
			b.progress("tcp: %s %s, round %d of %d", p.name, d, n+1, rounds)
			for k := range 2 {
				i := (k + n) % 2
				r, err := labs[i].once(ctx, d, long)
				if err != nil {
					return nil, err
				}
				cost[i] = append(cost[i], r.CPUSecondsPerGB)
				rate[i] = append(rate[i], r.GbitPerS)
				busy[i] = append(busy[i], r.Busy)
			}
		}
		var runs [2]TCPRun
		for i := range runs {
			runs[i] = TCPRun{
				CPUSecondsPerGB: rounded(spreadOf(cost[i]).median, 3), GbitPerS: rounded(spreadOf(rate[i]).median, 2),
				Busy: rounded(spreadOf(busy[i]).median, 2),
			}
		}
		row := TCPRow{
			Path: p.name, Direction: string(d), Off: runs[0], On: runs[1],
			Gain: rounded(runs[0].CPUSecondsPerGB/runs[1].CPUSecondsPerGB, 2), Run: b.run,
		}
		if row.Malformed, err = labs[2].check(ctx, d, time.Second); err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// tcpTable shows them.
func tcpTable(rows []TCPRow) table {
	t := table{
		title: "TCP through one session: server CPU seconds for 1e9 octets of payload, with segmentation offload and without",
		head: []string{
			"path", "way", "CPU s/GB", "Gbit/s", "busy", "without: CPU s/GB", "Gbit/s", "busy", "gain", "checked MB", "malformed",
		},
	}
	for _, r := range rows {
		m := r.Malformed
		t.rows = append(t.rows, []string{
			r.Path, r.Direction,
			fmt.Sprintf("%.2f", r.On.CPUSecondsPerGB), fmt.Sprintf("%.2f", r.On.GbitPerS), fmt.Sprintf("%.0f %%", 100*r.On.Busy),
			fmt.Sprintf("%.2f", r.Off.CPUSecondsPerGB), fmt.Sprintf("%.2f", r.Off.GbitPerS), fmt.Sprintf("%.0f %%", 100*r.Off.Busy),
			fmt.Sprintf("%.1f", r.Gain), fmt.Sprintf("%.0f", float64(m.Octets)/1e6), fmt.Sprint(m.CsumErrors + m.TCPErrors + m.IPErrors),
		})
	}
	return t
}
