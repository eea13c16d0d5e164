package pptp

import (
	"container/list"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/pptp"
)

// readSize is how many octets one read may take. It bounds how much reply one read can cause.
const readSize = 1024

// longAgo is a read deadline that makes a waiting Read return at once.
var longAgo = time.Unix(1, 0)

// conn is one control connection. Its goroutine runs run; other goroutines reach it through post.
type conn struct {
	server        *Server
	nc            net.Conn
	remote, local netip.AddrPort
	listener      string
	log           *slog.Logger
	m             *machine // belongs to the goroutine of run

	// Guarded by server.mu.
	idle    bool          // it has had no call yet
	entered bool          // somebody has logged in
	place   *list.Element // in server.lines[line]; nil: it makes room for nobody
	line    int

	mu       sync.Mutex // guards what follows, and the order of SetReadDeadline calls
	commands []command  // at most one for each call and one to stop
	over     bool
}

// run serves the connection until it is closed. It is the only goroutine that touches m, reads and writes.
func (c *conn) run() {
	defer c.close()
	defer c.contain()
	c.m = newMachine(&c.server.cfg, time.Now(), c)
	buf := make([]byte, readSize)
	for {
		c.runCommands()
		c.flush()
		deadline, open := c.m.Deadline()
		if !open {
			break
		}
		if !c.arm(deadline) {
			continue
		}
		n, err := c.nc.Read(buf)
		now := time.Now()
		c.m.Feed(now, buf[:n])
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.m.Tick(now)
		case errors.Is(err, io.EOF):
			c.m.Lost(now, "the client closed the control connection")
		case errors.Is(err, net.ErrClosed): // by Server.push, or at the end of Shutdown, which has said so
			c.m.Lost(now, "the control connection has made room for another before anybody had logged in")
		default:
			c.m.Lost(now, fmt.Sprintf("reading from the control connection: %v", err))
		}
	}
}

// contain keeps a panic of the connection's from being anybody else's: the connection ends with its calls.
func (c *conn) contain() {
	p := recover()
	if p == nil {
		return
	}
	const why = "a fault of the server's own in the work for this control connection"
	subject := "PPTP connection of " + c.remote.String()
	c.server.cfg.Faults.Panicked(c.log, subject, p)
	if c.server.cfg.Faults.Guard(c.log, subject, func() { c.m.Lost(time.Now(), why) }) {
		return
	}
	for id := range c.m.calls { // which the machine could not tell of any more
		c.server.cfg.Faults.Guard(c.log, subject, func() { c.server.h.CallClosed(id, tenant.ReasonLostCarrier, why) })
	}
}

// close is the connection's end.
func (c *conn) close() {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	if err := c.nc.Close(); err != nil {
		c.log.Debug("control connection not closed cleanly", telemetry.Error, err)
	}
	c.log.Debug("control connection closed")
}

// runCommands carries out what other goroutines have asked for.
func (c *conn) runCommands() {
	c.mu.Lock()
	commands := c.commands
	c.commands = nil
	c.mu.Unlock()
	now := time.Now()
	for _, cmd := range commands {
		c.m.Run(now, cmd)
	}
}

// flush writes what the machine wants to send. A peer that does not take it within WriteTimeout has lost the connection.
func (c *conn) flush() {
	if len(c.m.out) == 0 {
		return
	}
	now := time.Now()
	err := c.nc.SetWriteDeadline(now.Add(c.server.cfg.WriteTimeout))
	if err == nil {
		_, err = c.nc.Write(c.m.out)
	}
	c.m.out = c.m.out[:0]
	if err != nil {
		c.runCommands() // a shutdown that came while we were stuck is why the calls end
		c.m.Lost(time.Now(), fmt.Sprintf("writing to the control connection: %v", err))
		c.m.out = c.m.out[:0]
	}
}

// arm sets the deadline of the next read, unless a command has come in, in which case it returns false. A command that
// comes later moves the deadline itself, so none is ever missed.
func (c *conn) arm(deadline time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.commands) > 0 {
		return false
	}
	// An error here means that the connection is gone, which the read will say as well.
	_ = c.nc.SetReadDeadline(deadline)
	return true
}

// post implements upper. It is safe for concurrent use and does not block.
func (c *conn) post(cmd command) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.commands = append(c.commands, cmd)
	_ = c.nc.SetReadDeadline(longAgo) // as in arm
}

// outgoingCall implements upper.
func (c *conn) outgoingCall(call *call, r CallRequest) Answer {
	r.Remote, r.Local, r.Listener = c.remote, c.local, c.listener
	a := c.server.h.OutgoingCall(call, r)
	c.log.Debug("call answered", telemetry.Call, a.CallID, telemetry.Code, a.Result)
	return a
}

// callClosed implements upper.
func (c *conn) callClosed(id uint16, cause tenant.Reason, detail string) {
	c.log.Debug("call closed", telemetry.Call, id, telemetry.Reason, cause, telemetry.Detail, detail)
	c.server.h.CallClosed(id, cause, detail)
}

// refused implements upper.
func (c *conn) refused(reason tenant.Reason, detail string) {
	c.server.h.Refused(c.remote, c.local, reason, detail)
}

// connected implements upper.
func (c *conn) connected() { c.server.connected(c) }

// disconnected implements upper.
func (c *conn) disconnected() { c.server.disconnected(c) }

// authenticated implements upper.
func (c *conn) authenticated() { c.server.authenticated(c) }

// received implements upper.
func (c *conn) received(t wire.Type, s controlState) {
	c.log.Debug("control message", telemetry.Message, t, telemetry.State, s)
}
