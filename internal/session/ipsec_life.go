package session

import (
	"fmt"
	"time"

	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

const (
	// tunnelTimeout is how long a peer may go without an L2TP tunnel, from IKE's end and again from its first child.
	tunnelTimeout = time.Minute
	// emptyGrace is how long tunnels outlive the last SA of their peer: a client may be making new ones.
	emptyGrace = 10 * time.Second
	// idlePeerTimeout is how long a peer that has no tunnel any more may be silent until its SAs are deleted.
	idlePeerTimeout = 5 * time.Minute
)

// life is where a peer stands between its first SA and its end. It is guarded by ipsecPeer.mu.
type life struct {
	closed    bool         // it is over; SAs of the same client make a new peer
	freed     bool         // the plane's part is closed
	child     bool         // it has had a child
	tunnel    bool         // it has had a tunnel
	told      tenant.Stage // at which its failure has been recorded already
	empty     bool         // no SA is left
	open      int          // tunnels that were accepted and are not closed
	reason    tenant.Reason
	detail    string
	timer     *time.Timer
	round     int // of timer: what an older round leaves behind does nothing
	keepalive *time.Timer
}

// arm sets the peer's one timer. mu must be held.
func (p *ipsecPeer) arm(d time.Duration, f func()) {
	p.disarm()
	round := p.life.round
	p.life.timer = time.AfterFunc(d, func() {
		p.mu.Lock()
		due := !p.life.closed && p.into == nil && p.life.round == round
		p.mu.Unlock()
		if due {
			f()
		}
	})
}

func (p *ipsecPeer) disarm() {
	if p.life.timer != nil {
		p.life.timer.Stop()
		p.life.timer = nil
	}
	p.life.round++
}

// wait arms what the peer waits for now. mu must be held.
func (p *ipsecPeer) wait() {
	switch l := &p.life; {
	case l.closed || p.into != nil:
		p.disarm()
	case l.empty && l.open == 0:
		p.arm(0, p.lost)
	case l.empty:
		p.arm(emptyGrace, p.lost)
	case !l.tunnel:
		p.arm(tunnelTimeout, p.noTunnel)
	case l.open == 0:
		p.arm(idlePeerTimeout, p.noTunnelAnyMore)
	default:
		p.disarm()
	}
}

// established notes that IKE has proved the peer, perhaps once more. It says no if the peer's life is over.
func (p *ipsecPeer) established() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life.closed || p.into != nil {
		return false
	}
	p.held[p] = struct{}{}
	if p.life.timer == nil || p.life.empty {
		p.life.empty = false
		p.wait()
	}
	if p.nat.Local && p.life.keepalive == nil {
		p.life.keepalive = time.AfterFunc(keepaliveInterval, p.keepalive)
	}
	return true
}

// keepalive reminds the NAT before us of the peer, RFC 3948 section 4.
func (p *ipsecPeer) keepalive() {
	p.mu.Lock()
	over := p.life.closed || p.into != nil
	if !over {
		p.life.keepalive.Reset(keepaliveInterval)
	}
	p.mu.Unlock()
	if !over {
		p.plane.Keepalive()
	}
}

// hasChild notes that the peer has a child.
func (p *ipsecPeer) hasChild() {
	p.mu.Lock()
	first, remote := !p.life.child, p.path.Remote
	p.life.child = true
	if first || p.life.empty {
		p.life.empty = false
		p.wait()
	}
	p.mu.Unlock()
	if first {
		p.m.reach(p.tenant, tenant.ProtocolL2TPIPsec, remote, tenant.StageIKEQuickMode)
	}
}

// tunnelOpened notes that a tunnel of the peer was accepted.
func (p *ipsecPeer) tunnelOpened() {
	p = p.lock()
	defer p.mu.Unlock()
	p.life.tunnel = true
	p.life.open++
	p.wait()
}

// tunnelClosed notes that a tunnel that was accepted is gone.
func (p *ipsecPeer) tunnelClosed() {
	p = p.lock()
	defer p.mu.Unlock()
	if p.life.open--; p.life.open == 0 {
		p.wait()
	}
}

// Empty implements ikev1.Peer.
func (p *ipsecPeer) Empty(reason tenant.Reason, detail string) {
	gone := p
	p = p.lock()
	defer p.mu.Unlock()
	delete(p.held, gone)
	if reason == tenant.ReasonInstanceLimit {
		p.life.told = tenant.StageIKEQuickMode // the engine has refused it after all
	}
	if len(p.held) == 0 {
		p.life.empty, p.life.reason, p.life.detail = true, reason, detail
		p.wait()
	}
}

// lost ends a peer whose SAs are gone. One that never had a tunnel is a login that was given up.
func (p *ipsecPeer) lost() {
	p.mu.Lock()
	detail := fmt.Sprintf("the client's security associations are gone (%s: %s)", p.life.reason, p.life.detail)
	gaveUp := !p.life.tunnel
	p.mu.Unlock()
	if p.end(tenant.ReasonLostCarrier, detail) && gaveUp && !p.m.closing() {
		p.refused(tenant.ReasonLostCarrier, detail)
	}
}

// refused records that the peer's login has failed before its first tunnel, unless that is known.
func (p *ipsecPeer) refused(reason tenant.Reason, detail string) {
	p.mu.Lock()
	stage, remote := tenant.StageIKEQuickMode, p.path.Remote
	if p.life.child {
		stage = tenant.StageL2TPTunnel
	}
	known := p.life.told == stage
	p.mu.Unlock()
	if known {
		return
	}
	p.m.recordLogin(LoginAttempt{
		Tenant: p.tenant, Time: time.Now(), Protocol: tenant.ProtocolL2TPIPsec, ClientAddress: remote,
		Stage: stage, Outcome: OutcomeRefused, Reason: reason, Detail: detail + "; " + p.identity,
	})
}

// tell notes that the peer's failure at a stage has been recorded.
func (p *ipsecPeer) tell(stage tenant.Stage) {
	p = p.lock()
	defer p.mu.Unlock()
	p.life.told = stage
}

// noTunnel ends a peer that has made SAs and then nothing: a login that failed.
func (p *ipsecPeer) noTunnel() {
	p.mu.Lock()
	detail := fmt.Sprintf("IPsec is up, but no L2TP tunnel came within %s", tunnelTimeout)
	if !p.life.child {
		detail = fmt.Sprintf("the client has made no ESP SA within %s", tunnelTimeout)
	}
	p.mu.Unlock()
	if p.drop(tenant.ReasonPeerTimeout, detail) {
		p.refused(tenant.ReasonPeerTimeout, detail)
	}
}

// noTunnelAnyMore ends a peer that has hung up and gone without deleting its SAs. One that still sends keeps them for
// another call.
func (p *ipsecPeer) noTunnelAnyMore() {
	if idle := p.plane.Idle(); idle < idlePeerTimeout {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.life.open == 0 && !p.life.empty && !p.life.closed {
			p.arm(idlePeerTimeout-idle, p.noTunnelAnyMore)
		}
		return
	}
	p.drop(tenant.ReasonIdleTimeout, "no tunnel any more and no traffic")
}

// drop ends the peer and deletes its SAs on both sides. It says whether the peer's life was not over before. What the
// engine then says of SAs that go is no news any more.
func (p *ipsecPeer) drop(reason tenant.Reason, detail string) bool {
	holding := p.holding()
	first := p.end(reason, detail)
	for _, h := range holding {
		p.m.ike.Drop(h, reason)
	}
	return first
}

// end is the peer's end, once, which it says. Its tunnels end with it; the plane's part goes when the last of them has.
func (p *ipsecPeer) end(reason tenant.Reason, detail string) bool {
	p.mu.Lock()
	if p.life.closed {
		p.mu.Unlock()
		return false
	}
	p.life.closed = true
	p.m.peers.ending.Add(1)
	defer p.m.peers.ending.Done()
	p.disarm()
	if p.life.keepalive != nil {
		p.life.keepalive.Stop()
	}
	remote := p.path.Remote
	p.mu.Unlock()
	p.m.peers.remove(p)
	p.m.log.Debug("peer gone", telemetry.Tenant, p.tenant, telemetry.Peer, remote, telemetry.Reason, reason, telemetry.Detail, detail)
	p.m.l2tp.PeerGone(p, reason, detail)
	p.release()
	return true
}

// release closes the plane's part of a peer that has ended, once nothing uses it any more.
func (p *ipsecPeer) release() {
	p.mu.Lock()
	free := p.life.closed && !p.life.freed && len(p.tunnels) == 0
	if free {
		p.life.freed = true
		p.m.peers.ending.Add(1)
		defer p.m.peers.ending.Done()
	}
	p.mu.Unlock()
	if free {
		p.plane.Close()
	}
}
