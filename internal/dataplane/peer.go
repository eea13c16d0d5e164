package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/telemetry"
)

// PeerSpec describes one end of IPsec SAs: a client, or several that share its identity, address and port.
type PeerSpec struct {
	Datagrams *Datagrams     // the listener's sockets that it came by
	Local     netip.Addr     // the address of ours that it uses
	Remote    netip.AddrPort // with its IKE port, which is also the one of its ESP in UDP
	Shard     int            // that is to carry it, modulo their number
	Sink      PeerSink
}

// PeerSink takes what a peer's packets bring for the control side. It is called on the shard's thread: it must not block
// and must not call what waits for a shard.
type PeerSink interface {
	// Control is given each L2TP control message, with the UDP port inside the SA that it came from. msg is the sink's.
	Control(port uint16, msg []byte)
	// Stray says, at most once a second, that data came for a tunnel of another peer: the client behind this one may be
	// that one, come by another port.
	Stray(port, tunnelID uint16)
	// Moved says that a NAT has given the peer another mapping, proved by a packet of a valid SA.
	Moved(remote netip.AddrPort)
	// SAUsed says that the first valid packet has come by an SA.
	SAUsed(spi uint32)
	// SALimit says that an SA has nearly (or, if hard, altogether) used up the octets or packets of its lifetime. spi is the
	// inbound one of the pair, whichever direction it was.
	SALimit(spi uint32, hard bool)
	// Broken says that the peer has been taken out of its shard with all its SAs, as Sink.Broken does of a call. Close it.
	Broken(detail string)
}

// SASpec is a pair of SAs.
type SASpec struct {
	In, Out esp.Params
	Encap   bool // ESP in UDP, RFC 3948
}

// Peer is an IPsec peer on its shard. Its methods are safe for concurrent use.
type Peer struct {
	d     *Dataplane
	shard *shard
	peer  *peer // belongs to the shard
	raw   *face // of its namespace

	mu     sync.Mutex // guards all below
	closed bool
	spis   []uint32 // given out
}

// OpenPeer makes a peer without an SA.
func (d *Dataplane) OpenPeer(spec PeerSpec) (*Peer, error) {
	local, remote, err := ends(spec.Local, spec.Remote)
	if err != nil {
		return nil, err
	}
	g := spec.Datagrams
	if g == nil || g.natt == nil || spec.Sink == nil || spec.Shard < 0 {
		return nil, fmt.Errorf("%w: a peer needs IPsec's sockets, a sink and a shard", ErrSpec)
	}
	s := d.shards[spec.Shard%len(d.shards)]
	return &Peer{d: d, shard: s, raw: g.esp[s.id], peer: &peer{
		local: local, remote: remote, port: spec.Remote.Port(), raw: g.esp[s.id], udp: g.natt[s.id], sink: spec.Sink,
		lastInbound: int64(time.Since(s.epoch)), strayed: -strayInterval,
	}}, nil
}

// Shard is the shard that carries the peer.
func (p *Peer) Shard() int { return p.shard.id }

// push leaves a command of the peer to its shard.
func (p *Peer) push(f func(*shard)) { p.shard.inbox.pushFor(blame{peer: p.peer}, f) }

// do is push that waits. Errors as of shard.do.
func (p *Peer) do(f func(*shard)) error { return p.shard.doFor(blame{peer: p.peer}, f) }

// NewSPI gives out an SPI for an SA towards us.
func (p *Peer) NewSPI() (uint32, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0, ErrClosed
	}
	spi, err := p.d.newSPI(p.shard.id)
	if err == nil {
		p.spis = append(p.spis, spi)
	}
	return spi, err
}

// FreeSPI gives back an SPI, whether it came to an SA or not; the pair that it names is taken out first.
func (p *Peer) FreeSPI(spi uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.freeSPI(spi)
}

func (p *Peer) freeSPI(spi uint32) {
	i := slices.Index(p.spis, spi)
	if i < 0 {
		return
	}
	p.spis = slices.Delete(p.spis, i, i+1)
	p.admit(spi, false)
	_ = p.do(func(s *shard) { s.removeSA(spi) }) // after Stop there is nothing to remove
	p.d.freeSPI(spi)
}

// admit lets raw ESP with an SPI in, or no longer.
func (p *Peer) admit(spi uint32, yes bool) {
	if err := p.raw.sock.Admit(spi, yes); err != nil {
		p.d.log.Error("can't set the filter for an SPI", telemetry.Shard, p.shard.id, telemetry.Error, err)
	}
}

// AddSA installs a pair of SAs. The SPI of the one towards us came from NewSPI and names the pair: the peer may use it as
// soon as this returns. Nothing leaves by the other before UseSA, or the peer's first valid packet by this pair, unless
// there is a later one.
func (p *Peer) AddSA(spec SASpec) error {
	in, err := esp.NewInbound(spec.In)
	if err != nil {
		return fmt.Errorf("SA %#x from the peer: %w", spec.In.SPI, err)
	}
	out, err := esp.NewOutbound(spec.Out)
	if err != nil {
		return fmt.Errorf("SA %#x to the peer: %w", spec.Out.SPI, err)
	}
	spi := spec.In.SPI
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	if !slices.Contains(p.spis, spi) {
		return fmt.Errorf("%w: SPI %#x was not given to this peer", ErrSpec, spi)
	}
	if err := p.do(func(s *shard) {
		s.addSA(&sa{spi: spi, in: in, out: out, peer: p.peer.now(), encap: spec.Encap})
	}); err != nil {
		return err
	}
	if !spec.Encap {
		p.admit(spi, true)
	}
	return nil
}

// UseSA makes a pair the one that everything to the peer leaves by from now on. One that is not there is no error. It
// doesn't wait.
func (p *Peer) UseSA(spi uint32) {
	p.push(func(s *shard) {
		if a := s.lookupSA(spi); a != nil && a.peer == p.peer.now() {
			s.leaveBy(a)
		}
	})
}

// SetRemote says where the peer is now. It doesn't wait.
func (p *Peer) SetRemote(remote netip.AddrPort) {
	if !remote.Addr().Is4() {
		return
	}
	p.push(func(*shard) {
		q := p.peer.now()
		q.remote, q.port = remote.Addr().As4(), remote.Port()
	})
}

// NewTunnelID gives out an L2TP tunnel ID that carries the peer's shard; Dataplane.FreeTunnelID takes it back.
func (p *Peer) NewTunnelID() (uint16, error) { return p.d.NewTunnelID(p.shard.id) }

// SendControl sends an L2TP control message from our port 1701 to the peer's, through its SA. It takes msg over and
// doesn't wait.
func (p *Peer) SendControl(port uint16, msg []byte) {
	p.push(func(s *shard) { s.sendPeerControl(p.peer, port, msg) })
}

// keepalive is a NAT-keepalive packet, RFC 3948 section 2.3.
var keepalive = []byte{0xff}

// Keepalive keeps the mapping of a NAT before us open. It doesn't wait.
func (p *Peer) Keepalive() {
	p.push(func(s *shard) {
		if q := p.peer.now(); !q.removed {
			if m := s.enqueue(q.udp, nil); m != nil {
				m.Data, m.From, m.To, m.Port = keepalive, q.local, q.remote, q.port
			}
		}
	})
}

// Idle is how long the peer has sent nothing valid by any SA; since it was opened if it never has.
func (p *Peer) Idle() time.Duration {
	var idle time.Duration
	_ = p.do(func(s *shard) { idle = time.Duration(int64(time.Since(s.epoch)) - p.peer.now().lastInbound) })
	return idle
}

// Merge makes everything of p into's: SAs, sessions, where it is. Both must be of one shard. Calls for p that are still
// under way reach into; p is closed by its owner as any other.
func (p *Peer) Merge(into *Peer) error {
	if p.shard != into.shard || p.raw != into.raw || p == into {
		return fmt.Errorf("%w: peers of shards %d and %d can't be merged", ErrSpec, p.shard.id, into.shard.id)
	}
	p.d.merging.Lock()
	defer p.d.merging.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	into.mu.Lock()
	defer into.mu.Unlock()
	if p.closed || into.closed {
		return ErrClosed
	}
	into.spis = append(into.spis, p.spis...)
	p.spis, p.closed = nil, true
	return p.do(func(s *shard) { s.merge(p.peer, into.peer) })
}

// Close takes the peer with its SAs out of its shard. Its sessions can't send any more; close them first.
func (p *Peer) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	for _, spi := range p.spis {
		p.admit(spi, false)
	}
	_ = surely(func() error { return p.do(func(s *shard) { s.removePeer(p.peer) }) }) // after Stop there is nothing to remove
	for _, spi := range p.spis {
		p.d.freeSPI(spi)
	}
	p.spis = nil
}
