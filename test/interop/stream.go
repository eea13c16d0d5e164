//go:build interop

package interop

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Stream is a TCP transfer at a steady pace from a host to a client, slow enough that a good network loses nothing of it
// and everything else that goes on shows: retransmissions, and silence.
type Stream struct {
	silent atomic.Int64 // the longest time without an acknowledgement since Silence was last called
	stop   chan struct{}
	sent   chan sentStream
	client chan clientStream
}

// sentStream is what the host knows at the end.
type sentStream struct {
	octets        int
	sum           string
	retransmitted int           // segments
	spurious      int           // of these, those of which the client says that it had them
	silence       time.Duration // the longest time without an acknowledgement
	err           error
}

// clientStream is what the client said at the end.
type clientStream struct {
	out    string
	status int
	err    error
}

// The pace: 6.5 Mbit/s.
const (
	streamPiece = 16 << 10 // octets
	streamEvery = 20 * time.Millisecond
	streamPort  = "7001"
)

// StartStream begins a transfer from the host in the part of the lab to the client. The client can do nothing else until
// Stop, since its scripts wait for one another.
func StartStream(t testing.TB, part string, h *Host, l *Link) *Stream {
	t.Helper()
	listener, err := listenIn(world.lab.NS(part), innerHost+":"+streamPort)
	if err != nil {
		t.Fatal(err)
	}
	s := &Stream{stop: make(chan struct{}), sent: make(chan sentStream, 1), client: make(chan clientStream, 1)}
	ready := make(chan struct{})
	go func() {
		c, err := listener.Accept()
		_ = listener.Close() // one is enough
		if err != nil {
			s.sent <- sentStream{err: err}
			return
		}
		close(ready)
		s.sent <- s.send(c.(*net.TCPConn), h.payload)
	}()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		out, status, err := l.Guest.Sh(ctx, "exec 4<>/dev/tcp/"+innerHost+"/"+streamPort+" || exit 1\nsha256sum <&4")
		s.client <- clientStream{out, status, err}
	}()
	select {
	case <-ready:
	case <-time.After(15 * time.Second):
		_ = listener.Close()
		t.Fatalf("%s does not reach %s of %s", l.Guest.Name, streamPort, part)
	}
	return s
}

// send sends until it is told to stop, and closes the connection.
func (s *Stream) send(c *net.TCPConn, payload []byte) (r sentStream) {
	digest := sha256.New()
	defer func() {
		r.sum = hex.EncodeToString(digest.Sum(nil))
		r.err = errors.Join(r.err, c.Close())
	}()
	tick := time.NewTicker(streamEvery)
	defer tick.Stop()
	for at := 0; ; at = (at + streamPiece) % (len(payload) - streamPiece) {
		select {
		case <-s.stop:
			r.err = s.look(c, &r)
			return r
		case <-tick.C:
		}
		if r.err = errors.Join(r.piece(c, digest, payload[at:at+streamPiece]), s.look(c, &r)); r.err != nil {
			return r
		}
	}
}

func (r *sentStream) piece(c *net.TCPConn, digest hash.Hash, piece []byte) error {
	_ = c.SetWriteDeadline(time.Now().Add(20 * time.Second))
	n, err := c.Write(piece)
	_, _ = digest.Write(piece[:n]) // never fails
	r.octets += n
	return err
}

// look asks the kernel how the connection does.
func (s *Stream) look(c *net.TCPConn, r *sentStream) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var info *unix.TCPInfo
	outer := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err := errors.Join(outer, err); err != nil {
		return fmt.Errorf("TCP_INFO: %w", err)
	}
	r.retransmitted, r.spurious = int(info.Total_retrans), int(info.Dsack_dups)
	silence := time.Duration(info.Last_ack_recv) * time.Millisecond
	r.silence = max(r.silence, silence)
	s.silent.Store(max(s.silent.Load(), int64(silence)))
	return nil
}

// Silence is the longest time without an acknowledgement since it was last asked for.
func (s *Stream) Silence() time.Duration { return time.Duration(s.silent.Swap(0)) }

// Stop ends the transfer and checks that the client has got all of it, as it was sent.
func (s *Stream) Stop(t testing.TB) sentStream {
	t.Helper()
	close(s.stop)
	sent := <-s.sent
	if sent.err != nil {
		t.Errorf("the host: %v after %d octets", sent.err, sent.octets)
	}
	got := <-s.client
	sum, _, _ := strings.Cut(got.out, " ")
	if got.err != nil || got.status != 0 || sum != sent.sum {
		t.Errorf("the client: %v, status %d, %q, want the sum %s", got.err, got.status, got.out, sent.sum)
	}
	return sent
}

// lost is how many segments did not arrive at first.
func (s sentStream) lost() int { return s.retransmitted - s.spurious }

// String says it for a log.
func (s sentStream) String() string {
	return fmt.Sprintf("%.1f MB, %d segments again (%d for nothing), longest silence %v", float64(s.octets)/1e6, s.retransmitted, s.spurious, s.silence)
}
