package transport

import (
	"errors"
	"fmt"
	"time"

	"layeh.com/radius"
)

const (
	// queueLen bounds what waits to be written to one TLS connection: its identifiers' requests, and answers to the server.
	queueLen = 2 * identifiers
	// maxCalls bounds the calls of Incoming under way for one connection.
	maxCalls = 16
	// watchAfter is how long a TLS connection may be silent before a Status-Server asks whether the server is still there
	// (RFC 6613 section 2.4). It is less than the 30 s after which FreeRADIUS closes an idle connection by default.
	watchAfter = 20 * time.Second
)

// errFull is the error of a packet for a connection whose peer has stopped to read.
var errFull = errors.New("the connection takes no more")

// enqueue hands b, which is not changed any more, to k's writer. It does not block.
func (k *conn) enqueue(b []byte) error {
	select {
	case <-k.gone:
		return errRetired
	default:
	}
	select {
	case k.queue <- b:
		return nil
	default:
		k.port.stats.sendErrors.Add(1)
		return errFull
	}
}

// write is k's only writer, and watches it.
func (p *port) write(k *conn) {
	watch := time.NewTimer(watchAfter)
	defer watch.Stop()
	var asked *exchange // the Status-Server under way
	defer func() {
		if asked != nil {
			p.withdraw(asked)
		}
	}()
	for {
		select {
		case <-k.gone:
			return
		case b := <-k.queue:
			if err := p.writeOne(k, b); err != nil {
				p.stats.sendErrors.Add(1)
				p.broken(k, err)
				return
			}
		case <-watch.C:
			next, err := p.watch(k, &asked)
			if err != nil {
				p.broken(k, err)
				return
			}
			watch.Reset(next)
		}
	}
}

func (p *port) writeOne(k *conn, b []byte) error {
	err := k.net.SetWriteDeadline(time.Now().Add(p.s.cfg.Load().Timeout))
	if err == nil {
		_, err = k.net.Write(b)
	}
	if err != nil {
		return fmt.Errorf("send to %s: %w", k.remote, err)
	}
	return nil
}

// watch looks whether k still has somebody at its other end, and says when to look again. asked is the Status-Server that
// was sent last time, or nil. The error is for a connection that is dead: a server that has answered Status-Server before
// does so no more.
func (p *port) watch(k *conn, asked **exchange) (time.Duration, error) {
	cfg := p.s.cfg.Load()
	silent := time.Duration(instant(time.Now()) - k.lastRead.Load())
	if x := *asked; x != nil {
		answered := x.answered.Load()
		p.withdraw(x)
		*asked = nil
		p.mu.Lock()
		tells := p.tells
		p.mu.Unlock()
		if !answered && tells && silent >= watchAfter {
			return 0, fmt.Errorf("connection to %s: no answer to Status-Server, silent for %s", k.remote, silent.Round(time.Second))
		}
		if !answered {
			return watchAfter, nil
		}
	}
	if silent < watchAfter {
		return watchAfter - silent, nil
	}
	p.mu.Lock()
	free := !k.retired && k.unused > 0
	var id byte
	if free {
		id = k.take()
	}
	p.mu.Unlock()
	if !free {
		return watchAfter, nil // those who hold the identifiers will find out
	}
	x, err := p.build(statusServer(), k, id)
	if err != nil {
		p.release(k, id)
		return watchAfter, nil //nolint:nilerr // can't happen: it has few attributes, and is no reason to close anything
	}
	p.mu.Lock()
	k.pending[id] = x
	p.mu.Unlock()
	*asked = x
	p.stats.probes.Add(1)
	if err := p.writeOne(k, x.packet); err != nil {
		return 0, err
	}
	return time.Duration(cfg.Tries) * cfg.Timeout, nil
}

// statusServer is the request of a probe, RFC 5997 section 3: it says who asks.
func statusServer() *Request {
	return &Request{Code: radius.CodeStatusServer, Build: func(t Target) (*radius.Packet, error) {
		return statusPacket(t), nil
	}}
}
