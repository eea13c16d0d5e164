package dataplane

import (
	"bytes"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netio"
	"concentrator/internal/telemetry"
	"concentrator/internal/wire/ppp"
)

// illOpener gives GRE sockets that can be made to fail.
type illOpener struct {
	*fakeOpener
	reads, writes atomic.Uint32 // the error that they fail with; 0: none
	tries         atomic.Uint32 // reads that have failed
}

type illSocket struct {
	netio.Socket
	o *illOpener
}

func (o *illOpener) OpenGRE(namespace string, shard, shards int) (netio.Socket, error) {
	s, err := o.fakeOpener.OpenGRE(namespace, shard, shards)
	return illSocket{s, o}, err
}

func (s illSocket) ReadBatch(bufs [][]byte, sizes []int) (int, error) {
	if errno := s.o.reads.Load(); errno != 0 {
		s.o.tries.Add(1)
		return 0, unix.Errno(errno)
	}
	return s.Socket.ReadBatch(bufs, sizes)
}

func (s illSocket) WriteBatch(msgs []netio.Message) int {
	errno := s.o.writes.Load()
	if errno == 0 {
		return s.Socket.WriteBatch(msgs)
	}
	for i := range msgs {
		msgs[i].Errno = unix.Errno(errno)
	}
	return 0
}

// illLab is a lab on an illOpener, whose faults can be looked at.
func illLab(t *testing.T) (*lab, *illOpener, func() []telemetry.Standing) {
	t.Helper()
	faults := telemetry.NewFaults(slog.New(slog.DiscardHandler), nil)
	o := &illOpener{fakeOpener: newFakeOpener()}
	d, err := Start(Config{Shards: 1, Opener: o, Log: slog.New(slog.DiscardHandler), Faults: faults})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Stop)
	l := &lab{t, o.fakeOpener, d}
	if err := d.OpenGRE(""); err != nil {
		t.Fatal(err)
	}
	return l, o, faults.Standing
}

// waitFor waits until one fault stands, or none if it is empty.
func waitFor(t *testing.T, standing func() []telemetry.Standing, fault telemetry.Fault, subject string) {
	t.Helper()
	var all []telemetry.Standing
	for end := time.Now().Add(4 * sendingInterval); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		all = standing()
		if fault == "" && len(all) == 0 || len(all) == 1 && all[0].Fault == fault && all[0].Subject == subject {
			return
		}
	}
	t.Fatalf("standing are %+v, want %s %s", all, fault, subject)
}

// TestBrokenSocketMends: a socket that gives nothing but errors is left alone for a while, so that nothing spins, and taken up
// again when they are over.
func TestBrokenSocketMends(t *testing.T) {
	l, o, standing := illLab(t)
	n, dev := l.network(acme)
	s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7")})
	s.lives("10.50.0.7")
	o.reads.Store(uint32(unix.ENETDOWN))
	s.up(s.client.frame(ppp.ProtocolLCP, []byte{9, 1, 0, 4})) // makes it ready, for ever
	waitFor(t, standing, telemetry.FaultListener, "shards/0/GRE")
	time.Sleep(2 * readPause)
	if tries := o.tries.Load(); tries < maxReadErrors+1 || tries > 4*maxReadErrors {
		t.Errorf("it was tried %d times", tries)
	}
	o.reads.Store(0)
	waitFor(t, standing, "", "")
	if f := <-s.sink.frames; f.protocol != ppp.ProtocolLCP {
		t.Errorf("what waited was %+v", f)
	}
	s.lives("10.50.0.7")
}

// TestUnsentIsTold: what the kernel does not take is a fault while it does not, by what it says.
func TestUnsentIsTold(t *testing.T) {
	for errno, fault := range map[unix.Errno]telemetry.Fault{
		unix.ENOBUFS: telemetry.FaultSendBuffers, unix.EPERM: telemetry.FaultListener,
	} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			l, o, standing := illLab(t)
			n, dev := l.network(acme)
			s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7")})
			o.writes.Store(uint32(errno))
			s.down(echo("192.0.2.9", "10.50.0.7", 1, 100, true))
			s.waitDrop(DropWireSend, 1)
			waitFor(t, standing, fault, "shards/0")
			if detail := standing()[0].Detail; !bytes.Contains([]byte(detail), []byte("1 packets not sent")) {
				t.Errorf("it says %q", detail)
			}
			o.writes.Store(0)
			s.down(echo("192.0.2.9", "10.50.0.7", 1, 100, true))
			s.atClient()
			waitFor(t, standing, "", "")
		})
	}
}
