package line

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/test/reliability/lab"
)

// maxPacket is the longest packet that a line takes, in octets: the MTU of its devices.
const maxPacket = 1500

// Line joins gen to srv beside their cable. Both directions begin without any impairment.
type Line struct {
	Server  string // the daemon's address
	Sources string // a /24, clients' addresses

	up, down *end // to the server, and to the clients
}

// end is one direction: what comes out of one device goes through a way into the other.
type end struct {
	from, to *os.File
	wake     chan struct{} // has room for one

	mu  sync.Mutex
	way *way // guarded by mu
}

// New makes the line with a number, 0 to 59, in a lab; it goes with the test. The seed decides what is lost; the packets, which
// depend on time, do too.
func New(t testing.TB, l *lab.Lab, number int, seed uint64) *Line {
	t.Helper()
	device := fmt.Sprintf("line%d", number)
	line := &Line{Server: fmt.Sprintf("192.0.2.%d", 4*number+1), Sources: fmt.Sprintf("10.201.%d.0/24", number)}
	srv, gen := open(t, l, "srv", device, line.Server), open(t, l, "gen", device, fmt.Sprintf("192.0.2.%d", 4*number+2))
	lab.Run(t, "ip", "-n", l.NS("srv"), "route", "add", line.Sources, "dev", device)
	lab.Run(t, "ip", "-n", l.NS("gen"), "route", "add", "local", line.Sources, "dev", "lo")
	line.up = &end{from: gen, to: srv, wake: make(chan struct{}, 1), way: newWay(seed)}
	line.down = &end{from: srv, to: gen, wake: make(chan struct{}, 1), way: newWay(seed + 1)}
	var wg sync.WaitGroup
	quit := make(chan struct{})
	for _, e := range []*end{line.up, line.down} {
		wg.Go(e.read)
		wg.Go(func() { e.write(quit) })
	}
	t.Cleanup(func() {
		close(quit)
		_, _ = srv.Close(), gen.Close() // it ends the readers
		wg.Wait()
	})
	return line
}

// open makes the TUN device of one end.
func open(t testing.TB, l *lab.Lab, part, device, address string) *os.File {
	t.Helper()
	fd := -1
	l.In(t, part, func() (err error) {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return fmt.Errorf("open the TUN device: %w", err)
		}
		r, err := unix.NewIfreq(device)
		if err != nil {
			return err
		}
		r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
	})
	lab.Run(t, "ip", "-n", l.NS(part), "address", "add", address+"/30", "dev", device)
	lab.Run(t, "ip", "-n", l.NS(part), "link", "set", device, "txqueuelen", fmt.Sprint(maxQueued), "up")
	return os.NewFile(uintptr(fd), device)
}

// Impair changes what both directions do, from the next packet on.
func (l *Line) Impair(up, down Impairment) {
	l.up.change(up)
	l.down.change(down)
}

func (e *end) change(m Impairment) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.way.impairment = m
}

// Counts is what both directions have done.
func (l *Line) Counts() (up, down Counts) { return l.up.count(), l.down.count() }

func (e *end) count() Counts {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.way.counts
}

// read takes what comes out of a device until it is closed.
func (e *end) read() {
	buf := make([]byte, maxPacket)
	for {
		n, err := e.from.Read(buf)
		if err != nil {
			return
		}
		packet := append([]byte(nil), buf[:n]...)
		e.mu.Lock()
		e.way.take(time.Now(), packet)
		e.mu.Unlock()
		select {
		case e.wake <- struct{}{}:
		default:
		}
	}
}

// write puts what is due into the other device until quit is closed.
func (e *end) write(quit <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := e.flush()
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-e.wake:
		case <-quit:
			return
		}
	}
}

// flush writes all that is due and returns how long it is until the next packet is.
func (e *end) flush() time.Duration {
	for {
		e.mu.Lock()
		packet := e.way.pop(time.Now())
		due, waiting := e.way.next()
		e.mu.Unlock()
		switch {
		case packet != nil:
			if _, err := e.to.Write(packet); errors.Is(err, os.ErrClosed) {
				return time.Hour
			}
		case waiting:
			return time.Until(due)
		default:
			return time.Hour
		}
	}
}
