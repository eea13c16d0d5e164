package load

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// stream is a TCP connection on the poller.
type stream struct {
	poller *poller
	octets func(b []byte)  // gets what comes, borrowed
	broken func(err error) // is told once that the connection is of no use any more

	mu      sync.Mutex
	fd      int
	open    bool // the descriptor
	up      bool // connected
	pending []byte
}

// maxPending bounds what waits for a connection that does not take it, in octets.
const maxPending = 64 << 10

// dialStream begins to connect. What is written before it has connected waits.
func dialStream(
	p *poller, local netip.Addr, server netip.AddrPort, octets func([]byte), broken func(error),
) (*stream, error) {
	s, err := open(unix.SOCK_STREAM, 0, netip.AddrPortFrom(local, 0), func(fd int) error {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		// The port is chosen when the server is known: one that is used towards another may be used again.
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	if err != nil {
		return nil, err
	}
	c := &stream{poller: p, octets: octets, broken: broken, fd: s.fd, open: true}
	if err := unix.Connect(c.fd, address(server)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		c.close()
		return nil, fmt.Errorf("connect to %v: %w", server, err)
	}
	if err := p.add(c.fd, unix.EPOLLIN|unix.EPOLLOUT, c.ready); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// ready handles what the poller has seen.
func (c *stream) ready(events uint32) {
	var buf [1024]byte
	n, err := c.handle(events, buf[:])
	switch {
	case err != nil:
		c.close()
		c.broken(err)
	case n > 0:
		c.octets(buf[:n])
	}
}

func (c *stream) handle(events uint32, buf []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return 0, nil
	}
	if !c.up {
		code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = unix.Errno(code)
		}
		if err != nil {
			return 0, fmt.Errorf("connect: %w", err)
		}
		if events&unix.EPOLLOUT == 0 {
			return 0, nil
		}
		c.up = true
	}
	if events&unix.EPOLLOUT != 0 {
		if err := c.push(); err != nil {
			return 0, err
		}
	}
	n, err := unix.Read(c.fd, buf)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("read from the server: %w", err)
	case n == 0:
		return 0, fmt.Errorf("read from the server: %w", io.EOF)
	}
	return n, nil
}

// push writes what waits, and watches for more room only as long as something does.
func (c *stream) push() error {
	for len(c.pending) > 0 {
		n, err := unix.Write(c.fd, c.pending)
		if errors.Is(err, unix.EAGAIN) {
			c.poller.change(c.fd, unix.EPOLLIN|unix.EPOLLOUT)
			return nil
		}
		if err != nil {
			return fmt.Errorf("write to the server: %w", err)
		}
		c.pending = c.pending[n:]
	}
	c.pending = nil
	c.poller.change(c.fd, unix.EPOLLIN)
	return nil
}

// write sends octets, now or when the connection takes them. An error shows when the connection is read.
func (c *stream) write(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return
	}
	if c.up && len(c.pending) == 0 {
		n, err := unix.Write(c.fd, b)
		switch {
		case err == nil && n == len(b):
			return
		case err == nil:
			b = b[n:]
		case !errors.Is(err, unix.EAGAIN):
			return
		}
		c.poller.change(c.fd, unix.EPOLLIN|unix.EPOLLOUT)
	}
	if len(c.pending)+len(b) <= maxPending {
		c.pending = append(c.pending, b...)
	}
}

// close closes the connection, once.
func (c *stream) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open {
		c.open = false
		c.poller.remove(c.fd)
		_ = unix.Close(c.fd)
	}
}
