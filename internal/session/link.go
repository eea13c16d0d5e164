package session

import (
	"fmt"
	"time"

	"concentrator/internal/authz"
	"concentrator/internal/dataplane"
	"concentrator/internal/dataplane/dhcp"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/ppp"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
	"concentrator/internal/wipe"
)

// mppeOverhead is MPPE's header with the inner protocol, RFC 3078 section 3.
const (
	mppeOverhead  = 4
	minSessionMTU = 68 // RFC 791: every host forwards that without fragmentation
)

// handler is the session as its ppp.Link sees it. All methods run on the session's goroutine, inside a call of the Link.
type handler struct{ *session }

var _ ppp.Handler = handler{}

func (h handler) SendFrame(protocol uint16, packet []byte) { h.call.SendControl(protocol, packet) }

func (h handler) Authenticate(r ppp.AuthRequest) {
	h.update(func(i *Info) {
		i.State, i.AuthMethod, i.User = StateAuthenticating, r.Method, printable(r.Name)
	})
	h.recorded = false
	if r.State == nil { // no further step of the conversation before
		h.setTrace(authz.Trace{})
	}
	h.m.decide(h.session, r)
}

func (h handler) MPPEReceive(p ppp.MPPEParams) {
	wipe.Shallow(func() { h.call.SetDecrypt(h.key(p, h.verdict.keys.Recv)) })
}

func (h handler) MPPEOpen(p ppp.MPPEParams) {
	wipe.Shallow(func() { h.call.SetEncrypt(h.key(p, h.verdict.keys.Send)) })
	h.encrypted = true
	if !h.mustEncrypt {
		h.mustEncrypt = true   // what was encrypted once never goes on in the clear
		if h.attached != nil { // where MPPE is optional, CCP may come after IPCP
			h.attach()
		}
	}
	switch {
	case h.carries:
		h.setupBy = time.Time{}
	case !h.terminated:
		h.setupBy, h.within = time.Now().Add(networkTimeout), networkTimeout
	}
	h.update(func(i *Info) {
		i.Cipher = fmt.Sprintf("MPPE-%d", p.Bits)
		if p.Stateful {
			i.Cipher += "-STATEFUL"
		}
	})
}

func (h handler) MPPEDown() {
	h.encrypted = false
	h.call.ClearMPPE()
	if h.carries && !h.terminated { // CCP alone went down: it may be negotiated anew, but not for ever
		h.setupBy, h.within = time.Now().Add(setupTimeout), setupTimeout
	}
	h.update(func(i *Info) { i.Cipher = "" })
}

func (h handler) MPPEReset() { h.call.ResetEncrypt() }

func (h handler) key(p ppp.MPPEParams, start tenant.Secret) mppe.Params {
	out := mppe.Params{Bits: p.Bits, Stateful: p.Stateful}
	copy(out.StartKey[:], start)
	return out
}

func (h handler) NetworkReady(n ppp.Network) {
	h.attached = &n
	h.attach()
}

// attach makes address, routes and rules of the session live in its shard, or changes them there.
func (h handler) attach() {
	h.setFilter(h.verdict.acl)
	if err := h.install(); err != nil {
		h.log.Error("address not installed", telemetry.Framed, h.attached.Address, telemetry.Error, err)
		h.pending = &ending{tenant.StageAddress, tenant.ReasonPoolExhausted, "the address could not be installed: " + err.Error()}
	}
}

// install is attach's part in the shard.
func (s *session) install() error {
	v, n := s.verdict, s.attached
	inform := v.inform
	inform.Server, inform.Client = n.Local, n.Address
	return s.call.Attach(v.network, dataplane.SessionSpec{
		Address: n.Address, Routes: v.routes, MTU: v.sessionMTU(n.PeerMRU, s.room()),
		PFC: n.PFC, ACFC: n.ACFC, RequireMPPE: s.mustEncrypt || v.mppe.Policy == tenant.MPPERequired,
		UpBps: v.rate.UpBps, DownBps: v.rate.DownBps, ACL: v.acl.rules, DSCP: v.dscp,
		Inform: dhcp.New(inform),
	})
}

// sessionMTU is the largest inner IP packet towards the client: what the peer receives, what the profile allows and
// what fits the link. Where MPPE is optional CCP may open after the address is in place, so room is left for it.
func (g *granted) sessionMTU(peerMRU, room int) int {
	if g.mppe.Policy != tenant.MPPEDisabled {
		// RFC 1661's MRU counts MPPE's header and the encrypted protocol number too.
		peerMRU -= mppeOverhead
		room -= mppeOverhead
	}
	return max(minSessionMTU, min(peerMRU, g.mtu, room))
}

// describe shows what the open session has become: how large its packets are and what protects them.
func (h handler) describe(more func(*Info)) {
	mtu, cipher, nat := h.verdict.sessionMTU(h.attached.PeerMRU, h.room()), h.cipher(), h.peer() != nil && h.peer().natted()
	h.update(func(i *Info) {
		i.MTU, i.NATDetected = mtu, nat
		if !h.encrypted {
			i.Cipher = cipher
		}
		more(i)
	})
}

func (h handler) Opened(n ppp.Network) {
	if h.pending != nil { // the address is not in place: the goodbye follows
		return
	}
	now := time.Now()
	h.call.SetOpen(true)
	h.carries = true
	h.setupBy = time.Time{}
	h.lastData = now
	first := !h.opened
	h.opened = true
	if !h.recorded && h.verdict.sessionTimeout > 0 { // a login anew may shorten what is left, but no client prolongs it so
		if end := now.Add(h.verdict.sessionTimeout); h.expires.IsZero() || end.Before(h.expires) {
			h.expires = end
		}
	}
	anew := h.recorded // CCP was negotiated anew, not the login
	if !anew {
		h.recorded = true
		h.beginAccount(now) // before anybody sees the session open: who has seen it finds its Start, whatever comes
	}
	h.describe(func(i *Info) {
		i.State, i.Address = StateOpen, n.Address
		if first {
			i.StartTime = now
		}
	})
	if first {
		h.m.cfg.Metrics.Opened(string(h.carrier.protocol), now.Sub(h.ticket.started))
	}
	if anew {
		return
	}
	i := h.snapshot()
	h.m.recordLogin(LoginAttempt{
		Tenant: i.Tenant, Time: now, Protocol: i.Protocol, ClientAddress: i.ClientAddress, User: i.User,
		Stage: tenant.StageOpen, Outcome: OutcomeAccepted, Detail: h.verdict.detail, Trace: h.lastTrace(),
	})
	h.traced.End(i.Tenant, string(OutcomeAccepted), string(tenant.StageOpen), "")
	h.log.Info("session open", telemetry.Tenant, i.Tenant, telemetry.User, i.User, telemetry.Framed, i.Address,
		telemetry.Method, i.AuthMethod, telemetry.Cipher, i.Cipher, telemetry.MTU, i.MTU, telemetry.Shard, i.Shard)
}

func (h handler) NetworkDown() {
	h.call.SetOpen(false)
	h.carries = false
	if !h.terminated {
		h.setupBy, h.within = time.Now().Add(setupTimeout), setupTimeout
	}
}

func (h handler) Ident(text string) {
	h.log.Debug("client identified itself", telemetry.Detail, printable(text))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.idents = append(h.idents, printable(text)) // three at most, see ppp.Handler
}

func (h handler) Finished(stage tenant.Stage, reason tenant.Reason, detail string) {
	h.stop(ending{stage, reason, detail})
}
