package transport

import (
	"context"
	"errors"
	"time"

	"layeh.com/radius"

	"concentrator/internal/telemetry"
)

// maxMoves is how often one request goes on on another socket of the same port because its own broke.
const maxMoves = 5

// attempt is what one server is to do for a request.
type attempt struct {
	tries int             // limit; 0: as configured
	died  <-chan struct{} // closed when the server is found dead by others; nil: that changes nothing
	more  func() bool     // another server that is not dead could be asked instead
}

// Why await returned.
type end uint8

const (
	isReady  end = iota
	isGone       // the socket is
	isTime       // is up
	isDead       // the server is, and another one can be asked
	isOver       // the context is
	isClosed     // the transport is
)

// errMoved is why a request left a server that others found dead.
var errMoved = errors.New("other requests found it dead meanwhile")

// await waits for the first of what can end a wait.
func (p *port) await(ctx context.Context, ready, gone <-chan struct{}, timer <-chan time.Time, a *attempt) end {
	for {
		e := isReady
		select {
		case <-ready:
		case <-gone:
			e = isGone
		case <-timer:
			e = isTime
		case <-a.died:
			e = isDead
		case <-ctx.Done():
			e = isOver
		case <-p.s.ended.Done():
			e = isClosed
		}
		if e != isReady {
			select { // both may have come
			case <-ready:
				return isReady
			default:
			}
		}
		if e == isDead && !a.more() {
			a.died = nil // nobody else would do better
			continue
		}
		return e
	}
}

// ask asks one port as often as configured and returns the first good reply.
func (p *port) ask(ctx context.Context, r *Request, a attempt) (Reply, *failure) {
	p.stats.requests.Add(1)
	f := &failure{server: p.s.cfg.Load().Name}
	ctx, span := telemetry.StartSpan(ctx, spanOf(r.Purpose))
	defer span.End()
	span.Set(telemetry.Server, f.server)
	x, err := p.enter(ctx, r, &a, f)
	if err == nil {
		span.Set(telemetry.Code, radius.Code(x.Packet[0]).String())
		return x, nil
	}
	span.Fail("NO_ANSWER")
	p.stats.noAnswers.Add(1)
	if errors.Is(err, errMoved) {
		p.stats.moved.Add(1)
	}
	var built errBuild
	f.cause = err
	f.final = errors.As(err, &built) || errors.Is(err, ErrClosed) || ctx.Err() != nil
	return Reply{}, f
}

func spanOf(p Purpose) string {
	if p == Accounting {
		return telemetry.SpanRadiusAccounting
	}
	return telemetry.SpanRadiusAccess
}

// enter waits for one of the places that bound the requests under way, and goes on inside.
func (p *port) enter(ctx context.Context, r *Request, a *attempt, f *failure) (Reply, error) {
	if err := context.Cause(ctx); err != nil {
		return Reply{}, err
	}
	gate := &p.s.gates[r.Purpose]
	ticket := gate.enter()
	defer gate.leave(ticket)
	if ticket == nil {
		return p.converse(ctx, r, a, f)
	}
	switch p.await(ctx, ticket, nil, nil, a) {
	case isDead:
		return Reply{}, errMoved
	case isOver:
		f.full = p.s.cfg.Load().MaxOutstanding
		return Reply{}, context.Cause(ctx)
	case isClosed:
		return Reply{}, ErrClosed
	default:
		return p.converse(ctx, r, a, f)
	}
}

// converse sends r, and waits for its answer, until its tries or ctx come to an end. f is told how it went.
func (p *port) converse(ctx context.Context, r *Request, a *attempt, f *failure) (Reply, error) {
	tries, each := p.s.cfg.Load().tries(a.tries)
	until := time.NewTimer(time.Duration(tries) * each)
	defer until.Stop()
	x, err := p.begin(ctx, r, until.C, a)
	if err != nil {
		return Reply{}, err
	}
	c := conversation{port: p, request: r, attempt: a, failure: f, x: x, start: time.Now(), until: until.C}
	defer c.end()
	timer := time.NewTimer(each) // set anew for each try
	defer timer.Stop()
	for try := 1; try <= tries; try++ {
		if try > 1 {
			p.stats.retransmits.Add(1)
		}
		timer.Reset(shorten(each, random()))
		if reply, done, err := c.turn(ctx, timer.C); done {
			return reply, err
		}
	}
	f.saw(c.x)
	f.took = time.Since(c.start)
	c.failed()
	if k := c.x.conn; k.queue != nil && k.lastRead.Load() <= instant(c.start) {
		p.retire(k) // TCP would have brought it: the connection may be what is dead
	}
	return Reply{}, errSilent
}

// conversation is a request that has an identifier at one port.
type conversation struct {
	port    *port
	request *Request
	attempt *attempt
	failure *failure
	x       *exchange // changes when the request moves; nil: it did not find another socket
	moves   int
	start   time.Time
	sent    time.Time
	turns   int
	until   <-chan time.Time // when it may not move any more
}

// end gives the identifier back.
func (c *conversation) end() {
	if c.x != nil {
		c.port.withdraw(c.x)
	}
}

// failed tells the port that the request has waited in vain for as long as it should.
func (c *conversation) failed() {
	if c.request.Code != radius.CodeStatusServer {
		c.port.failed(c.start, c.failure.detail())
	}
}

// turn sends the packet once and waits until timer. Where its socket breaks, the request goes on on another one, at once and
// with a packet of its own: that is no reason to lose a timeout. done says that there is an answer, or that there will be
// none.
func (c *conversation) turn(ctx context.Context, timer <-chan time.Time) (reply Reply, done bool, err error) {
	p, f := c.port, c.failure
	c.turns++
	for {
		c.sent = time.Now()
		err := p.send(c.x)
		e := isGone
		if err == nil {
			f.sends(c.x)
			e = p.await(ctx, c.x.done, c.x.conn.gone, timer, c.attempt)
		}
		f.saw(c.x)
		switch e {
		case isReady:
			if c.turns == 1 && c.moves == 0 { // otherwise nobody knows which of the datagrams it answers (RFC 6298 section 3)
				p.sample(c.x.got.at.Sub(c.sent))
			}
			if c.request.Code != radius.CodeStatusServer {
				p.stats.latency.Add(c.x.got.at.Sub(c.start))
			}
			return p.reply(c.x, c.sent), true, nil
		case isGone:
			if err := c.move(ctx, err); err != nil {
				return Reply{}, true, err
			}
		case isTime:
			return Reply{}, false, nil
		case isDead:
			return Reply{}, true, errMoved
		case isOver:
			cause := context.Cause(ctx)
			// A peer that hung up says nothing about the server.
			if errors.Is(cause, context.DeadlineExceeded) && time.Since(c.start) >= p.s.cfg.Load().Timeout {
				c.failed()
			}
			return Reply{}, true, cause
		case isClosed:
			return Reply{}, true, ErrClosed
		}
	}
}

// move finds another socket for the request because its own can't be used any more: sending said err, or it was closed.
func (c *conversation) move(ctx context.Context, err error) error {
	f := c.failure
	f.broken = true
	if err != nil && !errors.Is(err, errRetired) {
		f.sendErr = err
	}
	c.port.withdraw(c.x)
	c.x = nil
	if c.moves++; c.moves > maxMoves {
		c.failed()
		return orElse(f.sendErr, errBroken)
	}
	x, err := c.port.begin(ctx, c.request, c.until, c.attempt)
	if err != nil {
		return err
	}
	c.x = x
	return nil
}

// errBroken is why a request did not move once more.
var errBroken = errors.New("its connections broke again and again")

// errSilent is why a request that used up its tries came to nothing.
var errSilent = errors.New("no usable answer")

// reply counts x's answer and hands it over.
func (p *port) reply(x *exchange, sent time.Time) Reply {
	switch code := radius.Code(x.got.packet[0]); {
	case x.code == radius.CodeStatusServer: // told has counted it
	case code == radius.CodeAccessAccept:
		p.stats.accepts.Add(1)
	case code == radius.CodeAccessReject:
		p.stats.rejects.Add(1)
	case code == radius.CodeAccessChallenge:
		p.stats.challenges.Add(1)
	default: // Verify let no other code through
		p.stats.acknowledged.Add(1)
	}
	return Reply{
		Server: p.s.cfg.Load().Name, Packet: x.got.packet, Secret: x.got.secret, Signed: x.got.signed,
		Authenticator: x.authenticator, RTT: x.got.at.Sub(sent), Sent: x.packet,
	}
}
