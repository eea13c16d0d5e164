package ipsec

import (
	"slices"
	"sync"
	"time"

	"concentrator/internal/dataplane/l2tpdata"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
	siml2tp "concentrator/internal/simclient/l2tp"
	simppp "concentrator/internal/simclient/ppp"
	wirel2tp "concentrator/internal/wire/l2tp"
	wireppp "concentrator/internal/wire/ppp"
)

// sessionID is the ID of the one call that a client has, as it gives it.
const sessionID = 1

// link is a client's PPP link in its call.
type link struct {
	mu      sync.Mutex // guards what follows
	m       *simppp.Machine
	timer   *time.Timer
	early   [][]byte // frames that came before the call was known to stand
	tunnel  uint16   // the server's tunnel ID
	session uint16   // the server's session ID; 0: there is no call
	network simppp.Network
	open    bool
	over    bool
	err     error

	data // guarded by the Gate
}

// data is what data messages need.
type data struct {
	up                bool // IP may be sent, and to
	peerTunnel        uint16
	peerSession       uint16
	pfc, acfc         bool
	inbound, outbound *l2tpdata.Sequencer // nil: without sequence numbers
}

// inTurn says whether a data message is not late. Once the server has numbered one we number ours, RFC 2661 section 5.4.
func (d *data) inTurn(h wirel2tp.Header) bool {
	if !h.HasSequence {
		return true
	}
	if d.inbound == nil {
		d.inbound, d.outbound = &l2tpdata.Sequencer{}, &l2tpdata.Sequencer{}
	}
	return d.inbound.Accept(h.Ns) == l2tpdata.OK
}

// maxEarly bounds the frames that wait for the call.
const maxEarly = 16

// message takes an L2TP message of the server in b. sas.in is held.
func (c *Client) message(b *pktbuf.Buf) {
	h, v := l2tpdata.Strip(b)
	switch {
	case v == l2tpdata.Control:
		if t := c.l2tpClient(); t != nil {
			t.Receive(slices.Clone(b.Bytes()))
		}
		return
	case v != l2tpdata.OK, h.TunnelID != c.cfg.L2TP.Start.AssignedTunnelID, h.SessionID != sessionID:
		return
	}
	c.sas.gate.Lock()
	inTurn := c.link.inTurn(h)
	c.sas.gate.Unlock()
	if !inTurn {
		c.lost.Add(1)
		return
	}
	protocol, info, err := wireppp.ParseFrame(b.Bytes())
	if err != nil {
		return
	}
	if protocol == wireppp.ProtocolIPv4 {
		if c.cfg.Received != nil {
			c.cfg.Received(info)
		}
		return
	}
	c.frame(protocol, info, b.Bytes())
}

// frame takes a PPP control frame.
func (c *Client) frame(protocol uint16, info, whole []byte) {
	c.onPPP(func(now time.Time) {
		if c.link.session == 0 {
			if len(c.link.early) < maxEarly {
				c.link.early = append(c.link.early, slices.Clone(whole))
			}
			return
		}
		c.link.m.Receive(now, protocol, info)
	})
}

// onPPP lets f use the machine, then sets the time of the next Tick.
func (c *Client) onPPP(f func(now time.Time)) {
	l := &c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	f(time.Now())
	if l.timer != nil {
		l.timer.Stop()
	}
	if l.m == nil || l.over {
		return
	}
	if d, ok := l.m.Deadline(); ok {
		l.timer = time.AfterFunc(time.Until(d), func() { c.onPPP(func(now time.Time) { l.m.Tick(now) }) })
	}
}

// startPPP begins PPP in a call.
func (c *Client) startPPP(t *siml2tp.Client, call *siml2tp.Call) {
	c.onPPP(func(now time.Time) {
		l := &c.link
		l.tunnel, l.session = t.PeerTunnel(), call.PeerID()
		l.m = simppp.NewMachine(c.cfg.PPP, (*pppEvents)(c))
		l.m.Start(now)
		for _, f := range l.early {
			if protocol, info, err := wireppp.ParseFrame(f); err == nil {
				l.m.Receive(now, protocol, info)
			}
		}
		l.early = nil
	})
}

// stopPPP makes the link dead without a word.
func (c *Client) stopPPP(err error) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.link.end(err)
	c.carry(false)
}

// carry says whether the link carries IP. link.mu is held.
func (c *Client) carry(up bool) {
	c.sas.gate.Lock()
	defer c.sas.gate.Unlock()
	l := &c.link
	l.up, l.peerTunnel, l.peerSession, l.pfc, l.acfc = up, l.tunnel, l.session, l.network.PFC, l.network.ACFC
}

func (l *link) end(err error) {
	if l.over {
		return
	}
	l.over, l.open, l.err = true, false, err
	if l.timer != nil {
		l.timer.Stop()
	}
	if l.m != nil {
		l.m.Close()
	}
}

// sendFrame sends a PPP frame in the call.
func (c *Client) sendFrame(tunnel, session, protocol uint16, pfc, acfc bool, info []byte) error {
	return c.seal(func(b *pktbuf.Buf) bool {
		var head [4]byte
		h := wireppp.AppendHeader(head[:0], protocol, acfc, pfc)
		if !b.SetBytes(info) {
			return false
		}
		copy(b.Prepend(len(h)), h)
		return l2tpdata.Prepend(b, tunnel, session, c.link.outbound)
	})
}

// pppEvents is what the PPP machine tells the Client. It runs within onPPP.
type pppEvents Client

// SendFrame implements simppp.Events. What can't be sent is lost, as on any line.
func (e *pppEvents) SendFrame(protocol uint16, packet []byte) {
	c := (*Client)(e)
	_ = c.sendFrame(c.link.tunnel, c.link.session, protocol, false, false, packet)
}

// Refused implements simppp.Events.
func (e *pppEvents) Refused(err *simppp.AuthError) {
	e.link.err = err
}

// Authenticated implements simppp.Events.
func (e *pppEvents) Authenticated(string) { e.link.err = nil }

// MPPEReceive implements simppp.Events: there is none in ESP.
func (*pppEvents) MPPEReceive(mppe.Params) {}

// MPPEOpen implements simppp.Events.
func (*pppEvents) MPPEOpen(mppe.Params) {}

// MPPEDown implements simppp.Events.
func (*pppEvents) MPPEDown() {}

// Opened implements simppp.Events.
func (e *pppEvents) Opened(n simppp.Network) {
	e.link.network, e.link.open = n, true
	(*Client)(e).carry(true)
	(*Client)(e).update(nil)
}

// NetworkDown implements simppp.Events.
func (e *pppEvents) NetworkDown() {
	e.link.open = false
	(*Client)(e).carry(false)
	(*Client)(e).update(nil)
}

// Finished implements simppp.Events.
func (e *pppEvents) Finished(err error) {
	if e.link.err != nil {
		err = e.link.err
	}
	e.link.end(err)
	(*Client)(e).carry(false)
	(*Client)(e).update(nil)
}
