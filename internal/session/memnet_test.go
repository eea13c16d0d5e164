package session

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// A bubble of testing/synctest knows when all its goroutines wait, and lets time pass then; one that waits for a real
// socket does not count as waiting. memListener and memConn are TCP made of memory.

// memListener is a listening socket.
type memListener struct {
	addr  *net.TCPAddr
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newMemListener(addr netip.AddrPort) *memListener {
	return &memListener{addr: net.TCPAddrFromAddrPort(addr), conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *memListener) Addr() net.Addr { return l.addr }

// dial connects from an address.
func (l *memListener) dial(from netip.AddrPort) (net.Conn, error) {
	up, down := newPipe(), newPipe()
	local := net.TCPAddrFromAddrPort(from)
	select {
	case l.conns <- &memConn{in: up, out: down, local: l.addr, remote: local}:
		return &memConn{in: down, out: up, local: local, remote: l.addr}, nil
	case <-l.done:
		return nil, syscall.ECONNREFUSED
	}
}

// memConn is one end of a connection.
type memConn struct {
	in, out       *pipe
	local, remote *net.TCPAddr
}

func (c *memConn) Read(b []byte) (int, error)        { return c.in.read(b) }
func (c *memConn) Write(b []byte) (int, error)       { return c.out.write(b) }
func (c *memConn) LocalAddr() net.Addr               { return c.local }
func (c *memConn) RemoteAddr() net.Addr              { return c.remote }
func (c *memConn) SetReadDeadline(t time.Time) error { c.in.setDeadline(t); return nil }

// SetWriteDeadline does nothing: writing never waits.
func (c *memConn) SetWriteDeadline(time.Time) error { return nil }

func (c *memConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

func (c *memConn) Close() error {
	c.in.close(true)
	c.out.close(false)
	return nil
}

// pipe is one direction, with as much buffer as needed.
type pipe struct {
	mu      sync.Mutex
	changed sync.Cond
	buf     []byte
	closed  bool // by the reader: nothing can be read any more
	ended   bool // by the writer: nothing comes behind buf
	expired bool
	timer   *time.Timer
}

func newPipe() *pipe {
	p := &pipe{}
	p.changed.L = &p.mu
	return p
}

func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.closed:
			return 0, net.ErrClosed
		case p.expired:
			return 0, os.ErrDeadlineExceeded
		case len(p.buf) > 0:
			n := copy(b, p.buf)
			p.buf = p.buf[n:]
			return n, nil
		case p.ended:
			return 0, io.EOF
		}
		p.changed.Wait()
	}
}

func (p *pipe) write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.ended {
		return 0, syscall.EPIPE
	}
	p.buf = append(p.buf, b...)
	p.changed.Broadcast()
	return len(b), nil
}

func (p *pipe) close(reader bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.ended = p.closed || reader, p.ended || !reader
	if p.timer != nil {
		p.timer.Stop()
	}
	p.changed.Broadcast()
}

func (p *pipe) setDeadline(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	p.expired = !t.IsZero() && !time.Now().Before(t)
	if !t.IsZero() && !p.expired {
		var timer *time.Timer
		timer = time.AfterFunc(time.Until(t), func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.timer == timer { // not a later deadline's
				p.expired = true
				p.changed.Broadcast()
			}
		})
		p.timer = timer
	}
	p.changed.Broadcast()
}
