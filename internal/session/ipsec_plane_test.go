package session

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"concentrator/internal/dataplane"
)

// fakeDatagrams are a listener's UDP sockets.
type fakeDatagrams struct {
	p    *fakePlane
	spec dataplane.DatagramSpec // guarded by p.mu

	mu    sync.Mutex
	ike   func(local, remote netip.AddrPort, msg []byte) // where what is sent goes; nil: nowhere
	plain func(local netip.Addr, remote netip.AddrPort, msg []byte)
}

func (p *fakePlane) OpenDatagrams(spec dataplane.DatagramSpec) (Datagrams, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for d := range p.datagrams {
		if d.spec.Namespace == spec.Namespace && d.spec.Address == spec.Address {
			return nil, errors.New("address in use")
		}
	}
	d := &fakeDatagrams{p: p, spec: spec}
	p.datagrams[d] = true
	return d, nil
}

func (d *fakeDatagrams) SendIKE(local, remote netip.AddrPort, msg []byte) {
	d.mu.Lock()
	send := d.ike
	d.mu.Unlock()
	if send != nil {
		send(local, remote, msg)
	}
}

func (d *fakeDatagrams) SendPlainL2TP(local netip.Addr, remote netip.AddrPort, msg []byte) {
	d.mu.Lock()
	send := d.plain
	d.mu.Unlock()
	if send != nil {
		send(local, remote, msg)
	}
}

func (d *fakeDatagrams) SetPlain(on bool) {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	d.spec.Plain = on
}

func (d *fakeDatagrams) Close() error {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	if !d.p.datagrams[d] {
		d.p.t.Error("UDP sockets were closed twice")
	}
	delete(d.p.datagrams, d)
	return nil
}

// datagramsAt returns the open sockets of an address, nil if there are none.
func (p *fakePlane) datagramsAt(addr string) *fakeDatagrams {
	p.mu.Lock()
	defer p.mu.Unlock()
	for d := range p.datagrams {
		if d.spec.Address == netip.MustParseAddr(addr) {
			return d
		}
	}
	return nil
}

// spec of the sockets as it stands now.
func (d *fakeDatagrams) now() dataplane.DatagramSpec {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	return d.spec
}

// fakePeer is an IPsec peer. Like the real one it installs only SPIs that it gave out, and sends only through an SA.
type fakePeer struct {
	p      *fakePlane
	spec   dataplane.PeerSpec
	opened time.Time

	mu      sync.Mutex
	into    *fakePeer
	remote  netip.AddrPort
	spis    map[uint32]bool // true: an SA is installed
	pair    uint32          // that packets to the client leave by; 0: none
	lastIn  time.Time
	control func(port uint16, msg []byte) // where L2TP control messages go; nil: nowhere
	ports   *ports
	sent    int
	alive   int // keepalives
	closed  bool
}

func (p *fakePlane) OpenPeer(d Datagrams, spec dataplane.PeerSpec) (Peer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.datagrams[d.(*fakeDatagrams)] {
		return nil, dataplane.ErrClosed
	}
	peer := &fakePeer{p: p, spec: spec, remote: spec.Remote, opened: time.Now(), lastIn: time.Now(), spis: map[uint32]bool{}}
	p.peers[peer] = true
	return peer, nil
}

func (p *fakePlane) OpenL2TPCall(peer Peer, d Datagrams, spec dataplane.CallSpec) (Call, error) {
	if (peer == nil) == (d == nil) {
		p.t.Error("an L2TP call goes either through a peer or in clear")
	}
	return p.OpenCall(spec)
}

func (p *fakePlane) NewTunnelID(int) (uint16, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nextID++
	p.tunnelIDs[p.nextID] = true
	return p.nextID, nil
}

func (p *fakePlane) FreeTunnelID(id uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.tunnelIDs[id] {
		p.t.Errorf("tunnel ID %d was freed and had not been given out", id)
	}
	delete(p.tunnelIDs, id)
}

// openPeers lists the open peers.
func (p *fakePlane) openPeers() (out []*fakePeer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for peer := range p.peers {
		out = append(out, peer)
	}
	return out
}

// now follows merges, and returns the peer locked.
func (f *fakePeer) lock() *fakePeer {
	for {
		f.mu.Lock()
		if f.into == nil {
			return f
		}
		into := f.into
		f.mu.Unlock()
		f = into
	}
}

func (f *fakePeer) Shard() int { return f.spec.Shard }

func (f *fakePeer) NewSPI() (uint32, error) {
	f.p.mu.Lock()
	f.p.nextSPI++
	spi := f.p.nextSPI
	f.p.mu.Unlock()
	f = f.lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, dataplane.ErrClosed
	}
	f.spis[spi] = false
	return spi, nil
}

func (f *fakePeer) FreeSPI(spi uint32) {
	f = f.lock()
	defer f.mu.Unlock()
	if _, ok := f.spis[spi]; !ok && !f.closed {
		f.p.t.Errorf("SPI %#x was freed and had not been given out", spi)
	}
	delete(f.spis, spi)
	if f.pair == spi {
		f.pair = 0
	}
}

func (f *fakePeer) AddSA(pair dataplane.SASpec) error {
	f = f.lock()
	defer f.mu.Unlock()
	if f.closed {
		return dataplane.ErrClosed
	}
	spi := pair.In.SPI
	if there, ok := f.spis[spi]; !ok || there {
		f.p.t.Errorf("SA %#x: given out %v, installed %v", spi, ok, there)
	}
	f.spis[spi] = true
	return nil
}

func (f *fakePeer) UseSA(spi uint32) {
	f = f.lock()
	defer f.mu.Unlock()
	if f.spis[spi] {
		f.pair = spi
	}
}

func (f *fakePeer) SetRemote(remote netip.AddrPort) {
	f = f.lock()
	defer f.mu.Unlock()
	f.remote = remote
}

func (f *fakePeer) NewTunnelID() (uint16, error) { return f.p.NewTunnelID(f.spec.Shard) }

func (f *fakePeer) SendControl(port uint16, msg []byte) {
	f = f.lock()
	send, pair := f.control, f.pair
	f.sent++
	f.mu.Unlock()
	if send != nil && pair != 0 {
		send(port, slices.Clone(msg))
	}
}

func (f *fakePeer) Keepalive() {
	f = f.lock()
	defer f.mu.Unlock()
	f.alive++
}

func (f *fakePeer) Idle() time.Duration {
	f = f.lock()
	defer f.mu.Unlock()
	return time.Since(f.lastIn)
}

// heard is a valid packet of the client.
func (f *fakePeer) heard() {
	f = f.lock()
	defer f.mu.Unlock()
	f.lastIn = time.Now()
}

func (f *fakePeer) Merge(into Peer) error {
	o := into.(*fakePeer)
	if f.spec.Shard != o.spec.Shard {
		return dataplane.ErrSpec
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	for spi, installed := range f.spis {
		o.spis[spi] = installed
	}
	if f.pair != 0 {
		o.pair = f.pair
	}
	o.remote, o.lastIn = f.remote, f.lastIn
	if f.control != nil {
		o.control, o.ports = f.control, f.ports
	}
	f.into = o
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	delete(f.p.peers, f)
	return nil
}

func (f *fakePeer) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		f.p.t.Error("a peer was closed twice")
	}
	f.closed = true
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	delete(f.p.peers, f)
}

// installed counts the SAs that can be received.
func (f *fakePeer) installed() (n int) {
	f = f.lock()
	defer f.mu.Unlock()
	for _, there := range f.spis {
		if there {
			n++
		}
	}
	return n
}
