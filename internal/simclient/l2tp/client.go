package l2tp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	wire "concentrator/internal/wire/l2tp"
)

// Client is a tunnel. Its methods are safe for concurrent use.
type Client struct {
	send func(msg []byte)

	mu    sync.Mutex // guards the machine, sending, and what follows
	m     *Machine
	timer *time.Timer
	dead  bool // Abort was called
	reply *wire.SCCRP
	calls map[uint16]*Call
	err   error // why it is over

	started chan struct{} // closed when the tunnel is open
	done    chan struct{} // closed when it is over
}

// Call is a call of a Client. Its methods are safe for concurrent use.
type Call struct {
	client   *Client
	id       uint16
	peerID   uint16        // set before answered is closed
	err      error         // set before done is closed
	answered chan struct{} // closed when it is connected
	done     chan struct{} // closed when it is over
}

// New makes a client that sends its messages by send, which must not block for long nor call back into the Client, and
// takes the messages over. It begins with Start; Receive may be called before that.
func New(cfg Config, send func(msg []byte)) *Client {
	c := &Client{send: send, calls: map[uint16]*Call{}, started: make(chan struct{}), done: make(chan struct{})}
	c.m = NewMachine(cfg, time.Now(), (*events)(c))
	return c
}

// Start asks for the tunnel and waits until it is open. If ctx ends first the client is dead, as by Abort.
func (c *Client) Start(ctx context.Context) error {
	c.do(func(time.Time) {})
	select {
	case <-c.started:
		return nil
	case <-c.done:
		return fmt.Errorf("open the tunnel: %w", c.Err())
	case <-ctx.Done():
		c.Abort()
		return fmt.Errorf("open the tunnel: %w", ctx.Err())
	}
}

// Receive takes a control message of the server, and takes it over.
func (c *Client) Receive(msg []byte) {
	c.do(func(now time.Time) { c.m.Receive(now, msg) })
}

// do lets f use the machine, then sends what that has caused and sets the time of the next Tick.
func (c *Client) do(f func(now time.Time)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return
	}
	f(time.Now())
	for _, b := range c.m.Output() {
		c.send(b)
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	if d, ok := c.m.Deadline(); ok {
		c.timer = time.AfterFunc(time.Until(d), func() { c.do(c.m.Tick) })
	}
}

// Do sends any message, to the server's session peerSession or to none: what no client should.
func (c *Client) Do(peerSession uint16, msg wire.Message, extra ...wire.AVP) {
	c.do(func(now time.Time) { c.m.Send(now, peerSession, msg, extra...) })
}

// Server returns the server's SCCRP; nil until the tunnel is open.
func (c *Client) Server() *wire.SCCRP {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reply
}

// PeerTunnel returns the server's tunnel ID, which is in the header of data towards it; 0 until the tunnel is open.
func (c *Client) PeerTunnel() uint16 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m.PeerTunnel()
}

// Done is closed when the tunnel is over.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err says why the tunnel is over; nil while it is not.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Call asks for a call with our session ID id and waits until it is connected. A refusal is a *ResultError. If ctx ends
// first the call is hung up.
func (c *Client) Call(ctx context.Context, id uint16) (*Call, error) {
	return c.CallWith(ctx, id, c.m.cfg.Connect)
}

// CallWith asks for a call whose ICCN is connect, as a LAC does that has something to hand over.
func (c *Client) CallWith(ctx context.Context, id uint16, connect wire.ICCN) (*Call, error) {
	call := &Call{client: c, id: id, answered: make(chan struct{}), done: make(chan struct{})}
	err := ErrClosed
	c.do(func(now time.Time) {
		if err = c.m.CallWith(now, id, connect); err == nil {
			c.calls[id] = call
		}
	})
	if err != nil {
		return nil, fmt.Errorf("call: %w", err)
	}
	select {
	case <-call.answered:
		return call, nil
	case <-call.done:
		return nil, fmt.Errorf("call: %w", call.err)
	case <-ctx.Done():
		call.Hangup(wire.Result{Code: wire.CallResultAdministrative})
		return nil, fmt.Errorf("call: %w", ctx.Err())
	}
}

// Stop ends the tunnel as the RFC wants it and waits until the server has acknowledged. If ctx ends first the client is
// dead, as by Abort. ErrClosed if it is dead already.
func (c *Client) Stop(ctx context.Context) error {
	c.mu.Lock()
	dead := c.dead
	c.mu.Unlock()
	if dead {
		return fmt.Errorf("stop the tunnel: %w", ErrClosed)
	}
	c.do(c.m.Stop)
	select {
	case <-c.done:
	case <-ctx.Done():
		c.Abort()
		return fmt.Errorf("stop the tunnel: %w", ctx.Err())
	}
	if err := c.Err(); !errors.Is(err, ErrClosed) {
		return fmt.Errorf("stop the tunnel: %w", err)
	}
	return nil
}

// Abort ends the client without a word, as one does that is killed: nothing is sent and nothing heard any more.
func (c *Client) Abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
	if c.timer != nil {
		c.timer.Stop()
	}
}

// ID returns our session ID, which is in the header of data towards us.
func (c *Call) ID() uint16 { return c.id }

// PeerID returns the server's session ID, which is in the header of data towards it.
func (c *Call) PeerID() uint16 { return c.peerID }

// Done is closed when the call is over.
func (c *Call) Done() <-chan struct{} { return c.done }

// Err says why the call is over; nil while it is not.
func (c *Call) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Hangup ends the call with a CDN of this result. It does not wait.
func (c *Call) Hangup(r wire.Result) {
	c.client.do(func(now time.Time) { c.client.m.Hangup(now, c.id, r) })
}

// events is what the machine tells the Client. It runs within do.
type events Client

// Started implements Events.
func (e *events) Started(r *wire.SCCRP) {
	e.reply = r
	close(e.started)
}

// Answered implements Events.
func (e *events) Answered(id, peerID uint16) {
	c := e.calls[id]
	c.peerID = peerID
	close(c.answered)
}

// Ended implements Events.
func (e *events) Ended(id uint16, err error) {
	c := e.calls[id]
	delete(e.calls, id)
	c.err = err
	close(c.done)
}

// Closed implements Events.
func (e *events) Closed(err error) {
	e.err = err
	close(e.done)
}
