package session

import (
	"math"
	"net/netip"
	"time"

	"concentrator/internal/tunnel/l2tp"
)

// plainPeer is an L2TP peer outside IPsec: one UDP address and port at a listener. Equal values are one peer.
type plainPeer struct {
	face   *udpFace
	local  netip.Addr
	remote netip.AddrPort
}

var _ l2tp.Peer = plainPeer{}

// Send implements l2tp.Peer. The peer's port is the one that it is known by.
func (p plainPeer) Send(_ uint16, msg []byte) {
	p.face.datagrams().SendPlainL2TP(p.local, p.remote, msg)
}

// NewTunnelID implements l2tp.Peer. The tunnel's shard means nothing: session IDs choose theirs.
func (p plainPeer) NewTunnelID() (uint16, error) { return p.face.m.cfg.Plane.NewTunnelID(-1) }

// FreeTunnelID implements l2tp.Peer.
func (p plainPeer) FreeTunnelID(id uint16) { p.face.m.cfg.Plane.FreeTunnelID(id) }

// Remote implements l2tp.Peer.
func (p plainPeer) Remote() netip.AddrPort { return p.remote }

// Local implements l2tp.Peer.
func (p plainPeer) Local() netip.AddrPort { return netip.AddrPortFrom(p.local, l2tpPort) }

// Plain implements l2tp.Peer.
func (plainPeer) Plain() bool { return true }

// Idle implements l2tp.Peer: nobody counts what such a peer sends, so its tunnels say HELLO whenever they are silent.
func (plainPeer) Idle() time.Duration { return math.MaxInt64 }
