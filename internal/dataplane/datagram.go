package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
)

// UDP ports: RFC 2408 section 2.5.1, RFC 3947 section 4 and RFC 2661 section 8.1.
const (
	portIKE  = 500
	portNATT = 4500
	portL2TP = 1701
)

// DatagramSpec says what one address is to hear.
type DatagramSpec struct {
	Namespace string     // that exists; "" is the daemon's own
	Address   netip.Addr // IPv4; 0.0.0.0 is every one
	// IPsec opens UDP 500 and 4500, and raw ESP of the namespace. UDP 1701 is open in any case.
	IPsec bool
	// Plain hands out L2TP that comes outside an SA. Without it such packets are dropped and counted.
	Plain bool
	Sink  DatagramSink
}

// DatagramSink takes what comes for the control side. It is called on shards' threads: it must not block and must not
// call what waits for a shard. Messages are the sink's.
type DatagramSink interface {
	// IKE is given each IKE message, without the marker of port 4500. local is the address that the peer used, with the
	// port 500 or 4500.
	IKE(local, remote netip.AddrPort, msg []byte)
	// PlainL2TP is given each L2TP control message that came outside an SA.
	PlainL2TP(local netip.Addr, remote netip.AddrPort, msg []byte)
}

// Datagrams are a listener's UDP sockets, one of each port for each shard. Its methods are safe for concurrent use.
type Datagrams struct {
	d         *Dataplane
	namespace string
	ike, natt []*face // by shard; nil without IPsec
	plain     []*face
	esp       []*face // of the namespace
	closed    bool    // guarded by Dataplane.opening
}

// OpenDatagrams opens an address for L2TP, with or without IPsec.
func (d *Dataplane) OpenDatagrams(spec DatagramSpec) (*Datagrams, error) {
	if !spec.Address.Is4() || spec.Sink == nil {
		return nil, fmt.Errorf("%w: UDP needs an IPv4 address and a sink", ErrSpec)
	}
	d.opening.Lock()
	defer d.opening.Unlock()
	g := &Datagrams{d: d, namespace: spec.Namespace}
	open := func(kind faceKind, port uint16) (faces []*face, err error) {
		if faces, err = d.openUDP(spec, kind, port); err != nil {
			err = fmt.Errorf("open UDP %s:%d: %w", spec.Address, port, err)
		}
		return faces, err
	}
	var err error
	g.plain, err = open(faceL2TP, portL2TP)
	if err == nil && spec.IPsec {
		if g.esp, err = d.openRaw(faceESP, spec.Namespace); err != nil {
			err = fmt.Errorf("open ESP: %w", err)
		}
		if err == nil {
			g.natt, err = open(faceNATT, portNATT)
		}
		if err == nil {
			g.ike, err = open(faceIKE, portIKE)
		}
	}
	if err != nil {
		return nil, errors.Join(err, g.close())
	}
	d.mu.Lock()
	d.datagrams[g] = struct{}{}
	d.mu.Unlock()
	return g, nil
}

// openUDP opens one port for all shards. Dataplane.opening must be held.
func (d *Dataplane) openUDP(spec DatagramSpec, kind faceKind, port uint16) ([]*face, error) {
	d.mu.Lock()
	stopped := d.stopped
	d.lastIndex++
	index := d.lastIndex
	d.mu.Unlock()
	if stopped {
		return nil, ErrStopped
	}
	socks, err := d.opener.OpenUDP(spec.Namespace, netip.AddrPortFrom(spec.Address, port), len(d.shards))
	if err != nil {
		return nil, err
	}
	var faces []*face
	for _, sock := range socks {
		faces = append(faces, &face{kind: kind, index: index, udp: sock, sink: spec.Sink, plain: spec.Plain})
	}
	if err := d.watchFaces(faces); err != nil {
		return nil, err
	}
	return faces, nil
}

// Close lets go of the sockets. Peers that came by them can neither send nor be heard any more.
func (g *Datagrams) Close() error {
	g.d.opening.Lock()
	defer g.d.opening.Unlock()
	if g.closed {
		return nil
	}
	g.d.mu.Lock()
	stopped := g.d.stopped
	delete(g.d.datagrams, g)
	g.d.mu.Unlock()
	if stopped {
		return ErrStopped // Stop closes, or has closed, the sockets
	}
	return g.close()
}

func (g *Datagrams) close() error {
	g.closed = true
	var errs []error
	for _, faces := range [][]*face{g.ike, g.natt, g.plain} {
		if faces != nil {
			errs = append(errs, g.d.unwatchFaces(faces))
			g.d.closeFaces(faces)
		}
	}
	if g.esp != nil {
		errs = append(errs, g.d.closeRaw(faceESP, g.namespace))
	}
	return errors.Join(errs...)
}

// SetPlain changes DatagramSpec.Plain. It doesn't wait.
func (g *Datagrams) SetPlain(on bool) {
	for i, f := range g.plain {
		g.d.shards[i].inbox.push(func(*shard) { f.plain = on })
	}
}

// SendIKE sends an IKE message from local, whose port is 500 or 4500, to remote. It takes msg over and doesn't wait.
func (g *Datagrams) SendIKE(local, remote netip.AddrPort, msg []byte) {
	faces := g.ike
	if local.Port() == portNATT {
		faces, msg = g.natt, markerOf(msg)
	}
	g.send(faces, local.Addr(), remote, msg)
}

// SendPlainL2TP sends an L2TP control message from UDP port 1701 of local. It takes msg over and doesn't wait.
func (g *Datagrams) SendPlainL2TP(local netip.Addr, remote netip.AddrPort, msg []byte) {
	g.send(g.plain, local, remote, msg)
}

// send spreads the peers over the shards; what goes to one of them keeps its order.
func (g *Datagrams) send(faces []*face, local netip.Addr, remote netip.AddrPort, msg []byte) {
	from, to, err := ends(local, remote)
	if err != nil || faces == nil {
		return
	}
	i := (int(to[3]) + int(remote.Port())) % len(faces)
	g.d.shards[i].inbox.push(func(s *shard) {
		m := s.enqueue(faces[i], nil)
		if m == nil {
			return
		}
		m.Data, m.From, m.To, m.Port = msg, from, to, remote.Port()
		if faces[i].kind == faceL2TP {
			for at := range s.controlTaps {
				s.controlTaps[at].sent(m)
			}
		}
	})
}
