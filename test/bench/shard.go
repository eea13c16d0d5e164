package main

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"concentrator/internal/wire/ppp"
)

// sample is what some packets have cost: CPU time.
type sample struct {
	cpu     time.Duration
	packets int
}

func (a *sample) add(b sample) { a.cpu, a.packets = a.cpu+b.cpu, a.packets+b.packets }

// perPacket is in nanoseconds; 0 without packets.
func (a *sample) perPacket() float64 {
	if a.packets == 0 {
		return 0
	}
	return float64(a.cpu) / float64(a.packets)
}

// sampler takes the measure of some packets, so few that those to be compared can take turns: what else goes on in the
// machine then meets all of them.
type sampler func() (sample, error)

// until has more measured until a has so many packets.
func (s sampler) until(packets int, a *sample) error {
	for a.packets < packets {
		b, err := s()
		if err != nil {
			return err
		}
		a.add(b)
	}
	return nil
}

// perRound is how many packets make up a round at least.
const perRound = 2048

// primer is how many packets wake a shard up and fill its caches again, in a short phase. What such a phase costs is taken off
// that of one with as many packets more: a shard under load neither sleeps nor begins with cold caches. The I/O alone is
// measured likewise.
const primer = 64

// without is primer for a queue, 0 for one so long that it does not matter.
func without(queue int) int {
	if queue >= coldQueue {
		return 0
	}
	return primer
}

// trainLen is how many packets are joined in a train: what 64 KiB hold.
const trainLen = 44

// echoReply is an LCP packet that asks for nothing.
var echoReply = []byte{10, 1, 0, 4}

// load is what a shard is given in a phase, and by whom.
type load struct {
	server   *server
	sessions []*session
	gen      *thread // that fills the queues
	clients  *clients
	sources  *sources // of single packets, or of trains
	queue    int      // packets
	train    int      // of how many packets what comes from inside is; 0: each alone
}

// newLoad makes sessions of a path and the sockets of both their ends.
func newLoad(s *server, gen *thread, p path, sessions int, train int) (*load, error) {
	l := &load{server: s, gen: gen, train: train}
	var ports []uint16
	var addrs []netip.Addr
	for range sessions {
		x, err := s.opened(p, nil)
		if err != nil {
			return nil, fmt.Errorf("session of %s: %w", p.name, err)
		}
		l.sessions = append(l.sessions, x)
		ports = append(ports, x.port)
		addrs = append(addrs, x.addr)
	}
	var err error
	if l.clients, err = dialClients(s.lab, s.client, p.carrier, ports, p.serverPort()); err != nil {
		return nil, err
	}
	segment := 0
	if train > 0 {
		segment = innerLen - ipLen - udpLen
	}
	if l.sources, err = dialSources(s.lab, s.inner, addrs, segment); err != nil {
		l.clients.close()
		return nil, err
	}
	return l, nil
}

func (l *load) close() {
	l.clients.close()
	l.sources.close()
}

// with is the load with another queue.
func (l *load) with(queue int) *load {
	c := *l
	c.queue = queue
	return &c
}

// sampler measures the shard in one direction.
func (l *load) sampler(d direction) sampler {
	phase := l.down
	if d == up {
		phase = l.up
	}
	return func() (got sample, err error) {
		head := without(l.queue)
		if head > 0 {
			if got.cpu, err = phase(head); err != nil {
				return got, err
			}
		}
		cpu, err := phase(head + l.queue)
		return sample{cpu - got.cpu, l.queue}, err
	}
}

// knock makes the control frames that hold the shards up, and what sends them.
func (l *load) knock() (gates []*gate, send func() error, err error) {
	frames := map[int][]byte{} // by session
	seen := map[int]bool{}
	for i, x := range l.sessions {
		if seen[x.call.Shard()] {
			continue
		}
		seen[x.call.Shard()] = true
		frame, err := x.far.control(ppp.ProtocolLCP, echoReply)
		if err != nil {
			return nil, nil, err
		}
		frames[i] = slices.Clone(frame)
		gates = append(gates, x.gate)
	}
	return gates, func() error {
		for i, frame := range frames {
			if err := l.clients.send(i, frame); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// up is a phase of n packets from the clients, in turn.
func (l *load) up(n int) (time.Duration, error) {
	gates, knock, err := l.knock()
	if err != nil {
		return 0, err
	}
	inners := make([][]byte, len(l.sessions))
	for i, x := range l.sessions {
		inners[i] = innerUDP(x.addr, netip.MustParseAddr(sinkhole), clientPort, insidePort)
	}
	packets := make([][]byte, n)
	for i := range packets {
		k := i % len(l.sessions)
		p, err := l.sessions[k].far.data(inners[k])
		if err != nil {
			return 0, err
		}
		packets[i] = slices.Clone(p)
	}
	return l.phase(n, gates, knock, func() error {
		for i, p := range packets {
			if err := l.clients.send(i%len(l.sessions), p); err != nil {
				return err
			}
		}
		return nil
	})
}

// down is a phase of n packets to the clients, in turn or in trains.
func (l *load) down(n int) (time.Duration, error) {
	gates, knock, err := l.knock()
	if err != nil {
		return 0, err
	}
	return l.phase(n, gates, knock, func() error { return fillDown(l.sources, n, l.train) })
}

// fillDown sends so many packets to the clients: in turn, or all to the first in trains.
func fillDown(to *sources, packets, train int) error {
	payload := make([]byte, max(train, 1)*(innerLen-ipLen-udpLen))
	for i := 0; i < packets; i++ {
		if train == 0 {
			if err := to.send(i, payload); err != nil {
				return err
			}
			continue
		}
		k := min(train, packets-i)
		if err := to.send(0, payload[:k*(innerLen-ipLen-udpLen)]); err != nil {
			return err
		}
		i += k - 1
	}
	return nil
}

// phase measures one phase and sees to it that all n packets have passed.
func (l *load) phase(n int, gates []*gate, knock, fill func() error) (time.Duration, error) {
	before := l.server.passed(l.sessions)
	l.server.settle()
	cpu, err := phase(gates, knock, func() error { return l.gen.do(fill) })
	if err != nil {
		return 0, err
	}
	l.clients.drain()
	if got := l.server.passed(l.sessions) - before; got != uint64(n) {
		return 0, fmt.Errorf("%s: %d of %d packets passed; dropped since the start: %s", l.sessions[0].path.name, got, n,
			l.server.drops())
	}
	return cpu, nil
}
