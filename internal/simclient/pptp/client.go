package pptp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	wire "concentrator/internal/wire/pptp"
)

// Client is a control connection. Its methods are safe for concurrent use.
type Client struct {
	nc  net.Conn
	cfg Config

	mu     sync.Mutex // guards the machine, writing, and what follows
	m      *Machine
	server wire.StartControlConnectionReply
	calls  map[uint16]*Call
	echoes map[uint32]chan struct{} // closed by the reply
	err    error                    // why it is closed

	started chan struct{} // closed when the server has accepted the connection
	done    chan struct{} // closed when it is over
	ended   chan struct{} // closed when the goroutine has ended
}

// Call is a call of a Client. Its methods are safe for concurrent use.
type Call struct {
	client   *Client
	request  wire.OutgoingCallRequest
	reply    wire.OutgoingCallReply // set before answered is closed
	err      error                  // set before done is closed
	answered chan struct{}          // closed by the reply
	done     chan struct{}          // closed when it is over
}

// Dial connects to address, "host:port", and starts a control connection there.
func Dial(ctx context.Context, address string, cfg Config) (*Client, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("dial the PPTP server: %w", err)
	}
	return NewClient(ctx, nc, cfg)
}

// NewClient starts a control connection on nc, which it owns from then on, and waits until the server accepts it. It
// starts one goroutine, which ends with the connection.
func NewClient(ctx context.Context, nc net.Conn, cfg Config) (*Client, error) {
	c := &Client{
		nc: nc, cfg: cfg.withDefaults(),
		calls: map[uint16]*Call{}, echoes: map[uint32]chan struct{}{},
		started: make(chan struct{}), done: make(chan struct{}), ended: make(chan struct{}),
	}
	c.m = NewMachine(cfg, time.Now(), (*events)(c))
	go c.read()
	c.do(func(time.Time) {}) // sends the request
	select {
	case <-c.started:
		return c, nil
	case <-c.done:
		return nil, fmt.Errorf("start the control connection: %w", c.Err())
	case <-ctx.Done():
		c.Abort()
		return nil, fmt.Errorf("start the control connection: %w", ctx.Err())
	}
}

// read feeds the machine until the connection is over.
func (c *Client) read() {
	defer close(c.ended)
	buf := make([]byte, 1024)
	for {
		n, err := c.nc.Read(buf)
		over := false
		c.do(func(now time.Time) {
			c.m.Feed(now, buf[:n])
			switch {
			case err == nil:
			case errors.Is(err, os.ErrDeadlineExceeded):
				c.m.Tick(now)
			default:
				c.m.Lost(now, fmt.Errorf("read from the server: %w", err))
			}
			over = c.m.State() == Closed
		})
		if over {
			return
		}
	}
}

// do lets f use the machine, then writes what that has caused and sets the time of the next Tick.
func (c *Client) do(f func(now time.Time)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(time.Now())
	if out := c.m.Output(); len(out) > 0 {
		err := c.nc.SetWriteDeadline(time.Now().Add(c.cfg.WriteTimeout))
		if err == nil {
			_, err = c.nc.Write(out)
		}
		if err != nil {
			c.m.Lost(time.Now(), fmt.Errorf("write to the server: %w", err))
		}
	}
	if c.m.State() == Closed {
		_ = c.nc.Close() // how it closes is of no interest, err is set
		return
	}
	deadline, _ := c.m.Deadline()      // the zero time is no deadline
	_ = c.nc.SetReadDeadline(deadline) // an error is the read's to report
}

// Server returns the server's Start-Control-Connection-Reply.
func (c *Client) Server() wire.StartControlConnectionReply {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server
}

// Conn returns the TCP connection, for its addresses, or to send on it what no client should.
func (c *Client) Conn() net.Conn { return c.nc }

// Done is closed when the connection is over.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err says why the connection is over; nil while it is not.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Call asks for a call and waits for the answer. A refusal is a *ResultError. If ctx ends first the call is cleared.
func (c *Client) Call(ctx context.Context, r wire.OutgoingCallRequest) (*Call, error) {
	call := &Call{client: c, request: r, answered: make(chan struct{}), done: make(chan struct{})}
	var err error
	c.do(func(now time.Time) {
		if err = c.m.Call(now, r); err == nil {
			c.calls[r.CallID] = call
		}
	})
	if err != nil {
		return nil, fmt.Errorf("call: %w", err)
	}
	select {
	case <-call.answered:
	case <-call.done:
	case <-ctx.Done():
		c.do(func(now time.Time) { c.m.Clear(now, r.CallID) })
		return nil, fmt.Errorf("call: %w", ctx.Err())
	}
	if call.reply.Result != wire.ResultConnected {
		<-call.done
		return nil, fmt.Errorf("call: %w", call.err)
	}
	return call, nil
}

// Echo sends an Echo-Request and waits for the reply.
func (c *Client) Echo(ctx context.Context) error {
	reply := make(chan struct{})
	var id uint32
	var open bool
	c.do(func(now time.Time) {
		if id, open = c.m.Echo(now); open {
			c.echoes[id] = reply
		}
	})
	if !open {
		return fmt.Errorf("echo: %w", ErrClosed)
	}
	select {
	case <-reply:
		return nil
	case <-c.done:
		return fmt.Errorf("echo: %w", c.Err())
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.echoes, id)
		c.mu.Unlock()
		return fmt.Errorf("echo: %w", ctx.Err())
	}
}

// Stop ends the connection as the RFC wants it and waits until it is over. If ctx ends first, TCP is cut.
func (c *Client) Stop(ctx context.Context) error {
	c.do(c.m.Stop)
	select {
	case <-c.done:
	case <-ctx.Done():
		c.Abort()
		return fmt.Errorf("stop the control connection: %w", ctx.Err())
	}
	<-c.ended
	if err := c.Err(); !errors.Is(err, ErrClosed) {
		return fmt.Errorf("stop the control connection: %w", err)
	}
	return nil
}

// Abort cuts the TCP connection without a word, as a client does that is killed, and waits for the goroutine.
func (c *Client) Abort() {
	_ = c.nc.Close() // the goroutine learns of it
	<-c.ended
}

// ID returns the call ID that we gave, which is in GRE towards us.
func (c *Call) ID() uint16 { return c.request.CallID }

// PeerID returns the server's call ID, which is in GRE towards the server.
func (c *Call) PeerID() uint16 { return c.reply.CallID }

// Reply returns the Outgoing-Call-Reply.
func (c *Call) Reply() wire.OutgoingCallReply { return c.reply }

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

// SetLinkInfo sends a Set-Link-Info with the given character maps.
func (c *Call) SetLinkInfo(send, receive uint32) error {
	var err error
	c.client.do(func(time.Time) { err = c.client.m.SetLinkInfo(c.request.CallID, send, receive) })
	return err
}

// Clear ends the call and waits for the server's Call-Disconnect-Notify.
func (c *Call) Clear(ctx context.Context) error {
	c.client.do(func(now time.Time) { c.client.m.Clear(now, c.request.CallID) })
	select {
	case <-c.done:
		var r *ResultError
		if errors.As(c.err, &r) {
			return nil
		}
		return fmt.Errorf("clear the call: %w", c.err)
	case <-ctx.Done():
		return fmt.Errorf("clear the call: %w", ctx.Err())
	}
}

// events is what the machine tells the Client. It runs within do.
type events Client

// Started implements Events.
func (e *events) Started(r wire.StartControlConnectionReply) {
	e.server = r
	close(e.started)
}

// EchoReplied implements Events.
func (e *events) EchoReplied(id uint32) {
	if reply := e.echoes[id]; reply != nil {
		delete(e.echoes, id)
		close(reply)
	}
}

// Answered implements Events.
func (e *events) Answered(id uint16, r wire.OutgoingCallReply) {
	c := e.calls[id]
	c.reply = r
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
