package plain

import (
	"fmt"
	"time"

	"concentrator/internal/dataplane/mppe"
	simpptp "concentrator/internal/simclient/pptp"
	wire "concentrator/internal/wire/pptp"
)

// pptpLine is a PPTP control connection with one call.
type pptpLine struct {
	pppEvents
	cfg     simpptp.Config
	request wire.OutgoingCallRequest
	m       *simpptp.Machine
	call    bool     // the call is to be asked for
	begin   bool     // PPP is to begin
	stand   bool     // the call stands
	ended   bool     // the call has ended, and so shall the connection
	early   [][]byte // packets that came before the call was known to stand
	data    data
}

// NewPPTP makes a PPTP client that has done nothing yet. request is its call: the call ID in it names the GRE packets that
// are for this client.
func NewPPTP(cfg Config, pptp simpptp.Config, request wire.OutgoingCallRequest) *Client {
	c := newClient(cfg)
	c.line = &pptpLine{pppEvents: pppEvents{c}, cfg: pptp, request: request}
	return c
}

func (l *pptpLine) start(now time.Time) {
	if l.m == nil {
		l.m = simpptp.NewMachine(l.cfg, now, (*pptpEvents)(l))
	}
}

func (l *pptpLine) step(now time.Time) bool {
	switch {
	case l.call:
		l.call = false
		if err := l.m.Call(now, l.request); err != nil {
			l.c.end(fmt.Errorf("call: %w", err))
		}
	case l.begin:
		l.begin = false
		l.c.startPPP(now)
	case l.ended:
		l.ended = false
		l.m.Stop(now)
	case l.stand && len(l.early) > 0:
		early := l.early
		l.early = nil
		for _, b := range early {
			l.receive(now, b)
		}
	default:
		return false
	}
	return true
}

func (l *pptpLine) octets(now time.Time, b []byte) {
	if l.m != nil {
		l.m.Feed(now, b)
	}
}

func (l *pptpLine) broken(now time.Time, err error) {
	if l.m == nil {
		l.c.end(err)
		return
	}
	l.m.Lost(now, err)
}

func (l *pptpLine) tick(now time.Time) {
	if l.m != nil {
		l.m.Tick(now)
	}
	if l.stand {
		l.tickData(now)
	}
}

func (l *pptpLine) deadline() (first time.Time, some bool) {
	if l.m != nil {
		first, some = l.m.Deadline()
	}
	if l.stand {
		if t, ok := l.dataDeadline(); ok && (!some || t.Before(first)) {
			first, some = t, true
		}
	}
	return first, some
}

func (l *pptpLine) flush() {
	if l.m == nil {
		return
	}
	if out := l.m.Output(); len(out) > 0 {
		l.c.cfg.SendOctets(out)
	}
}

// hangUp clears the call and then stops the connection, as clients do.
func (l *pptpLine) hangUp(now time.Time) {
	switch {
	case l.m == nil, l.m.State() == simpptp.Closed:
		l.c.last = true
	case l.stand:
		l.m.Clear(now, l.request.CallID)
	default:
		l.m.Stop(now)
	}
}

// change changes what the Gate guards.
func (l *pptpLine) change(f func(d *data)) {
	l.c.cfg.Gate.Lock()
	defer l.c.cfg.Gate.Unlock()
	f(&l.data)
}

// MPPEReceive implements simppp.Events.
func (l *pptpLine) MPPEReceive(p mppe.Params) {
	l.change(func(d *data) { d.receiver = mppe.NewReceiver(p) })
}

// MPPEOpen implements simppp.Events.
func (l *pptpLine) MPPEOpen(p mppe.Params) { l.change(func(d *data) { d.sender = mppe.NewSender(p) }) }

// MPPEDown implements simppp.Events.
func (l *pptpLine) MPPEDown() { l.change(func(d *data) { d.sender, d.receiver = nil, nil }) }

// pptpEvents is what the machine of the control connection tells the line.
type pptpEvents pptpLine

// Started implements simpptp.Events.
func (e *pptpEvents) Started(wire.StartControlConnectionReply) { e.call = true }

// EchoReplied implements simpptp.Events.
func (*pptpEvents) EchoReplied(uint32) {}

// Answered implements simpptp.Events. A refusal is told by Ended too.
func (e *pptpEvents) Answered(_ uint16, r wire.OutgoingCallReply) {
	if r.Result != wire.ResultConnected {
		return
	}
	e.stand = true
	(*pptpLine)(e).change(func(d *data) { d.begin(r.CallID) })
	e.begin = true
}

// Ended implements simpptp.Events.
func (e *pptpEvents) Ended(_ uint16, err error) {
	e.begin, e.stand, e.ended, e.early = false, false, true, nil
	(*pptpLine)(e).change((*data).end)
	e.c.end(fmt.Errorf("call: %w", err))
	e.c.hungUp = true
}

// Closed implements simpptp.Events.
func (e *pptpEvents) Closed(err error) {
	e.call, e.begin, e.stand, e.ended, e.early = false, false, false, false, nil
	(*pptpLine)(e).change((*data).end)
	e.c.end(fmt.Errorf("control connection: %w", err))
	e.c.hungUp, e.c.last = true, true
}
