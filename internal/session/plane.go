package session

import (
	"context"
	"net"
	"net/netip"

	"concentrator/internal/authz"
	"concentrator/internal/dataplane"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/tunnel/pptp"
)

// Plane is what the conductor needs of the dataplane. Planed wraps the real one.
type Plane interface {
	OpenGRE(namespace string) error
	CloseGRE(namespace string) error
	ListenTCP(namespace string, addr netip.AddrPort) (net.Listener, error)
	OpenNetwork(spec dataplane.NetworkSpec) (Network, error)
	OpenCall(spec dataplane.CallSpec) (Call, error)
	Counters(calls []Call) []dataplane.Counters
	Shards() int
	ShardStats() []dataplane.ShardStats
}

// Network is one tenant's TUN device.
type Network interface {
	Update(spec dataplane.NetworkSpec) error
	Lost() <-chan struct{} // closed when the device was taken from under us
	Close() error
}

// Call is one PPP link in a shard. Its methods may be called from any goroutine and take effect in order.
type Call interface {
	ID() uint16
	Shard() int
	SendControl(protocol uint16, packet []byte)
	SetDecrypt(p mppe.Params)
	SetEncrypt(p mppe.Params)
	ClearMPPE()
	ResetEncrypt()
	Attach(n Network, s dataplane.SessionSpec) error
	SetOpen(open bool)
	Counters() dataplane.Counters
	Close() dataplane.Counters
}

// PPTP is what the conductor needs of the PPTP server.
type PPTP interface {
	Serve(l net.Listener, listener string) error
	Shutdown(ctx context.Context) error
}

// Authenticator is authz's; named here so that tests can bring their own.
type Authenticator = authz.Authenticator

// Planed makes a Plane of the real dataplane.
func Planed(d *dataplane.Dataplane) Plane { return plane{d} }

type plane struct{ *dataplane.Dataplane }

func (p plane) OpenNetwork(spec dataplane.NetworkSpec) (Network, error) {
	n, err := p.Dataplane.OpenNetwork(spec)
	if err != nil {
		return nil, err
	}
	return n, nil
}

func (p plane) OpenCall(spec dataplane.CallSpec) (Call, error) {
	c, err := p.Dataplane.OpenCall(spec)
	if err != nil {
		return nil, err
	}
	return call{c}, nil
}

func (p plane) Counters(calls []Call) []dataplane.Counters {
	real := make([]*dataplane.Call, len(calls))
	for i, c := range calls {
		real[i] = c.(call).Call
	}
	return p.Dataplane.Counters(real)
}

type call struct{ *dataplane.Call }

func (c call) Attach(n Network, s dataplane.SessionSpec) error {
	return c.Call.Attach(n.(*dataplane.Network), s)
}

var _ PPTP = (*pptp.Server)(nil)
