package l2tp

import (
	"container/list"
	"log/slog"
	"sync"
	"time"

	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/l2tp"
)

// maxInbox is how many messages may wait for a tunnel's goroutine. What comes above is dropped, and sent again by the peer.
const maxInbox = 64

// packet is a message for a tunnel, or a repetition of its SCCRQ.
type packet struct {
	port   uint16
	header wire.Header
	body   []byte
	repeat bool
}

// tunnel is one tunnel. Its goroutine runs run; other goroutines reach it through put and post.
type tunnel struct {
	server  *Server
	request []byte // the body of the SCCRQ
	log     *slog.Logger
	m       *machine // belongs to the goroutine of run
	wake    chan struct{}

	// Guarded by server.mu.
	key           key    // with the port that the SCCRQ came from
	port          uint16 // that messages come from now
	id            uint16 // 0: none yet
	plain         bool   // counted as half-open against its source
	state         tunnelState
	establishedAt time.Time
	place         *list.Element // in server.waiting; nil: not there
	loggedIn      bool          // a call has logged in
	leaving       bool          // told to end
	lingering     bool          // counted as one that only acknowledges
	older         *tunnel       // suspended until this one has a login

	mu       sync.Mutex // guards what follows; taken after server.mu where both are
	peer     Peer
	packets  []packet
	commands []command // at most three for each call and a few for the tunnel
	over     bool
}

// run serves the tunnel until its state is gone. It is the only goroutine that touches m.
func (t *tunnel) run(r *wire.SCCRQ, port uint16, plain bool) {
	defer t.end()
	defer t.contain()
	t.m = newMachine(&t.server.cfg, t, port, plain)
	t.m.Start(time.Now(), r)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		t.flush()
		deadline, open := t.m.Deadline()
		if !open {
			break
		}
		if deadline.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(deadline))
		}
		select {
		case <-t.wake:
			t.work()
		case <-timer.C:
			t.m.Tick(time.Now())
		}
	}
}

// contain keeps a panic of the tunnel's from being anybody else's: the tunnel ends with its calls.
func (t *tunnel) contain() {
	p := recover()
	if p == nil {
		return
	}
	const why = "a fault of the server's own in the work for this tunnel"
	subject := "L2TP tunnel of " + t.currentPeer().Remote().String()
	faults := t.server.cfg.Faults
	faults.Panicked(t.log, subject, p)
	t.m.ch.out = nil
	if faults.Guard(t.log, subject, func() {
		t.m.Run(time.Now(), command{do: abandon, cause: tenant.ReasonLostCarrier, detail: why})
	}) {
		return
	}
	for id := range t.m.calls { // which the machine could not tell of any more
		faults.Guard(t.log, subject, func() { t.server.h.CallClosed(id, tenant.ReasonLostCarrier, why) })
	}
	faults.Guard(t.log, subject, t.tunnelClosed)
}

// end is the tunnel's end.
func (t *tunnel) end() {
	t.mu.Lock()
	t.over, t.packets, t.commands = true, nil, nil
	t.mu.Unlock()
	t.server.leave(t)
	t.log.Debug("tunnel forgotten")
}

// work takes what has come in, commands first: a login may have been replaced by what waits behind it.
func (t *tunnel) work() {
	t.mu.Lock()
	commands, packets := t.commands, t.packets
	t.commands, t.packets = nil, nil
	t.mu.Unlock()
	now := time.Now()
	for _, c := range commands {
		t.m.Run(now, c)
	}
	for _, p := range packets {
		if p.repeat {
			t.m.Repeat(now)
		} else {
			t.m.Receive(now, p.port, p.header, p.body)
		}
		t.flush() // before the port may change
	}
}

// flush sends what the machine wants to send.
func (t *tunnel) flush() {
	if len(t.m.ch.out) == 0 {
		return
	}
	p := t.currentPeer()
	for i, b := range t.m.ch.out {
		p.Send(t.m.port, b)
		t.m.ch.out[i] = nil
	}
	t.m.ch.out = t.m.ch.out[:0]
}

func (t *tunnel) currentPeer() Peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.peer
}

// put hands over a message. It returns false if there is no room for it. It does not block.
func (t *tunnel) put(p packet) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over || len(t.packets) >= maxInbox {
		return false
	}
	t.packets = append(t.packets, p)
	t.nudge()
	return true
}

// post implements upper. It is safe for concurrent use and does not block.
func (t *tunnel) post(c command) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return
	}
	t.commands = append(t.commands, c)
	t.nudge()
}

func (t *tunnel) nudge() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// newID implements upper.
func (t *tunnel) newID() uint16 {
	id, err := t.currentPeer().NewTunnelID()
	if err != nil {
		t.log.Warn("no tunnel ID", telemetry.Error, err)
		return 0
	}
	t.log = t.log.With(telemetry.Tunnel, id)
	t.server.named(t, id)
	return id
}

// tunnel implements upper.
func (t *tunnel) tunnel(r TunnelRequest) TunnelAnswer {
	a := t.server.h.Tunnel(t.currentPeer(), r)
	t.log.Debug("tunnel answered", telemetry.Code, a.Result)
	return a
}

// incomingCall implements upper.
func (t *tunnel) incomingCall(c *call, r CallRequest) Answer {
	r.Peer = t.currentPeer()
	a := t.server.h.IncomingCall(c, r)
	t.log.Debug("call answered", telemetry.Call, a.SessionID, telemetry.Code, a.Result)
	return a
}

// connected implements upper.
func (t *tunnel) connected(id uint16, r Connect) { t.server.h.Connected(id, r) }

// callClosed implements upper.
func (t *tunnel) callClosed(id uint16, cause tenant.Reason, detail string) {
	t.log.Debug("call closed", telemetry.Call, id, telemetry.Reason, cause, telemetry.Detail, detail)
	t.server.h.CallClosed(id, cause, detail)
}

// refused implements upper.
func (t *tunnel) refused(stage tenant.Stage, reason tenant.Reason, detail string) {
	t.server.h.Refused(t.currentPeer(), stage, reason, detail)
}

// moved implements upper.
func (t *tunnel) moved(port uint16) {
	t.log.Debug("tunnel moved", telemetry.Address, port)
	t.server.moved(t, port)
	t.server.h.Moved(t.currentPeer(), t.m.id, port)
}

// entered implements upper.
func (t *tunnel) entered(s tunnelState) {
	t.log.Debug("tunnel state", telemetry.State, s.String())
	t.server.entered(t, s)
}

// tunnelClosed implements upper.
func (t *tunnel) tunnelClosed() { t.server.h.TunnelClosed(t.currentPeer(), t.m.id) }

// authenticated implements upper.
func (t *tunnel) authenticated() { t.server.loggedIn(t) }

// peerIdle implements upper.
func (t *tunnel) peerIdle() time.Duration { return t.currentPeer().Idle() }

// received implements upper.
func (t *tunnel) received(m wire.Type, s tunnelState) {
	t.log.Debug("control message", telemetry.Message, m.String(), telemetry.State, s.String())
}
