package main

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"concentrator/test/bench/rawio"
)

// Parts of the lab for the I/O alone: the same places as the dataplane's, in namespaces of their own, because two raw sockets
// in one would both get a copy of each packet.
const (
	ioServer = "iosrv"
	ioClient = "iocli"
	ioInner  = "ionet"
)

// ioDevices are the two TUN devices, without and with offload, and who lives behind them.
var ioDevices = [2]struct {
	name, prefix, host string
}{
	{"tun0", "10.51.0.0/16", "10.51.1.1"},
	{"tun1", "10.52.0.0/16", "10.52.1.1"},
}

// ioLab holds what moves packets without a dataplane.
type ioLab struct {
	lab      *lab
	udp, gre int
	tun      [2]int
	work     *thread // runs the loops
	gen      *thread // fills their queues
	loops    map[[2]bool]*rawio.Loop
	next     int // port of the next client
}

// newIOLab makes the namespaces, sockets and devices.
func newIOLab(l *lab, work, gen *thread) (*ioLab, error) {
	k := &ioLab{lab: l, udp: -1, gre: -1, tun: [2]int{-1, -1}, work: work, gen: gen, loops: map[[2]bool]*rawio.Loop{}, next: firstPort}
	if err := k.open(); err != nil {
		k.close()
		return nil, fmt.Errorf("I/O alone: %w", err)
	}
	return k, nil
}

func (k *ioLab) open() error {
	if err := errors.Join(k.lab.outer(ioServer, ioClient), k.lab.add(ioInner)); err != nil {
		return err
	}
	from := netip.MustParseAddr(serverAddr).As4()
	if err := k.lab.do(ioServer, func() (err error) {
		if k.udp, err = rawio.OpenUDP(from, portL2TP); err != nil {
			return err
		}
		k.gre, err = rawio.OpenRaw(unix.IPPROTO_GRE)
		return err
	}); err != nil {
		return err
	}
	ns := k.lab.ns(ioInner)
	for i, dev := range ioDevices {
		if err := k.lab.do(ioInner, func() (err error) {
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
	if l.clients, err = dialClients(k.lab, ioClient, p.carrier, ports, portL2TP); err != nil {
		return nil, err
	}
	segment := 0
	if offload {
		segment = innerLen - ipLen - udpLen
	}
	if l.sources, err = dialSources(k.lab, ioInner, addrs, segment); err != nil {
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
func (l *ioLoad) sampler(d direction) sampler {
	phase := l.down
	if d == up {
		phase = l.up
	}
	once := func(n int) (rawio.Cost, error) {
		c, err := phase(n)
		if err == nil && c.Packets != n {
			err = fmt.Errorf("I/O alone of %s %s: %d of %d packets passed", l.path.name, d, c.Packets, n)
		}
		return c, err
	}
	return func() (sample, error) {
		var less rawio.Cost
		head := without(l.queue)
		if head > 0 {
			var err error
			if less, err = once(head); err != nil {
				return sample{}, err
			}
		}
		c, err := once(head + l.queue)
		if err != nil {
			return sample{}, err
		}
		c = c.Less(less)
		l.sum = rawio.Sum(l.sum, c)
		return sample{c.Whole, c.Packets}, nil
	}
}

func (l *ioLoad) loop() *rawio.Loop { return l.lab.loops[[2]bool{l.path.carrier == pptp, l.offload}] }

func (l *ioLoad) up(n int) (cost rawio.Cost, err error) {
	host := netip.MustParseAddr(ioDevices[index(l.offload)].host)
	packet := append(make([]byte, l.wire-innerLen), innerUDP(host, netip.MustParseAddr(sinkhole), clientPort, insidePort)...)
	if err := l.lab.gen.do(func() error {
		for i := range n {
			if err := l.clients.send(i, packet); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return cost, err
	}
	u := rawio.Up{Inner: innerLen, To: netip.MustParseAddr(clientAddr).As4()}
	if l.offload {
		u.Train = trainLen
	}
	if l.path.carrier == pptp {
		u.Acks = rawio.Batch / greAckEvery
	}
	err = l.lab.work.do(func() error {
		cost, err = l.loop().Up(n, u)
		return err
	})
	l.clients.drain()
	return cost, err
}

// greAckEvery is for how many packets PPTP wants an acknowledgement when nothing else goes back.
const greAckEvery = 16

func (l *ioLoad) down(n int) (cost rawio.Cost, err error) {
	train := 0
	if l.offload {
		train = trainLen
	}
	if err := l.lab.gen.do(func() error { return fillDown(l.sources, n, train) }); err != nil {
		return cost, err
	}
	d := rawio.Down{
		Inner: innerLen, Wire: l.wire, To: netip.MustParseAddr(clientAddr).As4(), Ports: l.ports,
		Segment: l.offload && l.path.segmentable(),
	}
	err = l.lab.work.do(func() error {
		if l.offload {
			cost, err = l.loop().DownTrains(n, d)
		} else {
			cost, err = l.loop().Down(n, d)
		}
		return err
	})
	l.clients.drain()
	return cost, err
}
