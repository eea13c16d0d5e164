package plain

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"concentrator/internal/dataplane/pktbuf"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/simclient/traffic"
	wireppp "concentrator/internal/wire/ppp"
)

// Client is one client with one connection. Its methods are safe for concurrent use. The functions of its Config are called
// with its lock held.
type Client struct {
	cfg Config

	// mu guards what follows, and the line; what sealing and opening a packet need is guarded by the Gate as well, which is
	// taken behind mu. Machines are called without the Gate.
	mu    sync.Mutex
	line  line
	ppp   *simppp.Machine // nil before the call stands
	timer *time.Timer
	armed time.Time // when the timer strikes; zero: it does not

	network simppp.Network // by the Gate too
	open    bool           // the link carries IP; by the Gate too
	over    bool           // PPP has ended
	refused error          // by which the server turned a login down
	err     error          // why it is over; nil while it is not
	leaving bool           // we have hung up
	hungUp  bool           // the line was told to end
	last    bool           // what is ready is the last that we send
	gone    bool           // nothing is left

	lost   uint64     // packets of the server that could not be read
	in     chan error // the outcome of Connect
	out    chan struct{}
	sealed pktbuf.Buf // the packet that is being sent
	opened pktbuf.Buf // the packet that has come
}

// line is what lies below PPP: the control protocol and the way of a frame. Its methods run with Client.mu held.
type line interface {
	// start asks for the connection and the call.
	start(now time.Time)
	// step does one thing that an event has asked for, and says whether there was any.
	step(now time.Time) bool
	// receive takes a packet, octets what came by TCP, broken the news that TCP is gone.
	receive(now time.Time, b []byte)
	octets(now time.Time, b []byte)
	broken(now time.Time, err error)
	tick(now time.Time)
	deadline() (time.Time, bool)
	// flush sends the control messages that are ready.
	flush()
	// send sends the PPP frame in Client.sealed, which is of a protocol and without its header.
	send(protocol uint16, n simppp.Network) error
	// hangUp ends call and connection.
	hangUp(now time.Time)

	simppp.Events // MPPEReceive, MPPEOpen and MPPEDown are the line's
}

// Connect logs in and returns when IP can be sent. An error is one of package pptp, l2tp or ppp of the simulated clients,
// or that of ctx, wrapped. HangUp must follow in any case, or Die. It may be called once.
func (c *Client) Connect(ctx context.Context) error {
	c.do(func(now time.Time) { c.line.start(now) })
	select {
	case err := <-c.in:
		return err
	case <-ctx.Done():
		return fmt.Errorf("connect: %w", ctx.Err())
	}
}

// HangUp ends the connection in good order: PPP, the call, the control connection. It returns when nothing is left, at the
// latest when ctx ends; the client is dead then.
func (c *Client) HangUp(ctx context.Context) error {
	c.do(func(now time.Time) {
		c.leaving = true
		if c.ppp == nil || c.over {
			c.end(ErrClosed)
			return
		}
		c.ppp.Terminate(now, "User request")
	})
	select {
	case <-c.out:
		return nil
	case <-ctx.Done():
		c.Die()
		return fmt.Errorf("hang up: %w", ctx.Err())
	}
}

// Die ends the client without a word: nothing is sent and nothing heard any more.
func (c *Client) Die() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(ErrClosed)
	c.bury()
}

// Receive takes a packet of the server, as Config.Send sends them. It keeps nothing of b.
func (c *Client) Receive(b []byte) {
	c.do(func(now time.Time) { c.line.receive(now, b) })
}

// Octets takes what the server sent over PPTP's TCP connection, in any portions. It keeps nothing of b.
func (c *Client) Octets(b []byte) {
	c.do(func(now time.Time) { c.line.octets(now, b) })
}

// Broken says that PPTP's TCP connection can no longer be used.
func (c *Client) Broken(err error) {
	c.do(func(now time.Time) { c.line.broken(now, err) })
}

// Send sends an inner packet. It keeps nothing of it.
func (c *Client) Send(packet []byte) error {
	err := ErrClosed
	c.do(func(time.Time) {
		switch {
		case !c.open:
			err = ErrDown
		case !c.sealed.SetBytes(packet):
			err = ErrTooLong
		default:
			err = c.line.send(wireppp.ProtocolIPv4, c.network)
		}
	})
	return err
}

// Network is what PPP agreed on.
func (c *Client) Network() simppp.Network {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.network
}

// Address is the inner address; invalid before Connect.
func (c *Client) Address() netip.Addr { return c.Network().Address }

// Err says why the connection is over; nil while it is not.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Lost counts packets of the server that could not be read: late, out of any window, or not decrypted.
func (c *Client) Lost() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

func newClient(cfg Config) *Client {
	if cfg.Gate == nil {
		cfg.Gate = &traffic.Gate{}
	}
	return &Client{cfg: cfg, in: make(chan error, 1), out: make(chan struct{})}
}

// do lets f use the machines, then does what that has caused and sets the timer.
func (c *Client) do(f func(now time.Time)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return
	}
	now := time.Now()
	f(now)
	for c.step(now) {
	}
	c.line.flush()
	if c.last {
		c.bury()
		return
	}
	c.arm(now)
}

// step does one thing that is due: no machine may be called from within its own events.
func (c *Client) step(now time.Time) bool {
	if c.over && !c.hungUp {
		c.hungUp = true
		c.line.hangUp(now)
		return true
	}
	return c.line.step(now)
}

// arm sets the timer to the first deadline.
func (c *Client) arm(now time.Time) {
	first, some := c.line.deadline()
	if c.ppp != nil && !c.over {
		if t, ok := c.ppp.Deadline(); ok && (!some || t.Before(first)) {
			first, some = t, true
		}
	}
	switch {
	case !some:
		if c.timer != nil && !c.armed.IsZero() {
			c.timer.Stop()
		}
		c.armed = time.Time{}
	case first.Equal(c.armed): // it is set already
	case c.timer == nil:
		c.armed = first
		c.timer = time.AfterFunc(first.Sub(now), c.strike)
	default:
		c.armed = first
		c.timer.Reset(first.Sub(now))
	}
}

// strike runs when the timer strikes.
func (c *Client) strike() {
	c.do(func(now time.Time) {
		c.armed = time.Time{}
		c.line.tick(now)
		if c.ppp != nil && !c.over {
			c.ppp.Tick(now)
		}
	})
}

// startPPP begins PPP in the call, unless we are leaving already. What the line has to say about the call goes before it.
func (c *Client) startPPP(now time.Time) {
	c.line.flush()
	if c.over {
		return
	}
	c.ppp = simppp.NewMachine(c.cfg.PPP, c.line)
	c.ppp.Start(now)
}

// frame takes a PPP frame whose header has been read.
func (c *Client) frame(now time.Time, protocol uint16, info []byte) {
	switch {
	case protocol == wireppp.ProtocolIPv4:
		if c.cfg.Received != nil {
			c.cfg.Received(info)
		}
	case c.ppp != nil && !c.over:
		c.ppp.Receive(now, protocol, info)
	}
}

// carry says whether the link carries IP, and what was agreed on.
func (c *Client) carry(open bool, n simppp.Network) {
	c.cfg.Gate.Lock()
	defer c.cfg.Gate.Unlock()
	c.open, c.network = open, n
}

// end notes that the connection is over, whatever is left of it. What was said first stands.
func (c *Client) end(err error) {
	c.over = true
	c.carry(false, simppp.Network{})
	if c.err != nil {
		return
	}
	switch {
	case c.leaving:
		err = ErrClosed
	case c.refused != nil:
		err = c.refused
	}
	c.err = err
	select {
	case c.in <- err:
	default:
	}
}

// bury notes that nothing is left.
func (c *Client) bury() {
	if c.gone {
		return
	}
	c.gone = true
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.ppp != nil {
		c.ppp.Close()
	}
	close(c.out)
}

// pppEvents is what the PPP machine tells a Client, but for what is the line's business.
type pppEvents struct{ c *Client }

// SendFrame implements simppp.Events. What can't be sent is lost, as on any line.
func (e pppEvents) SendFrame(protocol uint16, packet []byte) {
	if e.c.sealed.SetBytes(packet) {
		_ = e.c.line.send(protocol, simppp.Network{})
	}
}

// Refused implements simppp.Events.
func (e pppEvents) Refused(err *simppp.AuthError) { e.c.refused = err }

// Authenticated implements simppp.Events.
func (e pppEvents) Authenticated(string) { e.c.refused = nil }

// Opened implements simppp.Events.
func (e pppEvents) Opened(n simppp.Network) {
	e.c.carry(true, n)
	select {
	case e.c.in <- nil:
	default:
	}
}

// NetworkDown implements simppp.Events.
func (e pppEvents) NetworkDown() { e.c.carry(false, simppp.Network{}) }

// Finished implements simppp.Events.
func (e pppEvents) Finished(err error) {
	if err == nil {
		err = ErrClosed
	}
	e.c.end(fmt.Errorf("PPP: %w", err))
}
