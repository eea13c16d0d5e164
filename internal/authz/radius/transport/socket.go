package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"
)

// send puts x's packet on its way once. An error means that its socket can't be used any more.
func (p *port) send(x *exchange) error {
	p.mu.Lock()
	retired := x.conn.retired
	p.mu.Unlock()
	if retired {
		return errRetired
	}
	if x.conn.queue != nil {
		return x.conn.enqueue(x.packet)
	}
	var err error
	// A pending ICMP error is returned in place of sending, once each. Other requests on the socket may have caused some.
	for range 3 {
		_, err = x.conn.net.Write(x.packet)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		p.stats.unreachable.Add(1)
		x.unreachable.Store(true)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil // goes on waiting, and sends again when it is time to
	}
	p.stats.sendErrors.Add(1)
	p.retire(x.conn)
	return fmt.Errorf("send: %w", err)
}

// errRetired is send's error for a socket that was given up before.
var errRetired = errors.New("the socket was given up")

// retire ends the use of k for new requests; those under way may still get their replies.
func (p *port) retire(k *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k.retired = true
	p.closeIfDone(k)
}

// retireBefore does so with every socket that was opened before start: the next one leads elsewhere, if there is such a
// place. p.mu is held.
func (p *port) retireBefore(start time.Time) {
	for _, k := range slices.Clone(p.conns) {
		if !k.opened.After(start) && !k.retired {
			k.retired, p.rotate = true, true
			p.closeIfDone(k)
		}
	}
}

// closeIfDone closes k if it is retired and nothing waits on it. p.mu is held.
func (p *port) closeIfDone(k *conn) {
	if k.retired && k.unused == identifiers {
		p.closeConn(k)
	}
}

// closeConn closes k at once. What waits on it moves to another one. p.mu is held.
func (p *port) closeConn(k *conn) {
	if k.isClosed {
		return
	}
	k.retired, k.isClosed = true, true
	close(k.gone)
	p.conns = slices.DeleteFunc(p.conns, func(o *conn) bool { return o == k })
	t, isTLS := k.net.(*tls.Conn)
	switch { // crypto/tls waits up to 5 s to say goodbye to a peer that does not read, and nobody is to wait for that
	case isTLS && p.closed:
		t.NetConn().Close()
	case isTLS:
		p.running.Go(func() { t.Close() }) //nolint:errcheck // nothing is buffered, and nothing could be done
	default:
		k.net.Close()
	}
}

// broken closes k because of err.
func (p *port) broken(k *conn, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k.isClosed {
		return
	}
	p.closeConn(k)
	if !k.heard && (k.unused < identifiers || time.Since(k.opened) < openTimeout) { // it was as good as never opened
		p.dialFailed(err)
	}
	if p.keepUp() {
		p.dial()
	}
}

// keepUp says whether a connection is to be opened though no request needs it: a server that sends requests of its own
// over TLS has no other way to. p.mu is held.
func (p *port) keepUp() bool {
	return len(p.conns) == 0 && p.s.cfg.Load().Transport == TLS && p.s.group.cfg.Load().Incoming != nil &&
		!p.s.retired.Load()
}

// keep opens a connection where one is to be kept up.
func (p *port) keep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keepUp() {
		p.dial()
	}
}

// noteUnreachable tells the requests under way on k that an ICMP error came.
func (p *port) noteUnreachable(k *conn) {
	p.stats.unreachable.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range k.pending {
		if x != nil {
			x.unreachable.Store(true)
		}
	}
}
