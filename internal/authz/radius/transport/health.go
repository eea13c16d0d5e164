package transport

import (
	"net/netip"
	"time"

	"concentrator/internal/telemetry"
)

// statusPatience is after how many dead times a live request tries a server that answered Status-Server once, but has
// not done so since it died: its administrator may have turned that off.
const statusPatience = 10

// health is whether a port answers. It is guarded by port.mu.
//
// A port dies when a request has used up its tries, or its context's time after at least one timeout, and no other request
// was answered meanwhile; and when no socket to it can be opened. It comes back with any answer to a live request, or to a
// Status-Server. Live requests come to a dead port if nobody else is left to ask, and one at a time as a trial: after the
// dead time where Status-Server is not answered, or is answered by a server that answers nothing else.
type health struct {
	state      State
	since      time.Time
	died       chan struct{} // closed when the state becomes Dead, replaced when that ends
	due        time.Time     // Dead: when a trial may come
	diedAt     time.Time     // Dead: when it was last found so
	trial      bool          // a trial is under way
	probing    bool          // the goroutine of probes runs
	tells      bool          // a Status-Server was answered once
	hollow     bool          // it came back by a Status-Server and has answered no live request since
	distrusted bool          // it was hollow when it died again: its answers to Status-Server mean nothing
	lastAnswer time.Time     // to a live request
	rtt        time.Duration // smoothed
	lastErr    string
	lookupErr  string // why the name could not be looked up the last time
	lastErrAt  time.Time
}

func newHealth() health {
	return health{state: Unknown, since: time.Now(), died: make(chan struct{})}
}

// claim says whether a request may come to p, and whether it is a trial, which endTrial must follow. died is closed when p
// is found dead while a request that is no trial is under way.
func (p *port) claim() (ok, trial bool, died <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != Dead {
		return true, false, p.died
	}
	now := time.Now()
	if p.trial || now.Before(p.due) {
		return false, false, nil
	}
	dead := p.s.cfg.Load().DeadTime
	if p.tells && !p.distrusted && now.Before(p.diedAt.Add(statusPatience*dead)) {
		return false, false, nil // a probe will say when
	}
	p.trial = true
	return true, true, nil
}

// endTrial follows a trial, whatever came of it.
func (p *port) endTrial() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trial = false
}

func (p *port) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state == Dead
}

// answered follows a good reply to a live request.
func (p *port) answered(k *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heardFrom(k)
	p.lastAnswer = time.Now()
	p.hollow, p.distrusted = false, false
	p.revive(k.remote)
}

// told follows a good reply to a Status-Server.
func (p *port) told(k *conn) {
	p.stats.probeAnswers.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heardFrom(k)
	p.tells = true
	if p.state == Dead && !p.distrusted {
		p.hollow = true
		p.revive(k.remote)
	}
}

// heardFrom follows the first genuine packet on k. p.mu is held.
func (p *port) heardFrom(k *conn) {
	if !k.heard {
		k.heard = true
		p.pause = 0
	}
}

// revive makes p Alive. p.mu is held.
func (p *port) revive(remote netip.AddrPort) {
	if p.state == Alive {
		return
	}
	if p.state == Dead {
		p.died = make(chan struct{})
		p.s.log().Info("radius server answers again", telemetry.Address, remote)
	}
	p.state, p.since = Alive, time.Now()
}

// failed follows a live request, begun at start, that has waited in vain for as long as it should.
func (p *port) failed(start time.Time, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure(detail)
	if p.lastAnswer.After(start) {
		return
	}
	p.die(detail)
	// A connection may be what is broken, and a name may point elsewhere by now.
	if cfg := p.s.cfg.Load(); cfg.named || cfg.Transport == TLS {
		p.retireBefore(start)
	}
}

func (p *port) failure(detail string) { p.lastErr, p.lastErrAt = detail, time.Now() }

// die makes p Dead because of detail, or keeps it so. p.mu is held.
func (p *port) die(detail string) {
	now := time.Now()
	p.failure(detail)
	p.due = now.Add(p.s.cfg.Load().DeadTime)
	if p.state == Dead {
		return
	}
	p.stats.deaths.Add(1)
	p.distrusted = p.hollow
	p.hollow = false
	p.state, p.since, p.diedAt = Dead, now, now
	close(p.died)
	p.s.log().Warn("radius server does not answer", telemetry.Detail, detail)
	if !p.probing && !p.closed {
		p.probing = true
		p.running.Go(p.probe)
	}
}

// sample smooths a round-trip time (RFC 6298 section 2.3).
func (p *port) sample(rtt time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rtt == 0 {
		p.rtt = rtt
		return
	}
	p.rtt += (rtt - p.rtt) / 8
}

func (p *port) snapshot() PortHealth {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := PortHealth{
		Purposes: p.purposes, State: p.state, Since: p.since, RTT: p.rtt, Sockets: len(p.conns), LastAnswer: p.lastAnswer,
		LastError: p.lastErr, LastErrorAt: p.lastErrAt,
		LookupError: p.lookupErr, Stats: p.stats.snapshot(),
	}
	if p.last.IsValid() {
		h.Address = netip.AddrPortFrom(p.last, uint16(p.number)).String()
	}
	return h
}
