//go:build interop

package flood

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/simclient/load"
	"concentrator/internal/simclient/traffic"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/esphdr"
	wirel2tp "concentrator/internal/wire/l2tp"
	wireppp "concentrator/internal/wire/ppp"
	"concentrator/test/reliability/lab"
)

// hostile is how many sessions a hostile user has, and hostileAt where among the attacker's addresses he is.
const (
	hostile   = 4
	hostileAt = 100_000
)

// storm logs a hostile user in and sends LCP Configure-Requests through the sessions, each of which asks for everything anew.
func storm(protocol tenant.Protocol) func(*testing.T, *world) flooder {
	return func(t *testing.T, w *world) flooder {
		d := w.dial(t, "atk", load.Config{
			Server: netip.MustParseAddr(lab.AttackedAt), Protocols: []tenant.Protocol{protocol}, User: "mallory",
			Sources: []netip.Addr{nth(netip.MustParsePrefix(villains), hostileAt)},
		}, hostile)
		var lines []*line
		for i := range hostile {
			lines = append(lines, newLine(t, d, i))
		}
		return func(ctx context.Context) (int, error) {
			return steady(ctx, floodRate, func(i int) error { return lines[i%hostile].send(i) })
		}
	}
}

// line is a session by which PPP frames of our own go out.
type line struct {
	path    traffic.Path
	buf     pktbuf.Buf
	scratch *esp.Scratch
}

// newLine logs client i of d in and takes its socket over. It is hung up at the end of the test.
func newLine(t *testing.T, d *dialer, i int) *line {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), loginTimeout)
	defer cancel()
	s, _, err := d.login(ctx, i)
	if err != nil {
		t.Fatalf("the hostile user: %v", err)
	}
	p, back, err := s.Lend()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		back()
		const short = 200 * time.Millisecond // it may be dead
		ctx, cancel := context.WithTimeout(context.Background(), short)
		defer cancel()
		_ = s.HangUp(ctx)
	})
	return &line{path: p, scratch: esp.NewScratch()}
}

// errNoLine is returned when the session can't be used any more.
var errNoLine = errors.New("the hostile user's session is over")

// send sends a Configure-Request with an identifier and a magic number (RFC 1661 section 6.4) that differ each time.
func (l *line) send(i int) error {
	const room = 64 // of the inner packet whose place the frame takes
	l.path.Gate.Lock()
	defer l.path.Gate.Unlock()
	if !l.buf.SetBytes(make([]byte, room)) {
		return errNoLine
	}
	o := traffic.Outgoing{Buf: &l.buf}
	if !l.path.Link.Pack(&o) {
		return errNoLine
	}
	message := l.buf.Bytes()
	if o.SA != nil {
		message = message[udpLen:]
	}
	h, _, err := wirel2tp.ParseHeader(message)
	if err != nil {
		return err
	}
	var magic [4]byte
	_, _ = rand.Read(magic[:]) // never fails
	frame := wireppp.AppendHeader(nil, wireppp.ProtocolLCP, false, false)
	const optionMagic = 5
	frame = wireppp.AppendPacket(frame, wireppp.CodeConfigureRequest, byte(i), wireppp.AppendOption(nil, optionMagic, magic[:]...))
	body := message[h.Len():]
	clear(body) // what is behind the packet is padding
	copy(body, frame)
	if o.SA != nil {
		ops := []esp.SealOp{{SA: o.SA, Buf: &l.buf, NextHeader: esphdr.NextHeaderUDP}}
		if esp.SealBatch(ops, l.scratch); ops[0].Verdict != esp.OK {
			return errNoLine
		}
	}
	to := &unix.SockaddrInet4{Port: int(l.path.Socket.Remote.Port()), Addr: l.path.Socket.Remote.Addr().As4()}
	err = unix.Sendto(l.path.Socket.FD, l.buf.Bytes(), 0, to)
	if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EAGAIN) {
		return nil
	}
	return err
}
