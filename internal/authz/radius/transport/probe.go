package transport

import (
	"context"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc3162"
)

// probesPerDeadTime is how many Status-Servers a dead server gets in one dead time.
const probesPerDeadTime = 3

// probe sends Status-Servers while p is dead (RFC 5997 section 4.1: one at a time, and never the same again).
func (p *port) probe() {
	timer := time.NewTimer(p.probePause())
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-p.s.ended.Done():
			return
		}
		if p.probesEnd() {
			return
		}
		begun := time.Now()
		p.status()
		if p.probesEnd() {
			return
		}
		timer.Reset(p.probePause() - time.Since(begun))
	}
}

func (p *port) probePause() time.Duration {
	return shorten(p.s.cfg.Load().DeadTime/probesPerDeadTime, random())
}

// probesEnd ends the probes once p is dead no more.
func (p *port) probesEnd() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == Dead && !p.s.retired.Load() {
		return false
	}
	p.probing = false
	return true
}

// status sends one Status-Server and waits for its answer, which receive takes note of.
func (p *port) status() {
	timer := time.NewTimer(p.s.cfg.Load().Timeout)
	defer timer.Stop()
	a := &attempt{more: func() bool { return false }}
	x, err := p.begin(context.Background(), statusServer(), timer.C, a)
	if err != nil {
		return // opened has noted it
	}
	defer p.withdraw(x)
	p.stats.probes.Add(1)
	if err := p.send(x); err != nil {
		return
	}
	timer.Reset(p.s.cfg.Load().Timeout)
	p.await(context.Background(), x.done, x.conn.gone, timer.C, a)
}

// statusPacket says who asks. Its attributes are those that RFC 5997 section 3 recommends.
func statusPacket(t Target) *radius.Packet {
	m := &radius.Packet{}
	if t.NASIdentifier != "" {
		m.Add(rfc2865.NASIdentifier_Type, radius.Attribute(t.NASIdentifier))
	}
	switch {
	case t.LocalAddr.Is4():
		m.Add(rfc2865.NASIPAddress_Type, t.LocalAddr.AsSlice())
	case t.LocalAddr.Is6():
		m.Add(rfc3162.NASIPv6Address_Type, t.LocalAddr.AsSlice())
	}
	return m
}
