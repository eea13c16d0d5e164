package transport

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/telemetry"
)

// read receives until k is closed or broken. It is k's only reader.
func (p *port) read(k *conn) {
	if k.queue == nil {
		p.readDatagrams(k)
		return
	}
	p.broken(k, p.readStream(k))
}

func (p *port) readDatagrams(k *conn) {
	var buf [packet.MaxLen]byte // what is longer can only be padding: Length is at most this
	for {
		n, err := k.net.Read(buf[:])
		switch {
		case err == nil:
			if b, drop := packet.Trim(buf[:n]); drop != packet.DropNone {
				p.drop(drop)
			} else {
				p.receive(k, b)
			}
		case isICMP(err):
			// Anyone who guesses the port can forge these, and a server that restarts sends true ones: they are noted for
			// the detail and change nothing.
			p.noteUnreachable(k)
		default:
			p.broken(k, fmt.Errorf("receive from %s: %w", k.remote, err))
			return
		}
	}
}

// errLength is why a connection is given up on which packets can't be told apart any more.
var errLength = errors.New("a packet came with a Length")

// readStream reads one packet after the other (RFC 6613 section 2.6.4: where one begins can't be told any more after a wrong
// Length, so that ends the connection).
func (p *port) readStream(k *conn) error {
	var buf [packet.MaxLen]byte
	r := bufio.NewReaderSize(k.net, packet.MaxLen)
	for {
		if _, err := io.ReadFull(r, buf[:4]); err != nil {
			return fmt.Errorf("connection to %s: %w", k.remote, err)
		}
		n := int(binary.BigEndian.Uint16(buf[2:]))
		if n < packet.HeaderLen || n > packet.MaxLen {
			p.drop(packet.DropTruncated)
			return fmt.Errorf("connection to %s: %w of %d", k.remote, errLength, n)
		}
		if _, err := io.ReadFull(r, buf[4:n]); err != nil {
			return fmt.Errorf("connection to %s: %w", k.remote, err)
		}
		k.lastRead.Store(instant(time.Now()))
		switch radius.Code(buf[0]) {
		case radius.CodeDisconnectRequest, radius.CodeCoARequest:
			p.incoming(k, buf[:n])
		default:
			p.receive(k, buf[:n])
		}
	}
}

// contain keeps a panic in the work for a packet from being anybody else's.
func (p *port) contain() {
	if v := recover(); v != nil {
		(*telemetry.Faults)(nil).Panicked(p.s.log(), "RADIUS reply", v)
	}
}

// receive handles one packet of the right Length, borrowed until return.
func (p *port) receive(k *conn, b []byte) {
	defer p.contain()
	p.mu.Lock()
	x := k.pending[b[1]]
	p.mu.Unlock()
	if x == nil {
		p.drop(packet.DropLate)
		return
	}
	secrets := p.secretsOf(x)
	secret, signed, drop := packet.Verify(b, x.code, x.authenticator, secrets)
	if drop == packet.DropNone && x.code == radius.CodeAccessRequest { // what a Status-Server's answer says is worth no forging
		drop = p.s.demand(signed, x.signed)
	}
	if drop != packet.DropNone {
		x.note(drop)
		p.drop(drop)
		return
	}
	if x.answered.Swap(true) {
		p.drop(packet.DropDuplicate)
		return
	}
	if x.code == radius.CodeStatusServer {
		p.told(k)
	} else {
		p.answered(k)
	}
	x.got = reply{packet: bytes.Clone(b), secret: secrets[secret], signed: signed, at: time.Now()}
	close(x.done)
}

// demand applies the mode to a reply that is right in all else; must says that a reply has to be signed in every mode.
func (s *server) demand(signed, must bool) packet.Drop {
	if signed {
		if !must { // servers that sign nothing else sign what they must
			s.signs.Store(true)
		}
		return packet.DropNone
	}
	mode := s.cfg.Load().MessageAuthenticator
	if !must && (mode == ModeOff || mode == ModeAuto && !s.signs.Load()) {
		return packet.DropNone
	}
	return packet.DropNoMessageAuthenticator
}

// incoming hands a request of the server's to who is configured for it. b is borrowed until return.
func (p *port) incoming(k *conn, b []byte) {
	p.stats.incoming.Add(1)
	name, handle := p.s.cfg.Load().Name, p.s.group.cfg.Load().Incoming
	if handle == nil {
		p.drop(packet.DropCode)
		return
	}
	select {
	case k.calls <- struct{}{}:
	default:
		p.drop(packet.DropOverload)
		return
	}
	own := bytes.Clone(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.running.Go(func() {
		defer func() { <-k.calls }()
		handle(name, own, func(answer []byte) {
			if len(answer) >= packet.HeaderLen && len(answer) <= packet.MaxLen {
				k.enqueue(bytes.Clone(answer)) //nolint:errcheck // the server asks again, on another connection
			}
		})
	})
}

// isICMP says whether err is what an ICMP message made of a connected socket's next call.
func isICMP(err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	for _, e := range []error{
		syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EACCES, syscall.EHOSTDOWN,
		syscall.ENOPROTOOPT, syscall.EPROTO, syscall.EOPNOTSUPP, syscall.EMSGSIZE,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
