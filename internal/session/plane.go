package session

import (
	"context"
	"net"
	"net/netip"
	"time"

	"concentrator/internal/authz"
	"concentrator/internal/dataplane"
	"concentrator/internal/dataplane/capture"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/netio"
	"concentrator/internal/dataplane/policy"
	"concentrator/internal/ike/ikev1"
	"concentrator/internal/tenant"
	"concentrator/internal/tunnel/l2tp"
	"concentrator/internal/tunnel/pptp"
)

// Plane is what the conductor needs of the dataplane. Planed wraps the real one.
type Plane interface {
	OpenGRE(namespace string) error
	CloseGRE(namespace string) error
	ListenTCP(namespace string, addr netip.AddrPort) (net.Listener, error)
	ListenUDP(namespace string, addr netip.AddrPort) (net.PacketConn, error)
	Dial(ctx context.Context, spec netio.DialSpec) (net.Conn, error)
	OpenNetwork(spec dataplane.NetworkSpec) (Network, error)
	// OpenCall opens a PPTP call.
	OpenCall(spec dataplane.CallSpec) (Call, error)
	// OpenL2TPCall opens an L2TP session: in the peer's SAs or, if peer is nil, in clear on UDP 1701 of d. It fills in
	// these two in spec.L2TP.
	OpenL2TPCall(peer Peer, d Datagrams, spec dataplane.CallSpec) (Call, error)
	OpenDatagrams(spec dataplane.DatagramSpec) (Datagrams, error)
	// OpenPeer opens an IPsec peer that came by d, which it fills in.
	OpenPeer(d Datagrams, spec dataplane.PeerSpec) (Peer, error)
	// NewTunnelID gives out an L2TP tunnel ID of a shard; of any if that is negative.
	NewTunnelID(shard int) (uint16, error)
	FreeTunnelID(id uint16)
	Counters(calls []Call) []dataplane.Counters
	// Look looks at a namespace. dataplane.ErrNameless.
	Look(namespace string) (dataplane.Sight, error)
	Shards() int
	ShardStats() []dataplane.ShardStats
}

// Network is one tenant's TUN device.
type Network interface {
	Update(spec dataplane.NetworkSpec) error
	Lost() <-chan struct{} // closed when the device was taken from under us
	// Check says what keeps packets from going by it, and makes good what it can. dataplane.ErrAnew, dataplane.ErrNameless.
	Check() error
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
	SetSequencing(on bool)
	Attach(n Network, s dataplane.SessionSpec) error
	SetOpen(open bool)
	SetPolicy(upBps, downBps uint64, acl *policy.ACL)
	Tap(side dataplane.Side, t *capture.Tap) error
	Untap(t *capture.Tap)
	Counters() dataplane.Counters
	Close() dataplane.Counters
}

// Datagrams are the UDP sockets of a listener.
type Datagrams interface {
	// SendIKE takes msg over and does not wait. Behind local port 4500 it puts the non-ESP marker.
	SendIKE(local, remote netip.AddrPort, msg []byte)
	// SendPlainL2TP takes msg over and does not wait.
	SendPlainL2TP(local netip.Addr, remote netip.AddrPort, msg []byte)
	// SetPlain lets L2TP outside an SA in or not. It does not wait.
	SetPlain(on bool)
	Close() error
}

// Peer is an IPsec peer in its shard. Its methods may be called from any goroutine but a shard's thread, on which only
// SendControl and NewTunnelID may be called.
type Peer interface {
	Shard() int
	NewSPI() (uint32, error)
	FreeSPI(spi uint32) // takes the pair of SAs out first that it names
	AddSA(pair dataplane.SASpec) error
	UseSA(spi uint32)
	SetRemote(remote netip.AddrPort)
	NewTunnelID() (uint16, error)
	SendControl(port uint16, msg []byte) // takes msg over
	Keepalive()
	Idle() time.Duration
	Merge(into Peer) error
	Close()
}

// PPTP is what the conductor needs of the PPTP server.
type PPTP interface {
	Serve(l net.Listener, listener string) error
	Stats() pptp.Stats
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

func (p plane) OpenL2TPCall(peer Peer, d Datagrams, spec dataplane.CallSpec) (Call, error) {
	if peer != nil {
		spec.L2TP.Peer = peer.(planePeer).Peer
	} else {
		spec.L2TP.Datagrams = d.(*dataplane.Datagrams)
	}
	return p.OpenCall(spec)
}

func (p plane) OpenDatagrams(spec dataplane.DatagramSpec) (Datagrams, error) {
	d, err := p.Dataplane.OpenDatagrams(spec)
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (p plane) OpenPeer(d Datagrams, spec dataplane.PeerSpec) (Peer, error) {
	spec.Datagrams = d.(*dataplane.Datagrams)
	peer, err := p.Dataplane.OpenPeer(spec)
	if err != nil {
		return nil, err
	}
	return planePeer{peer}, nil
}

type planePeer struct{ *dataplane.Peer }

func (p planePeer) Merge(into Peer) error { return p.Peer.Merge(into.(planePeer).Peer) }

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

// IKE is what the conductor needs of the IKE engine. None of its methods but Shutdown waits.
type IKE interface {
	Receive(p ikev1.Path, msg []byte)
	Limit(peer ikev1.Peer, inboundSPI uint32, hard bool)
	Used(peer ikev1.Peer, inboundSPI uint32)
	Moved(peer ikev1.Peer, remote netip.AddrPort)
	Merge(from, into ikev1.Peer)
	Drop(peer ikev1.Peer, reason tenant.Reason)
	Stats() ikev1.Stats
	Shutdown(ctx context.Context) error
}

// L2TP is what the conductor needs of the L2TP server. None of its methods but Shutdown waits.
type L2TP interface {
	Welcome(p l2tp.Peer, port uint16, msg []byte) bool
	Receive(p l2tp.Peer, port uint16, msg []byte)
	PeerGone(p l2tp.Peer, cause tenant.Reason, detail string)
	Merge(from, into l2tp.Peer)
	Lookup(id uint16) (p l2tp.Peer, port uint16, ok bool)
	Stats() l2tp.Stats
	Shutdown(ctx context.Context) error
}

var _ PPTP = (*pptp.Server)(nil)
