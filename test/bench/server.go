package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"concentrator/internal/dataplane"
	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/gre"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/dataplane/steer"
)

// Ports of the server.
const (
	portL2TP = 1701
	portNATT = 4500
)

// server is a dataplane with a network and the sockets of all protocols, on the outer network of a lab.
type server struct {
	lab  *lab
	d    *dataplane.Dataplane
	net  *dataplane.Network
	udp  *dataplane.Datagrams
	next int // number of the next session

	outer, client, inner string // parts of the lab
}

// device is the name of the TUN device.
const device = "vpn0"

// newServer starts a dataplane in parts of the lab of its own, whose names end in tag.
func newServer(l *lab, tag string, cfg dataplane.Config) (*server, error) {
	s := &server{lab: l, outer: "srv" + tag, client: "cli" + tag, inner: "net" + tag}
	if err := l.outer(s.outer, s.client); err != nil {
		return nil, err
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	var err error
	if s.d, err = dataplane.Start(cfg); err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *server) open() error {
	if err := s.d.OpenGRE(s.lab.ns(s.outer)); err != nil {
		return err
	}
	var err error
	if s.udp, err = s.d.OpenDatagrams(dataplane.DatagramSpec{
		Namespace: s.lab.ns(s.outer), Address: netip.MustParseAddr(serverAddr), IPsec: true, Plain: true, Sink: deaf{},
	}); err != nil {
		return err
	}
	s.net, err = s.d.OpenNetwork(dataplane.NetworkSpec{
		Tenant: "bench", Namespace: s.lab.ns(s.inner), Device: device,
		Gateways: []netip.Addr{netip.MustParseAddr(gatewayAddr)},
		Routes:   []netip.Prefix{netip.MustParsePrefix(poolPrefix)},
	})
	return err
}

// close gives everything back.
func (s *server) close() error {
	var errs []error
	if s.net != nil {
		errs = append(errs, s.net.Close())
	}
	if s.udp != nil {
		errs = append(errs, s.udp.Close())
	}
	s.d.Stop()
	return errors.Join(errs...)
}

// deaf is a sink for what nobody here sends.
type deaf struct{}

func (deaf) IKE(_, _ netip.AddrPort, _ []byte)            {}
func (deaf) PlainL2TP(netip.Addr, netip.AddrPort, []byte) {}
func (deaf) Control(uint16, []byte)                       {}
func (deaf) Stray(_, _ uint16)                            {}
func (deaf) Moved(netip.AddrPort)                         {}
func (deaf) SAUsed(uint32)                                {}
func (deaf) SALimit(uint32, bool)                         {}
func (deaf) Broken(string)                                {}

// session is an open session and both its ends.
type session struct {
	path path
	call *dataplane.Call
	peer *dataplane.Peer
	id   uint16 // the client's call or session ID
	gate *gate
	far  *far
	addr netip.Addr  // inner
	port uint16      // the client's UDP port; 0 with GRE
	back *esp.Params // of the SA towards the client; nil without ESP
}

// firstPort is the UDP port of the first session's client.
const firstPort = 20000

// opened makes a session of a path. change, unless nil, changes what it is to be.
func (s *server) opened(p path, change func(*dataplane.SessionSpec)) (*session, error) {
	n := s.next
	s.next++
	x := &session{path: p, gate: newGate(), addr: netip.AddrFrom4([4]byte{10, 50, byte(1 + n/250), byte(1 + n%250)})}
	if p.serverPort() != 0 {
		x.port = uint16(firstPort + n)
	}
	x.far = &far{path: p}
	local, remote := netip.MustParseAddr(serverAddr), netip.MustParseAddr(clientAddr)
	x.id = callID(n)
	spec := dataplane.CallSpec{Namespace: s.lab.ns(s.outer), Local: local, Remote: remote, PeerCallID: x.id, Sink: x.gate}
	var err error
	switch p.carrier {
	case plainL2TP:
		spec.L2TP = &dataplane.L2TPSpec{Datagrams: s.udp, Port: x.port}
	case espInUDP, rawESP:
		if err = s.secure(x, netip.AddrPortFrom(remote, x.port)); err != nil {
			return nil, err
		}
		spec.L2TP = &dataplane.L2TPSpec{Peer: x.peer, Port: portL2TP}
	case pptp:
	}
	if spec.L2TP != nil {
		shard := -1
		if x.peer != nil {
			shard = x.peer.Shard()
		}
		if x.far.tunnel, err = s.d.NewTunnelID(shard); err != nil {
			return nil, err
		}
		spec.L2TP.LocalTunnel, spec.L2TP.PeerTunnel, spec.L2TP.PeerSession = x.far.tunnel, uint16(1+n), x.id
	}
	if x.call, err = s.d.OpenCall(spec); err != nil {
		return nil, err
	}
	x.far.session = x.call.ID()
	attach := dataplane.SessionSpec{Address: x.addr, MTU: innerLen}
	if p.carrier == pptp {
		attach.RequireMPPE = true
		x.call.SetDecrypt(p.mppeParams(useUp))
		x.call.SetEncrypt(p.mppeParams(useDown))
		x.far.gre = gre.NewSession(x.call.ID(), pktbuf.NewPool(gre.Window))
		x.far.mppe, x.far.scratch = mppe.NewSender(p.mppeParams(useUp)), mppe.NewScratch()
	}
	if change != nil {
		change(&attach)
	}
	if err := x.call.Attach(s.net, attach); err != nil {
		return nil, err
	}
	x.call.SetOpen(true)
	x.call.Counters() // returns when the shard has done all that
	return x, nil
}

// callID is the client's call ID of session n. Its low bits name the client's only shard, so that our own sockets can be the
// client's too.
func callID(n int) uint16 { return uint16(1+n) << steer.ShardBits }

// secure gives the session a peer with a pair of SAs.
func (s *server) secure(x *session, remote netip.AddrPort) (err error) {
	if remote.Port() == 0 {
		remote = netip.AddrPortFrom(remote.Addr(), 500)
	}
	x.peer, err = s.d.OpenPeer(dataplane.PeerSpec{
		Datagrams: s.udp, Local: netip.MustParseAddr(serverAddr), Remote: remote, Shard: s.next, Sink: deaf{},
	})
	if err != nil {
		return err
	}
	return s.rekey(x)
}

// rekey gives the session a new pair of SAs, by which both ends send from now on.
func (s *server) rekey(x *session) error {
	peer := x.peer
	spi, err := peer.NewSPI()
	if err != nil {
		return err
	}
	in, back := x.path.espParams(spi, useUp), x.path.espParams(0x1000+uint32(s.next), useDown)
	if err := peer.AddSA(dataplane.SASpec{In: in, Out: back, Encap: x.path.carrier == espInUDP}); err != nil {
		return err
	}
	peer.UseSA(spi)
	x.back = &back
	x.far.sa, err = esp.NewOutbound(in)
	return err
}

// passed is how many packets of these sessions have passed, both ways.
func (s *server) passed(sessions []*session) (n uint64) {
	calls := make([]*dataplane.Call, len(sessions))
	for i, x := range sessions {
		calls[i] = x.call
	}
	for _, k := range s.d.Counters(calls) {
		n += k.InPackets + k.OutPackets
	}
	return n
}

// drops says what the shards have dropped so far.
func (s *server) drops() string {
	sum := map[string]uint64{}
	for _, st := range s.d.ShardStats() {
		for word, n := range st.Drops.Map() {
			sum[word] += n
		}
	}
	return fmt.Sprint(sum)
}

// settle waits until every shard is idle, so that what was done to them is not measured.
func (s *server) settle() { time.Sleep(20 * time.Millisecond) }
