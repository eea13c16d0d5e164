package session

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"concentrator/internal/dataplane"
	"concentrator/internal/ppp"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
	"concentrator/internal/tunnel/l2tp"
	wire "concentrator/internal/wire/l2tp"
)

// l2tpPort is ours, RFC 2661 section 8.1.
const l2tpPort = wire.Port

// lns is the Manager as the L2TP server sees it.
type lns struct{ m *Manager }

var _ l2tp.Handler = lns{}

// tunnelName is what a client calls its tunnel, and what we call it. Two tunnels that only local tells apart are one
// client's: it has died and come back.
type tunnelName struct {
	peer  l2tp.Peer
	port  uint16
	name  uint16 // the client's tunnel ID
	local uint16 // ours
}

// carrierOf begins the carrier of what comes from a peer.
func carrierOf(p l2tp.Peer) carrier {
	c := carrier{protocol: tenant.ProtocolL2TP, local: p.Local(), remote: p.Remote(), waits: true}
	switch p := p.(type) {
	case *ipsecPeer:
		p = p.now()
		c.protocol, c.listener, c.proven, c.peer = tenant.ProtocolL2TPIPsec, p.face.name, p.tenant, p
	case plainPeer:
		c.listener = p.face.name
	}
	return c
}

// Tunnel implements l2tp.Handler.
func (h lns) Tunnel(p l2tp.Peer, r l2tp.TunnelRequest) l2tp.TunnelAnswer {
	c := carrierOf(p)
	refuse := func(tenantName string, result uint16, reason tenant.Reason, detail string) l2tp.TunnelAnswer {
		h.m.recordLogin(LoginAttempt{
			Tenant: tenantName, Time: time.Now(), Protocol: c.protocol, ClientAddress: c.remote,
			Stage: tenant.StageL2TPTunnel, Outcome: OutcomeRefused, Reason: reason, Detail: detail,
		})
		return l2tp.TunnelAnswer{Result: result}
	}
	if h.m.closing() {
		return refuse(c.proven, wire.StopResultShutdown, tenant.ReasonDraining, "the server shuts down")
	}
	if h.m.draining.Load() {
		return refuse(c.proven, wire.StopResultShutdown, tenant.ReasonDraining, drained)
	}
	secret, tenantName, err := h.m.tunnelSecret(&c)
	if no := (*refusal)(nil); errors.As(err, &no) {
		return refuse(tenantName, wire.StopResultNotAuthorized, no.reason, no.detail)
	}
	if err != nil {
		return refuse(tenantName, wire.StopResultGeneralError, tenant.ReasonProtocolError, err.Error())
	}
	if c.peer != nil {
		c.peer.tunnelOpened()
	} else {
		p.(plainPeer).face.tunnel(p.(plainPeer), 1)
	}
	h.m.reach(tenantName, c.protocol, c.remote, tenant.StageL2TPTunnel)
	h.m.log.Debug("L2TP tunnel", telemetry.Tenant, tenantName, telemetry.Peer, c.remote, telemetry.Listener, c.listener,
		telemetry.Tunnel, r.LocalTunnel, telemetry.Detail, printable(r.HostName+" "+r.Vendor))
	return l2tp.TunnelAnswer{Secret: secret}
}

// tunnelSecret says what a client must prove before its tunnel opens: the secret of the tenant that IKE has proved or,
// outside IPsec, of the tenant that the listener means.
func (m *Manager) tunnelSecret(c *carrier) (secret tenant.Secret, tenantName string, err error) {
	if c.proven != "" {
		t, err := store.Shared[store.Tenant](m.cfg.Store, c.proven)
		if err != nil {
			return nil, c.proven, fmt.Errorf("read %s: %w", c.proven, err)
		}
		return t.L2TPTunnelSecret, t.Name, nil
	}
	e, err := m.enter(c)
	if err != nil {
		return nil, "", err
	}
	if e.tenant != nil {
		secret, tenantName = e.tenant.L2TPTunnelSecret, e.tenant.Name
	}
	if len(e.methods) == 0 {
		return nil, tenantName, &refusal{reason: tenant.ReasonPlaintextNotAllowed, detail: e.nothing}
	}
	if e.tenant != nil {
		return secret, tenantName, nil
	}
	// No tenant is known before the user: then all that may be meant must have the same secret.
	for _, t := range e.meant {
		if !bytes.Equal(t.L2TPTunnelSecret, e.meant[0].L2TPTunnelSecret) {
			return nil, "", &refusal{
				reason: tenant.ReasonTunnelSecretMismatch,
				detail: "the tenants of " + c.listener + " have different tunnel secrets; it needs a default tenant for L2TP outside IPsec",
			}
		}
	}
	return e.meant[0].L2TPTunnelSecret, "", nil
}

// IncomingCall implements l2tp.Handler.
func (h lns) IncomingCall(tc l2tp.Call, r l2tp.CallRequest) l2tp.Answer {
	c := carrierOf(r.Peer)
	c.tunnel, c.client = tc, r.HostName
	c.name = tunnelName{peer: r.Peer, port: r.Port, name: r.PeerTunnel, local: r.LocalTunnel}
	var d Datagrams
	var via Peer
	switch p := r.Peer.(type) {
	case *ipsecPeer:
		c.name.peer, via = c.peer, c.peer.plane
	case plainPeer:
		d = p.face.datagrams()
	}
	s, no := h.m.open(c, dataplane.CallSpec{
		Local: c.local.Addr(), Remote: c.remote.Addr(),
		L2TP: &dataplane.L2TPSpec{Port: r.Port, LocalTunnel: r.LocalTunnel, PeerTunnel: r.PeerTunnel, PeerSession: r.PeerSession},
	}, func(spec dataplane.CallSpec) (Call, error) { return h.m.cfg.Plane.OpenL2TPCall(via, d, spec) })
	if no != nil {
		result := map[refusedCall]uint16{
			callFailed: wire.CallResultGeneralError, callBusy: wire.CallResultTemporary, callNotAccepted: wire.CallResultAdministrative,
		}[no.kind]
		a := l2tp.Answer{Result: result}
		if no.kind == callFailed {
			a.ErrorCode = wire.ErrorVendor
		}
		return a
	}
	return l2tp.Answer{SessionID: s.call.ID()}
}

// Connected implements l2tp.Handler.
func (h lns) Connected(id uint16, r l2tp.Connect) {
	if s := h.m.byID(id); s != nil {
		s.tell(event{connected: &r})
	}
}

// proxied is what a LAC has settled with the user already, RFC 2661 section 4.4.5. The L2TP server hands out a CHAP login
// only of a LAC that has proved to know the tunnel secret.
func proxied(r *l2tp.Connect) ppp.Proxy {
	p := ppp.Proxy{LastSent: r.LastSentLCP, LastReceived: r.LastReceivedLCP}
	a := r.ProxyAuthentication
	switch a.Type {
	case wire.ProxyAuthenPAP:
		p.Auth = &ppp.ProxyAuth{PAP: true, Name: a.Name, ID: a.ID, Password: tenant.Secret(a.Response)}
	case wire.ProxyAuthenCHAP:
		p.Auth = &ppp.ProxyAuth{Name: a.Name, ID: a.ID, Challenge: a.Challenge, Response: a.Response}
	}
	return p
}

// CallClosed implements l2tp.Handler.
func (h lns) CallClosed(id uint16, cause tenant.Reason, detail string) {
	h.m.callClosed(id, cause, detail)
}

// Refused implements l2tp.Handler.
func (h lns) Refused(p l2tp.Peer, stage tenant.Stage, reason tenant.Reason, detail string) {
	c := carrierOf(p)
	if c.peer != nil {
		c.peer.tell(stage)
	}
	h.m.recordLogin(LoginAttempt{
		Tenant: c.proven, Time: time.Now(), Protocol: c.protocol, ClientAddress: c.remote,
		Stage: stage, Outcome: OutcomeRefused, Reason: reason, Detail: detail,
	})
}

// Moved implements l2tp.Handler.
func (h lns) Moved(l2tp.Peer, uint16, uint16) {}

// TunnelClosed implements l2tp.Handler.
func (h lns) TunnelClosed(p l2tp.Peer, _ uint16) {
	switch p := p.(type) {
	case *ipsecPeer:
		p.tunnelClosed()
	case plainPeer:
		p.face.tunnel(p, -1)
	}
}

// superseded lists the sessions that the same client has left behind in an older tunnel, as its tunnel IDs show.
func (m *Manager) superseded(s *session) (out []*session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	mine := s.carrier.name
	if mine.peer == nil {
		return nil
	}
	for _, o := range m.byPeer[mine.peer] {
		theirs := o.carrier.name
		if theirs.port == mine.port && theirs.name == mine.name && theirs.local != mine.local {
			out = append(out, o)
		}
	}
	return out
}
