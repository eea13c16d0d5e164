package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane"
)

// UDPRow is what single UDP packets through one session have cost the server: no trains, and mostly one packet waiting. Path
// "I/O alone" is no session and no server, but a thread that does nothing with the packets.
type UDPRow struct {
	Path            string  `json:"path"`
	Direction       string  `json:"direction"`
	OfferedPPS      float64 `json:"offeredPps"`
	PassedPPS       float64 `json:"passedPps"`
	CPUSecondsPerGB float64 `json:"cpuSecondsPerGB"` // for 1e9 octets of UDP payload
	NS              float64 `json:"ns"`              // for a packet
	Busy            float64 `json:"busy"`
	RSSBefore       uint64  `json:"rssBefore,omitempty"` // octets, of this process; only of the flood
	RSSAfter        uint64  `json:"rssAfter,omitempty"`
	Run             *Run    `json:"run"`
}

const (
	// udpRate is the rate of l2tpns' figures in packets a second.
	udpRate = 60000
	// relayRate is that of the figures of others that do nothing with the packets either.
	relayRate = 200000
	// floodRate is more than a session can be given.
	floodRate = 500000
	// floodTrain is how many packets of a flood one system call sends: nothing else is quick enough.
	floodTrain = 40
)

// udpLab is a server with one session, a client's socket and a host behind the server.
type udpLab struct {
	lab     *lab
	server  *server
	x       *session
	clients *clients
	host    string
	hostFD  int // a UDP socket connected to the client's inner address
	sender  *thread
	inner   string       // the part of the TUN device
	addr    netip.Addr   // of the client inside
	end     func() error // of what has no server
	under
}

// under is what a udpLab looks at.
type under struct {
	name   string
	next   func() ([]byte, error) // the next packet of the client
	passed func() uint64          // packets so far
	cpu    func() time.Duration   // that they have cost
	drops  func() string          // why some have not passed
}

// newUDPLab makes a server with a session.
func newUDPLab(b *bench, l *lab, tag string, p path) (t *udpLab, err error) {
	t = &udpLab{lab: l, hostFD: -1}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	if t.server, err = newServer(l, tag, dataplane.Config{Shards: 1}); err != nil {
		return t, err
	}
	if t.x, err = t.server.opened(p, nil); err != nil {
		return t, err
	}
	inner := innerUDP(t.x.addr, netip.MustParseAddr(farHost), clientPort, insidePort)
	t.inner, t.addr = t.server.inner, t.x.addr
	t.under = under{
		name:   p.name,
		next:   func() ([]byte, error) { return t.x.far.data(inner) },
		passed: func() uint64 { return t.server.passed([]*session{t.x}) },
		cpu:    t.server.cpu,
		drops:  t.server.drops,
	}
	return t, t.connect(b, tag, t.server.client, p, t.x.port)
}

// connect makes the host behind the server, and the client's socket.
func (t *udpLab) connect(b *bench, tag, client string, p path, port uint16) error {
	t.host = "host" + tag
	if err := t.lab.behind(t.inner, t.host); err != nil {
		return err
	}
	var err error
	if t.clients, err = dialClients(t.lab, client, p.carrier, []uint16{port}, p.serverPort()); err != nil {
		return err
	}
	if err = t.lab.do(t.host, func() (err error) {
		t.hostFD, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		return errors.Join(
			unix.SetsockoptInt(t.hostFD, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, endBuffer),
			unix.SetsockoptInt(t.hostFD, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, endBuffer),
			unix.Bind(t.hostFD, &unix.SockaddrInet4{Port: insidePort, Addr: netip.MustParseAddr(farHost).As4()}),
			unix.Connect(t.hostFD, &unix.SockaddrInet4{Port: clientPort, Addr: t.addr.As4()}),
		)
	}); err != nil {
		return err
	}
	t.sender, err = newThread(b.otherCPU)
	return err
}

func (t *udpLab) close() error {
	if t.sender != nil {
		t.sender.close()
	}
	if t.hostFD >= 0 {
		_ = unix.Close(t.hostFD)
	}
	if t.clients != nil {
		t.clients.close()
	}
	if t.end != nil {
		return t.end()
	}
	if t.server == nil {
		return nil
	}
	return t.server.close()
}

// cpu is what all shards of a server have used.
func (s *server) cpu() (sum time.Duration) {
	for _, st := range s.d.ShardStats() {
		sum += st.CPUTime
	}
	return sum
}

// measure sends packets at a rate, through the session in a direction, and looks at the server.
func (t *udpLab) measure(ctx context.Context, d direction, rate float64, long time.Duration) (r UDPRow, err error) {
	drop, payload := make([]byte, 2048), make([]byte, innerLen-ipLen-udpLen)
	sending := func(int) error { return sendOrLose(t.hostFD, payload) }
	emptying := func() { _ = receive(t.clients.fds[0], drop) }
	if d == up {
		sending = func(int) error {
			p, err := t.next()
			if err != nil {
				return err
			}
			return sendOrLose(t.clients.fds[0], p)
		}
		emptying = func() { _ = receive(t.hostFD, drop) }
	}
	pace := &pacer{rate: rate}
	t.rest()
	before, cpu, begin := t.passed(), t.cpu(), time.Now()
	err = t.sender.do(func() error {
		return pace.run(ctx, long, func(i int) error {
			emptying()
			return sending(i)
		}, emptying)
	})
	if err != nil {
		return r, err
	}
	took := time.Since(begin)
	t.rest()
	spent, packets := t.cpu()-cpu, float64(t.passed()-before)
	if packets == 0 {
		return r, fmt.Errorf("%s %s: nothing went through; dropped: %s", t.name, d, t.drops())
	}
	r = UDPRow{
		Path: t.name, Direction: string(d),
		OfferedPPS: rounded(float64(pace.sent)/long.Seconds(), 0), PassedPPS: rounded(packets/long.Seconds(), 0),
		CPUSecondsPerGB: rounded(spent.Seconds()/(packets*(innerLen-ipLen-udpLen))*1e9, 3),
		NS:              rounded(float64(spent)/packets, 0), Busy: rounded(float64(spent)/float64(took), 2),
	}
	return r, nil
}

// rest waits until what is on its way has arrived.
func (t *udpLab) rest() {
	last := uint64(0)
	for quiet := 0; quiet < 3; quiet++ {
		time.Sleep(10 * time.Millisecond)
		if now := t.passed(); now != last {
			last, quiet = now, 0
		}
	}
}

// flood sends many times what the session can be given, and looks at the memory of this process.
func (t *udpLab) flood(ctx context.Context, long time.Duration) (r UDPRow, err error) {
	p, err := t.next()
	if err != nil {
		return r, err
	}
	if err := unix.SetsockoptInt(t.clients.fds[0], unix.IPPROTO_UDP, unix.UDP_SEGMENT, len(p)); err != nil {
		return r, fmt.Errorf("send in trains: %w", err)
	}
	train := slices.Repeat(p, floodTrain)
	pace := &pacer{rate: floodRate / floodTrain}
	r = UDPRow{Path: t.name + " flood", Direction: string(up), RSSBefore: resident()}
	before, cpu, begin := t.passed(), t.cpu(), time.Now()
	drop := make([]byte, 2048)
	err = t.sender.do(func() error {
		return pace.run(ctx, long, func(int) error { return sendOrLose(t.clients.fds[0], train) }, func() { _ = receive(t.hostFD, drop) })
	})
	if err != nil {
		return r, err
	}
	took := time.Since(begin)
	t.rest()
	spent, packets := t.cpu()-cpu, float64(t.passed()-before)
	r.RSSAfter = resident()
	r.OfferedPPS = rounded(float64(pace.sent*floodTrain)/took.Seconds(), 0)
	r.PassedPPS = rounded(packets/took.Seconds(), 0)
	r.Busy = rounded(float64(spent)/float64(took), 2)
	if packets > 0 {
		r.NS = rounded(float64(spent)/packets, 0)
		r.CPUSecondsPerGB = rounded(spent.Seconds()/(packets*(innerLen-ipLen-udpLen))*1e9, 3)
	}
	return r, nil
}

// resident is the memory of this process, in octets.
func resident() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(text))
	if len(f) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(f[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}

// partUDP is part "udp".
func partUDP(ctx context.Context, b *bench) (any, error) {
	long := 3 * time.Second
	if b.short {
		long = time.Second
	}
	b.progress("udp: I/O alone")
	rows, err := b.udpRows(ctx, func(l *lab) (*udpLab, error) { return newRelayLab(b, l) }, long)
	if err != nil {
		return nil, fmt.Errorf("I/O alone: %w", err)
	}
	for i, p := range b.paths {
		b.progress("udp: %s", p.name)
		more, err := b.udpRows(ctx, func(l *lab) (*udpLab, error) { return newUDPLab(b, l, "u"+strconv.Itoa(i), p) }, long)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// udpRows measures both ways through what open makes.
func (b *bench) udpRows(ctx context.Context, open func(*lab) (*udpLab, error), long time.Duration) (rows []UDPRow, err error) {
	l := &lab{}
	defer b.closing("udp", l.close)
	t, err := open(l)
	if err != nil {
		return nil, err
	}
	defer b.closing("udp", t.close)
	rates := []float64{udpRate}
	if t.x == nil {
		rates = append(rates, relayRate)
	}
	for _, rate := range rates {
		for _, d := range []direction{up, down} {
			if _, err := t.measure(ctx, d, udpRate, 200*time.Millisecond); err != nil { // neighbours and pages become known
				return nil, err
			}
			r, err := t.measure(ctx, d, rate, long)
			if err != nil {
				return nil, err
			}
			rows = append(rows, r)
		}
	}
	if t.x != nil && t.x.path.carrier == plainL2TP { // the only one whose packets may be sent again and again
		r, err := t.flood(ctx, long)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	for i := range rows {
		rows[i].Run = b.run
	}
	return rows, nil
}

func udpTable(rows []UDPRow) table {
	t := table{
		title: "Single UDP packets through one session: server CPU seconds for 1e9 octets of payload",
		head:  []string{"path", "way", "offered/s", "passed/s", "CPU s/GB", "ns/packet", "busy", "memory MiB"},
	}
	for _, r := range rows {
		memory := "-"
		if r.RSSAfter != 0 {
			memory = fmt.Sprintf("%.1f to %.1f", float64(r.RSSBefore)/(1<<20), float64(r.RSSAfter)/(1<<20))
		}
		t.rows = append(t.rows, []string{
			r.Path, r.Direction, fmt.Sprintf("%.0f", r.OfferedPPS), fmt.Sprintf("%.0f", r.PassedPPS),
			fmt.Sprintf("%.2f", r.CPUSecondsPerGB), fmt.Sprintf("%.0f", r.NS), fmt.Sprintf("%.0f %%", 100*r.Busy), memory,
		})
	}
	return t
}
