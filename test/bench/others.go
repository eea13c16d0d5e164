package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// OtherRow is what single UDP packets through one session have cost a whole server, ours or another: medians of interleaved
// runs of loadgen.
type OtherRow struct {
	Server          string  `json:"server"`
	Protocol        string  `json:"protocol"`
	Direction       string  `json:"direction"`
	OfferedPPS      float64 `json:"offeredPps"`
	PassedPPS       float64 `json:"passedPps"`
	CPUSecondsPerGB float64 `json:"cpuSecondsPerGB"` // of its process, for 1e9 octets of UDP payload
}

// Others is what part "others" found out, and whom it could not ask.
type Others struct {
	Rows    []OtherRow `json:"rows"`
	Missing []string   `json:"missing"`
	Run     *Run       `json:"run"`
}

// othersRate is one that the slowest of them carries; the quicker ones carry udpRate too.
const othersRate = 20000

// rival is a server to which the same clients are sent, with a place for them and a host behind it.
type rival struct {
	name      string
	protocols []string
	rates     []float64
	needs     []string // programs
	args      []string // how loadgen logs in
	start     func(context.Context, *rival) error

	lab      *lab
	tag      string // of its parts of the lab
	programs string // folder with the daemon and loadgen
	dir      string
	cmd      *exec.Cmd
	pid      int // of the process that does the work
	ending   []func() error
}

// rivals are those that Debian has and whose set-up is a few lines: with one user, a pool and, for IPsec, benchPSK.
func rivals() []*rival {
	both, ms := []string{"L2TP", "L2TP_IPSEC"}, []string{"--password", "pw1"}
	return []*rival{
		{name: "concentrator", protocols: both, rates: []float64{othersRate, udpRate}, args: ms, start: startOurs},
		{
			name: "l2tpns", protocols: []string{"L2TP"}, rates: []float64{othersRate, udpRate}, needs: []string{"l2tpns"},
			args: []string{"--password", "pw1", "--auth", "PAP", "--tunnel-secret", benchPSK}, start: startL2TPNS,
		},
		{
			name: "SoftEther", protocols: both, rates: []float64{othersRate}, needs: []string{"vpnserver", "vpncmd"}, args: ms,
			start: startSoftEther,
		},
	}
}

func (r *rival) server() string { return "srv" + r.tag }
func (r *rival) client() string { return "cli" + r.tag }
func (r *rival) host() string   { return "host" + r.tag }

// missing is the first program that isn't there; "" if none is.
func (r *rival) missing() string {
	for _, name := range r.needs {
		if _, err := exec.LookPath(name); err != nil {
			return name
		}
	}
	return ""
}

// open starts the server in namespaces of its own.
func (r *rival) open(ctx context.Context, l *lab, tag, programs string) error {
	r.lab, r.tag, r.programs, r.dir = l, tag, programs, filepath.Join(programs, tag)
	if err := errors.Join(l.outer(r.server(), r.client()), l.behind(r.server(), r.host()), os.Mkdir(r.dir, 0o755)); err != nil {
		return err
	}
	if err := r.start(ctx, r); err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	return nil
}

func (r *rival) close() error {
	var errs []error
	for i := len(r.ending) - 1; i >= 0; i-- {
		errs = append(errs, r.ending[i]())
	}
	return errors.Join(errs...)
}

func startOurs(ctx context.Context, r *rival) error {
	d, err := startDaemon(ctx, r.lab, r.server(), r.programs, r.dir)
	if d != nil {
		r.ending = append(r.ending, d.stop)
	}
	if err == nil {
		r.pid = d.pid()
	}
	return err
}

// launch starts a server whose files are in fixed places: script prepares them, where nobody else sees them, and becomes the
// server. All its processes end with it, and it with us.
func (r *rival) launch(script string) error {
	log, err := os.Create(filepath.Join(r.dir, "out"))
	if err != nil {
		return err
	}
	defer log.Close()
	r.cmd = exec.Command("nsenter", r.lab.enter(r.server()),
		"unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", script)
	r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr = r.dir, log, log
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		return err
	}
	r.ending = append(r.ending, func() error {
		// The first process of the new PID namespace takes the others with it, and unshare, which waits for it, ends.
		if first, err := child(r.cmd.Process.Pid); err == nil && first != 0 {
			_ = syscall.Kill(first, syscall.SIGKILL) // it may have ended
		} else {
			_ = r.cmd.Process.Kill()
		}
		_ = r.cmd.Wait()
		return nil
	})
	return nil
}

// child is the first process that another has started; 0 if there is none.
func child(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	children := strings.Fields(string(text))
	if len(children) == 0 {
		return 0, nil
	}
	return strconv.Atoi(children[0])
}

// worker is the last of the processes that a process has started one from the other.
func worker(pid int) (int, error) {
	for {
		next, err := child(pid)
		if err != nil || next == 0 {
			return pid, err
		}
		pid = next
	}
}

// answers waits until somebody can log in and notes which process that took.
func (r *rival) answers(ctx context.Context) error {
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err = r.loadgen(ctx, "login", r.protocols[0], "--timeout", "3s"); err == nil {
			r.pid, err = worker(r.cmd.Process.Pid)
			return err
		}
	}
	text, _ := os.ReadFile(filepath.Join(r.dir, "out")) // for the message only
	return fmt.Errorf("nobody can log in after 30 s: %w: %s", err, text)
}

// loadgen runs it with one client of this server's.
func (r *rival) loadgen(ctx context.Context, command, protocol string, args ...string) (got report, err error) {
	line := []string{
		r.lab.enter(r.client()), filepath.Join(r.programs, "loadgen"), command,
		"--server", serverAddr, "--protocol", protocol, "--user", "u1", "--psk", benchPSK, "--nat-t", "--group", "modp2048",
		"--count", "1", "-q", "-o", "json",
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", append(append(line, r.args...), args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if got, err = reportOf(cmd); err != nil {
		return got, err
	}
	if got.OK != 1 {
		return got, fmt.Errorf("loadgen: %s: login failed: %v", protocol, got.Failed)
	}
	return got, nil
}

// try is what one server is asked to carry, and how it did in each round.
type try struct {
	OtherRow
	rival         *rival
	costs, passed []float64
}

func (r *rival) tries() (all []*try) {
	for _, p := range r.protocols {
		for _, pps := range r.rates {
			for _, d := range []direction{up, down} {
				all = append(all, &try{rival: r, OtherRow: OtherRow{Server: r.name, Protocol: p, Direction: string(d), OfferedPPS: pps}})
			}
		}
	}
	return all
}

// once sends packets one way and notes what of them came through and what that took.
func (t *try) once(ctx context.Context, long time.Duration) error {
	r := t.rival
	got, err := r.loadgen(ctx, "traffic", t.Protocol, "--responder", responder, "--responder-ns", r.lab.ns(r.host()),
		"--direction", t.Direction, "--duration", long.String(), "--pps", fmt.Sprint(t.OfferedPPS), "--max-loss", "1",
		"--server-pid", strconv.Itoa(r.pid))
	if err != nil {
		return err
	}
	if got.Traffic == nil {
		return fmt.Errorf("%s %s: loadgen tells of no traffic", t.Protocol, t.Direction)
	}
	way := got.Traffic.Up
	if t.Direction == string(down) {
		way = got.Traffic.Down
	}
	if way == nil || way.Received == 0 {
		return fmt.Errorf("%s %s: nothing went through", t.Protocol, t.Direction)
	}
	octets := float64(way.Received) * float64(innerLen-ipLen-udpLen)
	t.passed, t.costs = append(t.passed, way.PPS), append(t.costs, got.ServerCPUS/octets*1e9)
	return nil
}

// acceptAll says yes to every request of RADIUS (RFC 2865 section 4.2) until conn is closed.
func acceptAll(conn net.PacketConn, secret string) error {
	const headerLen, accept, serviceType, framed, framedProtocol, ppp = 20, 2, 6, 2, 7, 1
	attributes := []byte{serviceType, 6, 0, 0, 0, framed, framedProtocol, 6, 0, 0, 0, ppp}
	for q := make([]byte, 4096); ; {
		n, from, err := conn.ReadFrom(q)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if n < headerLen {
			continue
		}
		p := append([]byte{accept, q[1], 0, byte(headerLen + len(attributes))}, q[4:headerLen]...) // the authenticator asked with
		p = append(p, attributes...)
		sum := md5.Sum(append(bytes.Clone(p), secret...))
		copy(p[4:], sum[:])
		if _, err := conn.WriteTo(p, from); err != nil {
			return err
		}
	}
}

// startL2TPNS starts it with a RADIUS server, as it has no users itself.
func startL2TPNS(ctx context.Context, r *rival) error {
	var conn net.PacketConn
	if err := r.lab.do(r.server(), func() (err error) {
		conn, err = net.ListenPacket("udp4", "127.0.0.1:1812")
		return err
	}); err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- acceptAll(conn, benchPSK) }()
	r.ending = append(r.ending, func() error { return errors.Join(conn.Close(), <-served) })
	config := fmt.Sprintf(`set l2tp_secret "%[1]s"
set primary_radius 127.0.0.1
set radius_secret "%[1]s"
set radius_authtypes "pap"
set allow_duplicate_users yes
set bind_address %[2]s
set peer_address %[3]s
set primary_dns %[3]s
set cluster_interface s0
set cluster_hb_timeout 10
set cluster_master_min_adv 1
`, benchPSK, serverAddr, rivalGateway)
	for name, text := range map[string]string{"startup-config": config, "ip_pool": rivalPool + "\n", "users": ""} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if err := r.launch(`mount --bind . /etc/l2tpns; exec l2tpns`); err != nil {
		return err
	}
	return r.answers(ctx)
}

// What the other servers give their clients.
const (
	rivalPool    = "10.64.0.0/21"
	rivalGateway = "10.64.0.1"
)

// softEtherCommands give it a hub with a user, addresses by its own DHCP server, and a TAP device as the way to the host.
const softEtherCommands = `HubCreate bench /PASSWORD:x
Hub bench
UserCreate u1 /GROUP:none /REALNAME:none /NOTE:none
UserPasswordSet u1 /PASSWORD:pw1
SecureNatEnable
SecureNatHostSet /MAC:none /IP:10.64.0.2 /MASK:255.255.248.0
DhcpSet /START:10.64.0.10 /END:10.64.0.200 /MASK:255.255.248.0 /EXPIRE:7200 /GW:` + rivalGateway + ` /DNS:none /DNS2:none /DOMAIN:none /LOG:no
NatDisable
IPsecEnable /L2TP:yes /L2TPRAW:yes /ETHERIP:no /PSK:` + benchPSK + ` /DEFAULTHUB:bench
BridgeCreate bench /DEVICE:b /TAP:yes
`

func startSoftEther(ctx context.Context, r *rival) error {
	if err := os.WriteFile(filepath.Join(r.dir, "commands"), []byte(softEtherCommands), 0o600); err != nil {
		return err
	}
	if err := r.launch(`for d in /var/lib /var/log /run; do mount -t tmpfs none $d; mkdir $d/softether; done
exec vpnserver execsvc`); err != nil {
		return err
	}
	ns := r.lab.ns(r.server())
	for _, step := range [][]string{
		{"nsenter", r.lab.enter(r.server()), "vpncmd", "localhost", "/SERVER", "/IN:" + filepath.Join(r.dir, "commands")},
		{"ip", "-n", ns, "address", "add", rivalGateway + "/21", "dev", "tap_b"},
		{"ip", "-n", ns, "link", "set", "tap_b", "up"},
	} {
		var err error
		for range 20 { // it listens, and makes its device, when it gets round to it
			if err = run(step[0], step[1:]...); err == nil || ctx.Err() != nil {
				break
			}
			time.Sleep(500 * time.Millisecond)
		}
		if err != nil {
			return err
		}
	}
	return r.answers(ctx)
}

// partOthers is part "others".
func partOthers(ctx context.Context, b *bench) (any, error) { return b.measureOthers(ctx) }

func (b *bench) measureOthers(ctx context.Context) (o Others, err error) {
	o.Run = b.run
	l := &lab{}
	defer b.closing("others", l.close)
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return o, err
	}
	defer b.closing("others", func() error { return os.RemoveAll(dir) })
	if err := buildPrograms(ctx, dir); err != nil {
		return o, err
	}
	var tries []*try
	for i, r := range rivals() {
		if name := r.missing(); name != "" {
			o.Missing = append(o.Missing, name)
			continue
		}
		b.progress("others: starting %s", r.name)
		defer b.closing("others", r.close)
		if err := r.open(ctx, l, fmt.Sprint("o", i), dir); err != nil {
			return o, err
		}
		tries = append(tries, r.tries()...)
	}
	long, rounds := b.tcpTimes()
	for n := range rounds {
		for _, t := range tries {
			b.progress("others: %s, %s %s, %.0f/s, round %d of %d", t.Server, t.Protocol, t.Direction, t.OfferedPPS, n+1, rounds)
			if err := t.once(ctx, long); err != nil {
				return o, fmt.Errorf("%s: %w", t.Server, err)
			}
		}
	}
	for _, t := range tries {
		t.CPUSecondsPerGB = rounded(spreadOf(t.costs).median, 3)
		t.PassedPPS = rounded(spreadOf(t.passed).median, 0)
		o.Rows = append(o.Rows, t.OtherRow)
	}
	return o, nil
}

func othersTable(o Others) table {
	t := table{
		title: "The daemon and other servers, single UDP packets through one session of loadgen: CPU seconds of the server's process for 1e9 octets of payload",
		head:  []string{"server", "protocol", "way", "offered/s", "passed/s", "CPU s/GB"},
	}
	for _, r := range o.Rows {
		t.rows = append(t.rows, []string{
			r.Server, r.Protocol, r.Direction, fmt.Sprintf("%.0f", r.OfferedPPS), fmt.Sprintf("%.0f", r.PassedPPS),
			fmt.Sprintf("%.2f", r.CPUSecondsPerGB),
		})
	}
	if len(o.Missing) > 0 {
		t.notes = append(t.notes, "Not installed, and so not asked: "+strings.Join(o.Missing, ", ")+".")
	}
	return t
}
