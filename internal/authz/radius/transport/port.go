package transport

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

// warnPause is the least time between two log lines about the same kind of dropped packet.
const warnPause = time.Minute

// port is one port of a server: the sockets that lead there, the requests under way on them, and whether it answers.
type port struct {
	s        *server
	purposes []Purpose
	number   int

	stats counters
	// warned is when a dropped packet of each kind was last logged, in Unix nanoseconds.
	warned [packet.NumDrops]atomic.Int64

	mu      sync.Mutex // guards what follows, and what conn says
	closed  bool
	conns   []*conn // open ones, retired ones included
	running sync.WaitGroup

	dialing  bool          // a goroutine opens a socket, or waits until it may
	changed  chan struct{} // closed when that came to something, or an identifier is free again, and replaced
	waiting  int           // requests that wait for that
	dialErr  error         // of the last attempt; nil: it worked
	pause    time.Duration // since a socket last failed before anything came in
	nextDial time.Time     // not before
	last     netip.Addr    // where the newest socket leads
	rotate   bool          // prefer another address of the server's name to last

	health
}

func newPort(s *server, number int, purposes ...Purpose) *port {
	p := &port{s: s, number: number, purposes: purposes, changed: make(chan struct{})}
	p.health = newHealth()
	return p
}

// reserve gives out an identifier of a socket, which is opened if need be. It waits for that until ready to give up as
// await says.
func (p *port) reserve(ctx context.Context, until <-chan time.Time, a *attempt) (*conn, byte, error) {
	var dialErr error
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, 0, ErrClosed
		}
		full := false // there is a socket, which will have identifiers again
		for _, k := range p.conns {
			if k.retired {
				continue
			}
			full = true
			if k.unused > 0 {
				id := k.take()
				p.mu.Unlock()
				return k, id, nil
			}
		}
		changed := p.changed
		p.waiting++
		failing := p.dialErr != nil && time.Now().Before(p.nextDial)
		if failing {
			dialErr = p.dialErr
		}
		p.dial()
		p.mu.Unlock()

		// What will not pass by itself is not waited for, nor is anything where another server can be asked.
		giveUp := failing && !full && (!passing(dialErr) || a.more())
		end := isReady
		if !giveUp {
			end = p.await(ctx, changed, nil, until, a)
		}
		p.mu.Lock()
		p.waiting--
		p.mu.Unlock()
		if giveUp {
			return nil, 0, dialErr
		}
		switch end {
		case isReady, isGone:
		case isTime:
			return nil, 0, orElse(dialErr, errors.New("no socket could be opened in time"))
		case isDead:
			return nil, 0, errMoved
		case isOver:
			return nil, 0, joinCause(dialErr, context.Cause(ctx))
		case isClosed:
			return nil, 0, ErrClosed
		}
	}
}

// release gives an identifier back, and closes its socket if that was only waiting for it.
func (p *port) release(k *conn, id byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k.put(id)
	p.closeIfDone(k)
	if p.waiting > 0 {
		p.broadcast()
	}
}

// broadcast wakes who waits for a socket. p.mu is held.
func (p *port) broadcast() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// begin gives r an identifier and builds its packet.
func (p *port) begin(ctx context.Context, r *Request, until <-chan time.Time, a *attempt) (*exchange, error) {
	k, id, err := p.reserve(ctx, until, a)
	if err != nil {
		return nil, err
	}
	x, err := p.build(r, k, id)
	if err != nil {
		p.release(k, id)
		return nil, err
	}
	p.mu.Lock()
	k.pending[id] = x
	p.mu.Unlock()
	return x, nil
}

// errBuild wraps what a Request's Build or the signing of its packet said: no server can help.
type errBuild struct{ error }

func (e errBuild) Unwrap() error { return e.error }

// build makes the packet of r for an identifier.
func (p *port) build(r *Request, k *conn, id byte) (*exchange, error) {
	cfg := p.s.cfg.Load()
	x := &exchange{conn: k, id: id, code: r.Code, secrets: cfg.Secrets, signed: r.Signed, done: make(chan struct{})}
	if r.Code != radius.CodeAccountingRequest {
		rand.Read(x.authenticator[:]) // never fails
	}
	m, err := r.Build(Target{
		Server: cfg.Name, Secret: cfg.Secrets[0], Authenticator: x.authenticator, LocalAddr: k.local,
		NASIdentifier: cfg.NASIdentifier, ID: id,
	})
	if err == nil && m == nil {
		err = errors.New("radius: Build made no packet")
	}
	if err != nil {
		return nil, errBuild{err}
	}
	x.packet, err = packet.Sign(&radius.Packet{
		Code: r.Code, Identifier: id, Authenticator: x.authenticator, Secret: cfg.Secrets[0], Attributes: m.Attributes,
	})
	if err != nil {
		return nil, errBuild{err}
	}
	x.authenticator = [packet.AuthenticatorLen]byte(x.packet[4:packet.HeaderLen])
	return x, nil
}

// withdraw ends x's stay on its socket.
func (p *port) withdraw(x *exchange) { p.release(x.conn, x.id) }

// drop counts a packet that is not used, and logs the first of its kind each minute.
func (p *port) drop(d packet.Drop) {
	p.stats.drops[d].Add(1)
	if d == packet.DropLate || d == packet.DropDuplicate {
		return // part of every retransmission
	}
	now := instant(time.Now())
	last := p.warned[d].Load()
	if (last == 0 || now-last >= int64(warnPause)) && p.warned[d].CompareAndSwap(last, now) {
		p.s.log().Warn("radius packet dropped", telemetry.Drop, d.String(), telemetry.Count, p.stats.drops[d].Load())
	}
}

// close ends everything. wait must follow.
func (p *port) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, k := range slices.Clone(p.conns) {
		p.closeConn(k)
	}
}

func (p *port) wait() { p.running.Wait() }

// passing says whether err of opening a socket is of the kind that a server which restarts causes.
func passing(err error) bool {
	for _, e := range []error{
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ETIMEDOUT, syscall.EPIPE,
		io.EOF, io.ErrUnexpectedEOF, context.DeadlineExceeded, net.ErrClosed, errLength,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func orElse(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// joinCause says both that err was in the way and that cause ended the wait.
func joinCause(err, cause error) error {
	if err == nil {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// secretsOf are those that a reply to x may be signed with: the ones that were valid when it was sent, and those of now.
func (p *port) secretsOf(x *exchange) []tenant.Secret {
	now := p.s.cfg.Load().Secrets
	all := slices.Clip(x.secrets)
	for _, s := range now {
		if !slices.ContainsFunc(all, func(o tenant.Secret) bool { return string(o) == string(s) }) {
			all = append(all, s)
		}
	}
	return all
}
