package plain

import (
	"fmt"
	"slices"
	"time"

	"concentrator/internal/dataplane/l2tpdata"
	"concentrator/internal/dataplane/mppe"
	siml2tp "concentrator/internal/simclient/l2tp"
	simppp "concentrator/internal/simclient/ppp"
	wire "concentrator/internal/wire/l2tp"
	wireppp "concentrator/internal/wire/ppp"
)

// sessionID is the ID of the one call that an L2TP client has, as it gives it.
const sessionID = 1

// maxEarly bounds the frames or packets that wait for the call.
const maxEarly = 16

// l2tpLine is an L2TP tunnel with one call.
type l2tpLine struct {
	pppEvents
	cfg   siml2tp.Config
	m     *siml2tp.Machine
	call  bool     // the call is to be asked for
	begin bool     // PPP is to begin
	early [][]byte // frames that came before the call was known to stand
	data  l2tpCall
}

// l2tpCall is what data messages need. Guarded by Client.mu and by the Gate.
type l2tpCall struct {
	tunnel, session   uint16              // the server's IDs; session 0: there is no call
	inbound, outbound *l2tpdata.Sequencer // nil: without sequence numbers
}

// NewL2TP makes an L2TP client that has done nothing yet.
func NewL2TP(cfg Config, l2tp siml2tp.Config) *Client {
	c := newClient(cfg)
	c.line = &l2tpLine{pppEvents: pppEvents{c}, cfg: l2tp}
	return c
}

func (l *l2tpLine) start(now time.Time) {
	if l.m == nil {
		l.m = siml2tp.NewMachine(l.cfg, now, (*l2tpEvents)(l))
	}
}

func (l *l2tpLine) step(now time.Time) bool {
	switch {
	case l.call:
		l.call = false
		if err := l.m.Call(now, sessionID); err != nil {
			l.c.end(fmt.Errorf("call: %w", err))
		}
	case l.begin:
		l.begin = false
		l.c.startPPP(now)
	case len(l.early) > 0 && l.data.session != 0:
		early := l.early
		l.early = nil
		for _, f := range early {
			l.frame(now, f)
		}
	default:
		return false
	}
	return true
}

func (l *l2tpLine) receive(now time.Time, b []byte) {
	in := &l.c.opened
	if l.m == nil || !in.SetBytes(b) {
		return
	}
	h, v := l2tpdata.Strip(in)
	switch {
	case v == l2tpdata.Control:
		l.m.Receive(now, slices.Clone(b)) // it may keep the message until its turn comes
	case v != l2tpdata.OK, h.TunnelID != l.cfg.Start.AssignedTunnelID, h.SessionID != sessionID:
	case !l.inTurn(h):
		l.c.lost++
	case l.data.session == 0:
		if len(l.early) < maxEarly {
			l.early = append(l.early, slices.Clone(in.Bytes()))
		}
	default:
		l.frame(now, in.Bytes())
	}
}

// inTurn says whether a data message is not late. Once the server has numbered one we number ours, RFC 2661 section 5.4.
func (l *l2tpLine) inTurn(h wire.Header) bool {
	if !h.HasSequence {
		return true
	}
	l.c.cfg.Gate.Lock()
	defer l.c.cfg.Gate.Unlock()
	return l.data.inTurn(h.Ns)
}

func (d *l2tpCall) inTurn(ns uint16) bool {
	if d.inbound == nil {
		d.inbound, d.outbound = &l2tpdata.Sequencer{}, &l2tpdata.Sequencer{}
	}
	return d.inbound.Accept(ns) == l2tpdata.OK
}

func (l *l2tpLine) frame(now time.Time, b []byte) {
	if protocol, info, err := wireppp.ParseFrame(b); err == nil {
		l.c.frame(now, protocol, info)
	}
}

func (*l2tpLine) octets(time.Time, []byte) {}

func (*l2tpLine) broken(time.Time, error) {}

func (l *l2tpLine) tick(now time.Time) {
	if l.m != nil {
		l.m.Tick(now)
	}
}

func (l *l2tpLine) deadline() (time.Time, bool) {
	if l.m == nil {
		return time.Time{}, false
	}
	return l.m.Deadline()
}

func (l *l2tpLine) flush() {
	if l.m == nil {
		return
	}
	for _, msg := range l.m.Output() {
		l.c.cfg.Send(msg)
	}
}

func (l *l2tpLine) send(protocol uint16, n simppp.Network) error {
	l.c.cfg.Gate.Lock()
	defer l.c.cfg.Gate.Unlock()
	b := &l.c.sealed
	var head [4]byte
	h := wireppp.AppendHeader(head[:0], protocol, n.ACFC, n.PFC)
	copy(b.Prepend(len(h)), h)
	if !l2tpdata.Prepend(b, l.data.tunnel, l.data.session, l.data.outbound) {
		return ErrTooLong
	}
	l.c.cfg.Send(b.Bytes())
	return nil
}

func (l *l2tpLine) hangUp(now time.Time) {
	if l.m == nil || l.m.State() == siml2tp.Closed {
		l.c.last = true
		return
	}
	l.m.Hangup(now, sessionID, wire.Result{Code: wire.CallResultAdministrative})
	l.m.Stop(now)
}

// change changes what the Gate guards.
func (l *l2tpLine) change(f func(d *l2tpCall)) {
	l.c.cfg.Gate.Lock()
	defer l.c.cfg.Gate.Unlock()
	f(&l.data)
}

// MPPEReceive implements simppp.Events: L2TP has none here.
func (*l2tpLine) MPPEReceive(mppe.Params) {}

// MPPEOpen implements simppp.Events.
func (*l2tpLine) MPPEOpen(mppe.Params) {}

// MPPEDown implements simppp.Events.
func (*l2tpLine) MPPEDown() {}

// l2tpEvents is what the machine of the tunnel tells the line.
type l2tpEvents l2tpLine

// Started implements siml2tp.Events.
func (e *l2tpEvents) Started(*wire.SCCRP) { e.call = true }

// Answered implements siml2tp.Events.
func (e *l2tpEvents) Answered(_, peerID uint16) {
	(*l2tpLine)(e).change(func(d *l2tpCall) { d.tunnel, d.session = e.m.PeerTunnel(), peerID })
	e.begin = true
}

// Ended implements siml2tp.Events.
func (e *l2tpEvents) Ended(_ uint16, err error) {
	(*l2tpLine)(e).change(func(d *l2tpCall) { *d = l2tpCall{} })
	e.c.end(fmt.Errorf("call: %w", err))
}

// Closed implements siml2tp.Events.
func (e *l2tpEvents) Closed(err error) {
	e.c.end(fmt.Errorf("tunnel: %w", err))
	e.call, e.begin, e.early = false, false, nil
	e.c.hungUp, e.c.last = true, true
}
