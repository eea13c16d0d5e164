package session

import (
	"context"
	"slices"
	"sync"
	"time"

	"concentrator/internal/dataplane/mppe"
	simppp "concentrator/internal/simclient/ppp"
	simpptp "concentrator/internal/simclient/pptp"
)

// oneWay is how long a frame takes between a client and the plane. It makes the phases of a login moments that a test
// can stop at.
const oneWay = 10 * time.Millisecond

// line is the tunnel that a client's call runs in.
type line interface {
	Done() <-chan struct{}      // closed when the call is over
	HangUp(ctx context.Context) // ends call and tunnel in good order
	Abort()                     // cuts it without a word
}

// pptpLine is a control connection with one call.
type pptpLine struct {
	ctl  *simpptp.Client
	call *simpptp.Call
}

func (l pptpLine) Done() <-chan struct{} { return l.call.Done() }
func (l pptpLine) Abort()                { l.ctl.Abort() }
func (l pptpLine) HangUp(ctx context.Context) {
	_ = l.call.Clear(ctx) // it may be over already
	_ = l.ctl.Stop(ctx)
}

// client is one VPN client: a tunnel with one call, and the PPP machine on it. Its goroutine ends with the call.
type client struct {
	w    *world
	line line
	fc   *fakeCall
	// The machine and the frames on their way belong to the goroutine.
	m       *simppp.Machine
	in, out []lateFrame
	do      chan func(now time.Time)
	done    chan struct{} // closed when the goroutine has ended

	mu       sync.Mutex // guards what follows
	mute     bool       // the client neither sends nor hears a frame
	heard    []frame
	refused  []*simppp.AuthError
	message  string
	send     mppe.Params
	recv     mppe.Params
	open     bool
	opens    int
	net      simppp.Network
	finished bool
	err      error
}

// lateFrame is a frame on its way.
type lateFrame struct {
	frame
	at time.Time
}

// run is the client's goroutine.
func (c *client) run() {
	defer close(c.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	c.m.Start(time.Now())
	for {
		next := time.Now().Add(time.Hour)
		for _, q := range [][]lateFrame{c.in, c.out} {
			if len(q) > 0 && q[0].at.Before(next) {
				next = q[0].at
			}
		}
		if t, ok := c.m.Deadline(); ok && t.Before(next) {
			next = t
		}
		timer.Reset(time.Until(next))
		select {
		case f := <-c.fc.toClient:
			c.in = append(c.in, lateFrame{f, time.Now().Add(c.w.oneWay)})
		case f := <-c.do:
			f(time.Now())
		case <-timer.C:
		case <-c.line.Done():
			return
		}
		now := time.Now()
		for len(c.in) > 0 && !now.Before(c.in[0].at) {
			c.hear(now, c.in[0].frame)
			c.in = c.in[1:]
		}
		for len(c.out) > 0 && !now.Before(c.out[0].at) {
			if !c.isMute() {
				c.fc.deliver(c.out[0].protocol, c.out[0].packet)
			}
			c.out = c.out[1:]
		}
		if t, ok := c.m.Deadline(); ok && !now.Before(t) {
			c.m.Tick(now)
		}
	}
}

func (c *client) hear(now time.Time, f frame) {
	c.mu.Lock()
	mute := c.mute
	if !mute {
		c.heard = append(c.heard, f)
	}
	c.mu.Unlock()
	if !mute {
		c.m.Receive(now, f.protocol, f.packet)
	}
}

// setMute cuts the GRE path, as a firewall does, or opens it again.
func (c *client) setMute(mute bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mute = mute
}

func (c *client) isMute() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mute
}

// tell runs f on the client's goroutine; false if that is gone.
func (c *client) tell(f func(now time.Time)) bool {
	select {
	case c.do <- f:
		return true
	case <-c.done:
		return false
	}
}

// hangUp ends the link as a user does.
func (c *client) hangUp() {
	c.tell(func(now time.Time) { c.m.Terminate(now, "User request") })
	c.w.until("the link ends", func() bool { return c.ended() })
	c.stop()
}

// stop ends call and control connection in good order and waits until the client is gone.
func (c *client) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c.line.HangUp(ctx)
	<-c.done
}

// abort cuts the control connection without a word.
func (c *client) abort() {
	c.line.Abort()
	<-c.done
}

func (c *client) isOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// ended says whether the client's link is dead or its call gone.
func (c *client) ended() bool {
	select {
	case <-c.line.Done():
		return true
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.finished
}

// gone says whether the call is over.
func (c *client) gone() bool {
	select {
	case <-c.line.Done():
		return true
	default:
		return false
	}
}

func (c *client) network() simppp.Network {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.net
}

func (c *client) frames() []frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.heard)
}

// refusals lists what the server said to each refused attempt.
func (c *client) refusals() (out []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.refused {
		out = append(out, e.Message)
	}
	return out
}

func (c *client) lastError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// clientEvents is the client as its machine sees it, on the client's goroutine.
type clientEvents struct{ *client }

func (e clientEvents) SendFrame(protocol uint16, packet []byte) {
	e.out = append(e.out, lateFrame{frame{protocol, slices.Clone(packet)}, time.Now().Add(e.w.oneWay)})
}

func (e clientEvents) Refused(err *simppp.AuthError) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refused = append(e.refused, err)
}

func (e clientEvents) Authenticated(message string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.message = message
}

func (e clientEvents) MPPEReceive(p mppe.Params) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.recv = p
}

// MPPEOpen is the first moment at which the client may encrypt: the session must be able to read it.
func (e clientEvents) MPPEOpen(p mppe.Params) {
	if _, decrypt := e.fc.keys(); decrypt != p {
		e.w.t.Errorf("the client may send with %+v, the session receives with %+v", p, decrypt)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.send = p
}

func (e clientEvents) MPPEDown() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.send, e.recv = mppe.Params{}, mppe.Params{}
}

// Opened is the first moment at which the client may send IP: its address must be in place.
func (e clientEvents) Opened(n simppp.Network) {
	if s := e.fc.attached(); s.Address != n.Address && !e.w.lax {
		e.w.t.Errorf("the client has %s, the session was attached with %s", n.Address, s.Address)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open, e.net = true, n
	e.opens++
}

func (e clientEvents) NetworkDown() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open = false
}

func (e clientEvents) Finished(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.finished, e.err = true, err
}
