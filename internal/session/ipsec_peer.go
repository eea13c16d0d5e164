package session

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"concentrator/internal/dataplane"
	"concentrator/internal/dataplane/esp"
	"concentrator/internal/ike/ikev1"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
	"concentrator/internal/tunnel/l2tp"
	"concentrator/internal/wire/esphdr"
)

// What is around the inner packet of an L2TP session, facts of RFC 2661 section 3.1 and RFC 1661 section 2: our data
// headers carry Length, or with sequence numbers Ns and Nr too, and PPP has address, control and a protocol field of two
// octets.
const (
	l2tpHeader          = 8
	l2tpSequencedHeader = 12
	pppHeader           = 4
)

// keepaliveInterval is how often a NAT before us is reminded of the mapping, RFC 3948 section 4.
const keepaliveInterval = 20 * time.Second

// ipsecPeer is one IPsec peer: a tenant's client at one outer address and port. The IKE engine installs SAs through it,
// the L2TP server sends through it, and the dataplane tells it what comes in. Its SAs and tunnels come and go; the peer
// is the same as long as it has any.
//
// A peer that was merged into another stands for that one: everything that is still said to it reaches into.
type ipsecPeer struct {
	m        *Manager
	face     *udpFace
	tenant   string // resource name
	identity string // ikev1.Identity.String
	subject  bool   // a certificate has proved the identity, not a key that several share
	plane    Peer

	// sas serialises what changes SAs. It is held over calls that wait for the shard, so it is never taken on a shard's
	// thread. It is taken before mu.
	sas      sync.Mutex
	children []*ikev1.Child // oldest first; guarded by sas

	controls atomic.Int32 // messages that wait for the errand goroutine

	mu      sync.Mutex // guards all below; held over no call
	into    *ipsecPeer // merged into that one
	path    ikev1.Path
	nat     ikev1.NAT
	current *ikev1.Child        // the one that packets to the peer leave by; nil: none
	tunnels map[uint16]struct{} // tunnel IDs that it was given and that are not free yet
	// held are the peers under which the engine has SAs that are this one's: itself, and those merged into it for as long
	// as the engine has not taken notice.
	held  map[*ipsecPeer]struct{}
	moved netip.AddrPort // where the dataplane has seen it last, until an errand has taken it; zero: taken
	life  life
}

var (
	_ ikev1.Peer         = (*ipsecPeer)(nil)
	_ l2tp.Peer          = (*ipsecPeer)(nil)
	_ dataplane.PeerSink = (*ipsecPeer)(nil)
)

// lock locks the mu of the peer that stands for p today, and returns it.
func (p *ipsecPeer) lock() *ipsecPeer {
	for {
		p.mu.Lock()
		if p.into == nil {
			return p
		}
		into := p.into
		p.mu.Unlock()
		p = into
	}
}

// now follows merges to the peer that stands for p today.
func (p *ipsecPeer) now() *ipsecPeer {
	p = p.lock()
	defer p.mu.Unlock()
	return p
}

// lockSAs locks the SAs of the peer that stands for p today, and returns it.
func (p *ipsecPeer) lockSAs() *ipsecPeer {
	for {
		p = p.now()
		p.sas.Lock()
		if p.now() == p {
			return p
		}
		p.sas.Unlock()
	}
}

// NewSPI implements ikev1.Peer.
func (p *ipsecPeer) NewSPI() (uint32, error) {
	p = p.lockSAs()
	defer p.sas.Unlock()
	return p.plane.NewSPI()
}

// FreeSPI implements ikev1.Peer.
func (p *ipsecPeer) FreeSPI(spi uint32) {
	p = p.lockSAs()
	defer p.sas.Unlock()
	p.plane.FreeSPI(spi)
}

// How much one SA may carry by a cipher whose blocks have 64 bits, in octets: long before blocks repeat by chance, which
// tells about what they hold.
const (
	soft3DES = 1 << 30
	hard3DES = 2 << 30
)

// specOf is a child as the dataplane knows it.
func specOf(c *ikev1.Child) dataplane.SASpec {
	soft, hard := c.SoftBytes, c.HardBytes
	if c.Encryption == esphdr.TripleDES {
		lower := func(limit *uint64, most uint64) {
			if *limit == 0 || *limit > most {
				*limit = most
			}
		}
		lower(&soft, soft3DES)
		lower(&hard, hard3DES)
	}
	direction := func(spi uint32, key, authKey tenant.Secret) esp.Params {
		return esp.Params{
			SPI: spi, Encryption: c.Encryption, Key: key, Integrity: c.Integrity, AuthKey: authKey, ESN: c.ESN,
			SoftBytes: soft, HardBytes: hard,
		}
	}
	return dataplane.SASpec{
		In:    direction(c.InboundSPI, c.InboundKey, c.InboundAuthKey),
		Out:   direction(c.OutboundSPI, c.OutboundKey, c.OutboundAuthKey),
		Encap: c.UDPEncap,
	}
}

// AddInbound implements ikev1.Peer. The other direction is installed with it: the shard uses it as soon as the client's
// first packet shows that the client has it too.
func (p *ipsecPeer) AddInbound(c *ikev1.Child) error {
	p = p.lockSAs()
	defer p.sas.Unlock()
	err := p.plane.AddSA(specOf(c))
	c.WipeKeys()
	if err != nil {
		return err
	}
	p.children = append(p.children, c)
	p.hasChild()
	return nil
}

// UseOutbound implements ikev1.Peer.
func (p *ipsecPeer) UseOutbound(c *ikev1.Child) {
	p = p.lockSAs()
	defer p.sas.Unlock()
	p.useOutbound(c)
}

// useOutbound wants sas.
func (p *ipsecPeer) useOutbound(c *ikev1.Child) {
	p.plane.UseSA(c.InboundSPI)
	p.mu.Lock()
	changed := p.current == nil || suiteOf(p.current) != suiteOf(c)
	p.current = c
	p.mu.Unlock()
	if changed {
		p.m.carrierChanged(p)
	}
}

// Remove implements ikev1.Peer.
func (p *ipsecPeer) Remove(c *ikev1.Child) {
	p = p.lockSAs()
	defer p.sas.Unlock()
	p.children = slices.DeleteFunc(p.children, func(have *ikev1.Child) bool { return have == c })
	p.plane.FreeSPI(c.InboundSPI)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == c {
		p.current = nil // the engine names another one, if there is any
	}
}

// Move implements ikev1.Peer.
func (p *ipsecPeer) Move(path ikev1.Path) {
	p = p.now()
	p.plane.SetRemote(path.Remote)
	p.m.peers.move(p, path)
}

// Idle implements ikev1.Peer and l2tp.Peer.
func (p *ipsecPeer) Idle() time.Duration { return p.now().plane.Idle() }

// SADown implements ikev1.Peer. Children live on without an ISAKMP SA, so nothing happens.
func (p *ipsecPeer) SADown(_ ikev1.SAID, reason tenant.Reason, detail string) {
	p.m.log.Debug("ISAKMP SA gone", telemetry.Tenant, p.tenant, telemetry.Peer, p.Remote(),
		telemetry.Reason, reason, telemetry.Detail, detail)
}

// Send implements l2tp.Peer.
func (p *ipsecPeer) Send(port uint16, msg []byte) { p.now().plane.SendControl(port, msg) }

// NewTunnelID implements l2tp.Peer.
func (p *ipsecPeer) NewTunnelID() (uint16, error) {
	id, err := p.plane.NewTunnelID()
	if err != nil {
		return 0, err
	}
	p = p.lock()
	defer p.mu.Unlock()
	p.tunnels[id] = struct{}{}
	return id, nil
}

// FreeTunnelID implements l2tp.Peer.
func (p *ipsecPeer) FreeTunnelID(id uint16) {
	p = p.lock()
	delete(p.tunnels, id)
	p.mu.Unlock()
	p.m.cfg.Plane.FreeTunnelID(id)
	p.release()
}

// Remote implements l2tp.Peer.
func (p *ipsecPeer) Remote() netip.AddrPort { return p.where().Remote }

// Local implements l2tp.Peer.
func (p *ipsecPeer) Local() netip.AddrPort { return p.where().Local }

func (p *ipsecPeer) where() ikev1.Path {
	p = p.lock()
	defer p.mu.Unlock()
	return p.path
}

// Plain implements l2tp.Peer.
func (*ipsecPeer) Plain() bool { return false }

// Control implements dataplane.PeerSink on the shard's thread.
func (p *ipsecPeer) Control(port uint16, msg []byte) {
	p.m.errands.control(&p.controls, maxPeerControls, func() { p.m.peers.receive(p.now(), port, msg) })
}

// Moved implements dataplane.PeerSink on the shard's thread. A NAT that moves a peer with every packet makes one errand,
// not many.
func (p *ipsecPeer) Moved(remote netip.AddrPort) {
	p = p.lock()
	waiting := p.moved.IsValid()
	p.moved = remote
	p.mu.Unlock()
	if waiting {
		return
	}
	p.m.errands.push(func() {
		p := p.lock()
		path := p.path
		if p.moved.IsValid() {
			path.Remote = p.moved
		}
		p.moved = netip.AddrPort{}
		p.mu.Unlock()
		p.m.peers.move(p, path)
		for _, h := range p.holding() {
			p.m.ike.Moved(h, path.Remote)
		}
	})
}

// Stray implements dataplane.PeerSink on the shard's thread: data has come for a tunnel that is another peer's.
func (p *ipsecPeer) Stray(port, tunnelID uint16) {
	p.m.errands.control(&p.controls, maxPeerControls, func() { p.m.peers.follow(p.now(), port, tunnelID) })
}

// SAUsed implements dataplane.PeerSink on the shard's thread.
func (p *ipsecPeer) SAUsed(spi uint32) {
	p.m.errands.push(func() {
		for _, h := range p.holding() {
			p.m.ike.Used(h, spi)
		}
	})
}

// SALimit implements dataplane.PeerSink on the shard's thread.
func (p *ipsecPeer) SALimit(spi uint32, hard bool) {
	p.m.errands.push(func() {
		for _, h := range p.holding() {
			p.m.ike.Limit(h, spi, hard)
		}
	})
}

// Broken implements dataplane.PeerSink on the shard's thread.
func (p *ipsecPeer) Broken(detail string) {
	p.m.errands.push(func() { p.now().drop(tenant.ReasonLostCarrier, detail) })
}

// holding lists the peers under which the engine may have this peer's SAs.
func (p *ipsecPeer) holding() []*ipsecPeer {
	p = p.lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.held))
}

// suite is what protects a peer's packets: all that a session shows and reckons with.
type suite struct {
	name       string // "AES-256-CBC-SHA1"
	encryption esphdr.Encryption
	integrity  esphdr.Integrity
	encap      bool
}

func suiteOf(c *ikev1.Child) suite {
	key := len(c.OutboundKey) - c.Encryption.SaltLen()
	return suite{esphdr.Name(c.Encryption, key, c.Integrity), c.Encryption, c.Integrity, c.UDPEncap}
}

// suite returns what packets to the peer are protected by; false while there is nothing.
func (p *ipsecPeer) suite() (suite, bool) {
	p = p.lock()
	defer p.mu.Unlock()
	if p.current == nil {
		return suite{}, false
	}
	return suiteOf(p.current), true
}

// natted says whether there is a NAT on the way.
func (p *ipsecPeer) natted() bool {
	p = p.lock()
	defer p.mu.Unlock()
	return p.nat.Detected()
}
