package session

import (
	"fmt"
	"time"

	"concentrator/internal/ike/ikev1"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// ikeHost is the Manager as the IKE engine sees it.
type ikeHost struct{ m *Manager }

var _ ikev1.Host = ikeHost{}

// Send implements ikev1.Host.
func (h ikeHost) Send(p ikev1.Path, msg []byte) {
	if f := h.m.face(p.Listener); f != nil {
		f.datagrams().SendIKE(p.Local, p.Remote, msg)
	}
}

// Policy implements ikev1.Host.
func (h ikeHost) Policy(listener string) *ikev1.Policy {
	if all := h.m.policies.Load(); all != nil {
		return (*all)[listener]
	}
	return nil
}

// Established implements ikev1.Host.
func (h ikeHost) Established(sa ikev1.SA) (ikev1.Peer, error) {
	if sa.Authentication == wireike.AuthPSK {
		h.m.pskUses.used(sa.Tenant, sa.PSK, time.Now())
	}
	f := h.m.face(sa.Path.Listener)
	if f == nil {
		return nil, &ikev1.RefusedError{
			Reason: tenant.ReasonProtocolError, Detail: fmt.Sprintf("%s was closed", sa.Path.Listener),
		}
	}
	if h.m.closing() {
		return nil, &ikev1.RefusedError{Reason: tenant.ReasonDraining, Detail: "the server shuts down"}
	}
	p, err := h.m.peers.established(f, sa)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Refused implements ikev1.Host.
func (h ikeHost) Refused(r ikev1.Refusal) {
	if r.Stage == tenant.StageIKEQuickMode {
		for _, p := range h.m.peers.at(func(p *ipsecPeer) bool { return p.tenant == r.Tenant && p.Remote() == r.Path.Remote }) {
			p.tell(r.Stage)
		}
	}
	detail := r.Detail
	if r.Identity != "" {
		detail += "; " + printable(r.Identity)
	}
	h.m.recordLogin(LoginAttempt{
		Tenant: r.Tenant, Time: time.Now(), Protocol: tenant.ProtocolL2TPIPsec, ClientAddress: r.Path.Remote,
		Stage: r.Stage, Outcome: OutcomeRefused, Reason: r.Reason, Detail: detail,
	})
}

// closing says whether the Manager shuts down.
func (m *Manager) closing() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}
