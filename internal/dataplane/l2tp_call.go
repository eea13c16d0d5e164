package dataplane

import (
	"fmt"
	"net/netip"

	"concentrator/internal/dataplane/l2tpdata"
	"concentrator/internal/dataplane/pktbuf"
)

// L2TPSpec describes an L2TP session. Either Peer or Datagrams is set.
type L2TPSpec struct {
	Peer *Peer // whose SAs carry it
	// Without a Peer the session runs in clear between our UDP port 1701 and the peer's Port.
	Datagrams *Datagrams

	Port        uint16 // the peer's L2TP port, inside the SA or in clear
	LocalTunnel uint16 // tunnel ID that we gave out
	PeerTunnel  uint16 // tunnel and session ID of the peer, RFC 2661 section 3.1
	PeerSession uint16
}

// l2tpCall is the carrier of a call that is an L2TP session. It belongs to the shard.
type l2tpCall struct {
	peer                    *peer
	port                    uint16
	localTunnel             uint16
	peerTunnel, peerSession uint16
	sequence                l2tpdata.Sequencer
	sequenced               bool // towards the peer too
}

// wrap puts the data header before a PPP frame.
func (l *l2tpCall) wrap(b *pktbuf.Buf) bool {
	var seq *l2tpdata.Sequencer
	if l.sequenced {
		seq = &l.sequence
	}
	return l2tpdata.Prepend(b, l.peerTunnel, l.peerSession, seq)
}

// openL2TP makes the call and says on which shard. In an IPsec peer that is the peer's, because its SAs are there; in
// clear the session ID alone chooses, so that one wholesale tunnel fills all shards.
func (d *Dataplane) openL2TP(spec CallSpec) (*Call, error) {
	t := spec.L2TP
	l := &l2tpCall{port: t.Port, localTunnel: t.LocalTunnel, peerTunnel: t.PeerTunnel, peerSession: t.PeerSession}
	on := -1
	switch {
	case t.Peer != nil:
		l.peer, on = t.Peer.peer, t.Peer.shard.id
	case t.Datagrams == nil || t.Datagrams.plain == nil:
		return nil, fmt.Errorf("%w: an L2TP session needs a peer or a UDP port 1701", ErrSpec)
	}
	id, err := d.newID(on)
	if err != nil {
		return nil, err
	}
	s := d.shardOf(id)
	c := &call{id: id, sink: spec.Sink, l2tp: l, local: spec.Local.As4(), remote: spec.Remote.As4()}
	if t.Peer == nil {
		l.peer = &peer{
			plain: true, local: c.local, remote: c.remote, port: t.Port, udp: t.Datagrams.plain[s.id],
		}
	}
	err = s.do(func(s *shard) {
		l.peer = l.peer.now()
		s.addCall(c)
	})
	if err != nil {
		d.freeID(id)
		return nil, err
	}
	return &Call{d: d, shard: s, call: c}, nil
}

// SetSequencing says whether data messages towards the peer carry sequence numbers, as its Sequencing Required AVP wants
// (RFC 2661 section 5.4). It doesn't wait.
func (c *Call) SetSequencing(on bool) {
	c.push(func(*shard) {
		if c.call.l2tp != nil {
			c.call.l2tp.sequenced = on
		}
	})
}

// NewTunnelID gives out a tunnel ID that carries the shard; any shard's where that is negative.
func (d *Dataplane) NewTunnelID(shard int) (uint16, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return 0, ErrStopped
	}
	if shard < 0 {
		shard = 0
		for i, q := range d.tunnelIDs {
			if q.n > d.tunnelIDs[shard].n {
				shard = i
			}
		}
	}
	id, ok := d.tunnelIDs[shard].take()
	if !ok {
		return 0, ErrNoTunnelID
	}
	return id, nil
}

// FreeTunnelID gives back what NewTunnelID gave out.
func (d *Dataplane) FreeTunnelID(id uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tunnelIDs[shardOfID(id)].put(id)
}

// ends returns both outer addresses as the wire has them.
func ends(local netip.Addr, remote netip.AddrPort) (from, to [4]byte, err error) {
	if !local.Is4() || !remote.Addr().Is4() {
		return from, to, fmt.Errorf("%w: outer addresses must be IPv4, not %v and %v", ErrSpec, local, remote)
	}
	return local.As4(), remote.Addr().As4(), nil
}
