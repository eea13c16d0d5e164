package main

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"concentrator/test/bench/rawio"
)

// ioDevices are the two TUN devices, without and with offload, and who lives behind them.
var ioDevices = [2]struct {
	name, prefix, host string
}{
	{"tun0", "10.51.0.0/16", "10.51.1.1"},
	{"tun1", "10.52.0.0/16", "10.52.1.1"},
}

// ioLab holds what moves packets without a dataplane: the same places as the dataplane's, in namespaces of its own, because
// two raw sockets in one would both get a copy of each packet.
type ioLab struct {
	lab      *lab
	tag      string // in the names of the namespaces
	udp, gre int
	tun      [2]int
	work     *thread // runs the loops
	gen      *thread // fills their queues
	loops    map[[2]bool]*rawio.Loop
	next     int // port of the next client
}

// newIOLab makes the namespaces, sockets and devices.
func newIOLab(l *lab, tag string, work, gen *thread) (*ioLab, error) {
	k := &ioLab{
		lab: l, tag: tag, udp: -1, gre: -1, tun: [2]int{-1, -1}, work: work, gen: gen, loops: map[[2]bool]*rawio.Loop{}, next: firstPort,
	}
	if err := k.open(); err != nil {
		k.close()
		return nil, fmt.Errorf("I/O alone: %w", err)
	}
	return k, nil
}

// The parts of the lab.
func (k *ioLab) server() string { return "iosrv" + k.tag }
func (k *ioLab) client() string { return "iocli" + k.tag }
func (k *ioLab) inner() string  { return "ionet" + k.tag }

func (k *ioLab) open() error {
	if err := errors.Join(k.lab.outer(k.server(), k.client()), k.lab.add(k.inner())); err != nil {
		return err
	}
	from := netip.MustParseAddr(serverAddr).As4()
	if err := k.lab.do(k.server(), func() (err error) {
		if k.udp, err = rawio.OpenUDP(from, portL2TP); err != nil {
			return err
		}
		k.gre, err = rawio.OpenRaw(unix.IPPROTO_GRE)
		return err
	}); err != nil {
		return err
	}
	ns := k.lab.ns(k.inner())
	for i, dev := range ioDevices {
		if err := k.lab.do(k.inner(), func() (err error) {
			k.tun[i], err = rawio.OpenTUN(dev.name, i == 1)
			return err
		}); err != nil {
			return err
		}
		if err := errors.Join(
			run("ip", "-n", ns, "link", "set", dev.name, "up", "txqueuelen", fmt.Sprint(tunQueue)),
			run("ip", "-n", ns, "route", "add", dev.prefix, "dev", dev.name),
		); err != nil {
			return err
		}
	}
	if err := errors.Join(
		run("ip", "-n", ns, "address", "add", insideAddr+"/32", "dev", "lo"),
		run("ip", "-n", ns, "route", "add", "blackhole", sinkhole+"/32"),
	); err != nil {
		return err
	}
	return k.work.do(func() error {
		for _, raw := range []bool{false, true} {
			for i, fd := range k.tun {
				wire := k.udp
				if raw {
					wire = k.gre
				}
				k.loops[[2]bool{raw, i == 1}] = rawio.NewLoop(wire, fd, raw, from)
			}
		}
		return nil
	})
}

func (k *ioLab) close() {
	for _, fd := range []int{k.udp, k.gre, k.tun[0], k.tun[1]} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// ioLoad is one measurement of the I/O alone.
type ioLoad struct {
	lab     *ioLab
	path    path
	offload bool
	wire    int // octets of a packet behind the IP or UDP header
	clients *clients
	sources *sources
	ports   []int
	queue   int
	sum     rawio.Cost // since it was last set to zero
}

// newLoad prepares a measurement like one of a dataplane: as many sessions, packets of the same length on the wire.
func (k *ioLab) newLoad(p path, sessions int, offload bool, wire int) (*ioLoad, error) {
	l := &ioLoad{lab: k, path: p, offload: offload, wire: wire, ports: []int{0}}
	var ports []uint16
	host := netip.MustParseAddr(ioDevices[index(offload)].host)
	var addrs []netip.Addr
	if p.carrier != pptp {
		l.ports = nil
	}
	for range sessions {
		ports = append(ports, uint16(k.next))
		if p.carrier != pptp {
			l.ports = append(l.ports, k.next)
		}
		k.next++
		addrs = append(addrs, host)
		host = host.Next()
	}
	var err error
	if l.clients, err = dialClients(k.lab, k.client(), p.carrier, ports, portL2TP); err != nil {
		return nil, err
	}
	segment := 0
	if offload {
		segment = innerLen - ipLen - udpLen
	}
	if l.sources, err = dialSources(k.lab, k.inner(), addrs, segment); err != nil {
		l.clients.close()
		return nil, err
	}
	return l, nil
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (l *ioLoad) close() {
	l.clients.close()
	l.sources.close()
}

// with is the measurement with another queue.
func (l *ioLoad) with(queue int) *ioLoad {
	c := *l
	c.queue = queue
	return &c
}

// sampler measures one direction.
func (l *ioLoad) sampler(d direction) sampler { return together(d, l) }

// together measures several loads, of which each has a loop and a thread of its own, at the same time.
func together(d direction, loads ...*ioLoad) sampler {
	return func() (got sample, err error) {
		less := make([]rawio.Cost, len(loads))
		head := without(loads[0].queue)
		if head > 0 {
			if less, err = phaseIO(d, head, loads); err != nil {
				return got, err
			}
		}
		costs, err := phaseIO(d, head+loads[0].queue, loads)
		if err != nil {
			return got, err
		}
		for i, l := range loads {
			c := costs[i].Less(less[i])
			l.sum = rawio.Sum(l.sum, c)
			got.add(sample{c.Whole, c.Packets})
		}
		return got, nil
	}
}

// phaseIO fills every load's queue with n packets, has all loops drain theirs at once, and returns what each took.
func phaseIO(d direction, n int, loads []*ioLoad) ([]rawio.Cost, error) {
	for _, l := range loads {
		if err := l.fill(d, n); err != nil {
			return nil, err
		}
	}
	costs, errs := make([]rawio.Cost, len(loads)), make([]error, len(loads))
	var done sync.WaitGroup
	for i, l := range loads {
		done.Go(func() { costs[i], errs[i] = l.move(d, n) })
	}
	done.Wait()
	for i, l := range loads {
		l.clients.drain()
		if errs[i] == nil && costs[i].Packets != n {
			errs[i] = fmt.Errorf("I/O alone of %s %s: %d of %d packets passed", l.path.name, d, costs[i].Packets, n)
		}
	}
	return costs, errors.Join(errs...)
}

func (l *ioLoad) loop() *rawio.Loop { return l.lab.loops[[2]bool{l.path.carrier == pptp, l.offload}] }

// fill gives the loop n packets to move.
func (l *ioLoad) fill(d direction, n int) error {
	if d == down {
		train := 0
		if l.offload {
			train = trainLen
		}
		return l.lab.gen.do(func() error { return fillDown(l.sources, n, train) })
	}
	host := netip.MustParseAddr(ioDevices[index(l.offload)].host)
	packet := append(make([]byte, l.wire-innerLen), innerUDP(host, netip.MustParseAddr(sinkhole), clientPort, insidePort)...)
	return l.lab.gen.do(func() error {
		for i := range n {
			if err := l.clients.send(i, packet); err != nil {
				return err
			}
		}
		return nil
	})
}

// greAckEvery is for how many packets PPTP wants an acknowledgement when nothing else goes back.
const greAckEvery = 16

// move has them moved.
func (l *ioLoad) move(d direction, n int) (cost rawio.Cost, err error) {
	to := netip.MustParseAddr(clientAddr).As4()
	upward := rawio.Up{Inner: innerLen, To: to}
	if l.offload {
		upward.Train = trainLen
	}
	if l.path.carrier == pptp {
		upward.Acks = rawio.Batch / greAckEvery
	}
	downward := rawio.Down{Inner: innerLen, Wire: l.wire, To: to, Ports: l.ports, Segment: l.offload && l.path.segmentable()}
	err = l.lab.work.do(func() error {
		switch {
		case d == up:
			cost, err = l.loop().Up(n, upward)
		case l.offload:
			cost, err = l.loop().DownTrains(n, downward)
		default:
			cost, err = l.loop().Down(n, downward)
		}
		return err
	})
	return cost, err
}
