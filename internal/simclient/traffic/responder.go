package traffic

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netns"
)

// Responder is the other end of the sessions' traffic: a UDP socket inside their network, which takes what they send, sends
// to them, or sends back. One Run at a time may use it.
type Responder struct {
	addr netip.AddrPort
	fd   int
}

// NewResponder opens the socket on addr in the namespace called namespace, "" for our own. Sessions must be able to reach
// it, and it them. It needs CAP_SYS_ADMIN for a namespace. Close it.
func NewResponder(namespace string, addr netip.AddrPort) (*Responder, error) {
	if !addr.Addr().Is4() {
		return nil, fmt.Errorf("%w: responder at %v", ErrConfig, addr)
	}
	h, err := netns.Open(namespace)
	if err != nil {
		return nil, fmt.Errorf("responder: %w", err)
	}
	r := &Responder{fd: -1}
	err = h.Do(func() (err error) {
		r.fd, err = openResponder(addr)
		return err
	})
	if err = errors.Join(err, h.Close()); err != nil {
		if r.fd >= 0 {
			err = errors.Join(err, unix.Close(r.fd))
		}
		return nil, fmt.Errorf("responder at %v in namespace %q: %w", addr, namespace, err)
	}
	sa, err := unix.Getsockname(r.fd)
	if in, ok := sa.(*unix.SockaddrInet4); err == nil && ok {
		addr = netip.AddrPortFrom(addr.Addr(), uint16(in.Port)) // it may have been 0
	}
	r.addr = addr
	return r, nil
}

// Address is where it is.
func (r *Responder) Address() netip.AddrPort { return r.addr }

// Close closes the socket.
func (r *Responder) Close() error { return unix.Close(r.fd) }

// openResponder makes the socket in the calling thread's namespace.
func openResponder(addr netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open UDP socket: %w", err)
	}
	enlarge(fd)
	for _, o := range []struct {
		level, option, value int
	}{
		{unix.SOL_UDP, unix.UDP_GRO, 1},
		// No packet of ours may be cut up on its way: a session would get what we can't read.
		{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE},
	} {
		if err = unix.SetsockoptInt(fd, o.level, o.option, o.value); err != nil {
			err = fmt.Errorf("set up UDP socket: %w", err)
			break
		}
	}
	if err == nil {
		if err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
			err = fmt.Errorf("bind: %w", err)
		}
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// responding is a Responder's thread in one run.
type responding struct {
	st     *state
	fd     int
	poller *poller
	trains *trainReader
	sender *sender
	sink   sink

	turns *turns // nil: it sends nothing of its own accord
	pace  *pace
	bufs  [batch][MaxSize]byte
}

func newResponding(st *state) (*responding, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	r := &responding{
		st: st, fd: st.cfg.Responder.fd, poller: p, trains: newTrainReader(), sender: newSender(),
		sink: sink{flows: make([]flow, len(st.sessions))},
	}
	for i := range r.bufs {
		filling(r.bufs[i][:])
	}
	if err := p.add(r.fd, 0); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return r, nil
}

// start begins the sending at the run's beginning.
func (r *responding) start() {
	st := r.st
	if st.cfg.Direction&Down == 0 {
		return
	}
	all := make([]uint32, len(st.sessions))
	for i := range all {
		all[i] = uint32(i)
	}
	r.turns = newTurns(all, st.cfg.Size, st.cfg.Train)
	r.pace = newPace(&st.down, &st.down, st.cfg.PPS, st.cfg.DownWindow, st.cfg.Packets)
}

// loop is the thread.
func (r *responding) loop() error {
	for {
		now := time.Now()
		at := r.st.nanos(now)
		phase := r.st.phase.Load()
		if phase == phaseStop {
			return nil
		}
		wait, sent := maxWait, 0
		if r.pace != nil && phase == phaseSend {
			sent = r.pace.due(at, batch)
			switch {
			case sent > 0:
				r.send(sent, at)
				wait = 0
			case r.pace.done():
				r.pace = nil
				r.st.full.Add(1)
			default:
				wait = min(wait, r.pace.wait(at))
			}
		}
		ready, err := r.poller.wait(wait)
		if err != nil {
			return err
		}
		if len(ready) > 0 {
			if err := r.receive(); err != nil {
				return err
			}
		}
	}
}

// send makes and sends n packets.
func (r *responding) send(n int, at int64) {
	for i := range n {
		flow, seq, size := r.turns.next()
		p := r.bufs[i][:size-ipLen-udpLen]
		stamp{r.st.run, flow, seq, at}.put(p)
		r.sender.add(r.fd, true, &r.st.sessions[flow].from, p, size)
	}
	r.pace.spent(n)
	r.sender.flush()
	r.sender.take(&r.st.down)
}

// receive reads the socket once.
func (r *responding) receive() error {
	if _, err := r.trains.read(r.fd); err != nil {
		return err
	}
	at := r.st.nanos(time.Now())
	arrived, passed := uint64(0), uint64(0)
	for {
		p, from, ok := r.trains.next()
		if !ok {
			break
		}
		t, ok := parseStamp(p, r.st.run)
		if !ok || int(t.flow) >= len(r.sink.flows) || from.Addr != r.st.sessions[t.flow].inner {
			continue
		}
		n := len(p) + ipLen + udpLen
		moved, fresh := r.sink.flows[t.flow].accept(t.seq, n)
		if fresh {
			r.sink.latencies.Add(time.Duration(at - t.at))
		}
		arrived, passed = arrived+1, passed+moved
		if r.st.cfg.Direction == Echo {
			r.sender.add(r.fd, true, from, p, n)
		}
	}
	if r.st.cfg.Direction == Echo {
		r.sender.flush()
		r.sender.take(&r.st.down)
	}
	if arrived > 0 {
		r.st.up.arrived.Add(arrived)
		r.st.up.passed.Add(passed)
	}
	return nil
}

func (r *responding) close() error { return r.poller.close() }
