package dataplane

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/capture"
	"concentrator/internal/dataplane/dhcp"
	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/gre"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/policy"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/ppp"
)

// fuzzProgram is octets that say what is done; when there are no more, all are 0.
type fuzzProgram []byte

func (p *fuzzProgram) byte() byte {
	if len(*p) == 0 {
		return 0
	}
	b := (*p)[0]
	*p = (*p)[1:]
	return b
}

// bytes is a length, of one octet or of two behind 255, and so many octets, or what there is.
func (p *fuzzProgram) bytes() []byte {
	n := int(p.byte())
	if n == 0xff {
		n = int(p.byte())<<8 | int(p.byte())
	}
	n = min(n, len(*p))
	b := (*p)[:n]
	*p = (*p)[n:]
	return b
}

// Bounds of a program.
const (
	maxFuzzSteps    = 128
	maxFuzzSessions = 6
	maxFuzzPeers    = 3
	maxFuzzPast     = 64
)

// pastPacket is one that a client has sent, to be sent again.
type pastPacket struct {
	fuzzPacket
	sealed bool // nobody but the client can have made it
	passed bool
}

// What a program can do. The numbers are in the corpus: append only.
const (
	doCall = iota
	doPeer
	doSA
	doL2TP
	doAttach
	doOpen
	doKeys
	doClose
	doPolicy
	doTap
	doControl
	doNetwork
	doListener
	doWait
	doRaw
	doSend
	doAgain
	doDown
	doDownRaw
	doBreak
	doPeerChange
	doElsewhere
	numDo
)

// step does the next thing that the program says.
func (w *fuzzWorld) step() {
	switch w.program.byte() % numDo {
	case doCall:
		w.openCall()
	case doPeer:
		w.openPeer()
	case doSA:
		w.changeSA()
	case doL2TP:
		w.openL2TP()
	case doAttach:
		w.attach()
	case doOpen:
		if s := w.session(); s != nil {
			s.call.SetOpen(w.program.byte()%4 != 0)
		}
	case doKeys:
		w.changeKeys()
	case doClose:
		w.closeSession()
	case doPolicy:
		w.changePolicy()
	case doTap:
		w.changeTap()
	case doControl:
		w.sendControl()
	case doNetwork:
		w.changeNetwork()
	case doListener:
		w.changeListener()
	case doWait:
		w.wait([]time.Duration{1e6, 5e6, 50e6, 300e6, 1e9, 4e9}[w.program.byte()%6])
		w.turn()
	case doRaw:
		w.sendRaw()
	case doSend:
		w.sendValid()
	case doAgain:
		w.sendAgain()
	case doDown:
		w.sendDown()
	case doDownRaw:
		w.sendDownRaw()
	case doBreak:
		w.breakFace()
	case doPeerChange:
		w.changePeer()
	case doElsewhere:
		w.sendElsewhere()
	}
	w.commands()
}

// session is the one that the next octet names; nil if there is none.
func (w *fuzzWorld) session() *fuzzSession {
	n := int(w.program.byte())
	if len(w.sessions) == 0 {
		return nil
	}
	return w.sessions[n%len(w.sessions)]
}

func (w *fuzzWorld) peer() *fuzzPeer {
	n := int(w.program.byte())
	if len(w.peers) == 0 {
		return nil
	}
	return w.peers[n%len(w.peers)]
}

// newSession is the next session; nil if there are enough.
func (w *fuzzWorld) newSession() *fuzzSession {
	at := len(w.sessions)
	if at == maxFuzzSessions {
		return nil
	}
	return &fuzzSession{w: w, at: at, remote: netip.AddrFrom4([4]byte{203, 0, 113, byte(10 + at)})}
}

func (w *fuzzWorld) openCall() {
	s := w.newSession()
	if s == nil {
		return
	}
	var err error
	w.do(func() {
		s.call, err = w.d.OpenCall(CallSpec{
			Local: addr(serverIP), Remote: s.remote, PeerCallID: uint16(firstPeerCall + s.at), Sink: s,
		})
	})
	if (err == nil) != w.gre {
		w.t.Fatalf("open a call: %v; GRE is open: %v", err, w.gre)
	}
	if err == nil {
		s.gre = gre.NewSession(s.call.ID(), w.pool)
		w.sessions = append(w.sessions, s)
	}
}

func (w *fuzzWorld) openPeer() {
	flags, at := w.program.byte(), len(w.peers)
	if at == maxFuzzPeers || w.g == nil {
		return
	}
	p := &fuzzPeer{w: w, at: at, encap: flags&1 == 0}
	p.remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(100 + at)}), 500)
	if p.encap {
		p.remote = netip.AddrPortFrom(p.remote.Addr(), 61234)
	}
	p.from = p.remote
	w.do(func() {
		var err error
		p.peer, err = w.d.OpenPeer(PeerSpec{
			Datagrams: w.g, Local: addr(serverIP), Remote: p.remote, Shard: int(flags >> 1 & 1), Sink: p,
		})
		if err != nil {
			w.t.Error(err)
		}
	})
	p.live = true
	w.peers = append(w.peers, p)
	w.addSA(p, flags>>2)
}

// addSA makes a pair of SAs, which the flags say more of, and perhaps the one to leave by.
func (w *fuzzWorld) addSA(p *fuzzPeer, flags byte) {
	var spi uint32
	var err error
	w.do(func() { spi, err = p.peer.NewSPI() })
	if !p.live || p.into != nil {
		if err == nil {
			w.t.Fatal("a closed peer gives out SPIs")
		}
		return
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.keys++
	u := fuzzSuites[int(flags)%len(fuzzSuites)]
	up, down := u.params(spi, w.keys), u.params(firstBackSPI+uint32(w.keys), ^w.keys)
	if flags&0x10 != 0 {
		up.SoftPackets, up.HardPackets, down.SoftBytes, down.HardBytes = 2, 5, 1000, 5000
	}
	if flags&0x20 != 0 {
		up.ESN, down.ESN = true, true
	}
	a := &fuzzSA{spi: spi, back: down.SPI}
	if a.seal, err = esp.NewOutbound(up); err != nil {
		w.t.Fatal(err)
	}
	if a.open, err = esp.NewInbound(down); err != nil {
		w.t.Fatal(err)
	}
	p.sas = append(p.sas, a)
	w.do(func() {
		if err := p.peer.AddSA(SASpec{In: up, Out: down, Encap: p.encap}); err != nil {
			w.t.Error(err)
		}
		if flags&8 == 0 {
			p.peer.UseSA(spi)
		}
	})
}

// changeSA makes another pair, or takes one away.
func (w *fuzzWorld) changeSA() {
	p, flags := w.peer(), w.program.byte()
	switch {
	case p == nil:
	case flags&1 == 0:
		w.addSA(p, flags>>1)
	default:
		p = p.now()
		if len(p.sas) == 0 {
			return
		}
		i := int(flags>>1) % len(p.sas)
		a := p.sas[i]
		w.do(func() { p.peer.FreeSPI(a.spi) })
		p.sas = slices.Delete(p.sas, i, i+1)
	}
}

func (w *fuzzWorld) openL2TP() {
	p, flags := w.peer(), w.program.byte()
	s := w.newSession()
	if s == nil || w.g == nil {
		return
	}
	number := uint16(firstPeerCall + s.at)
	l := &L2TPSpec{Port: portL2TP, PeerSession: number, PeerTunnel: number + 1}
	var err error
	w.do(func() {
		if p != nil && flags&1 == 0 {
			s.peer, l.Peer, s.remote = p, p.peer, p.remote.Addr()
			s.local, err = p.peer.NewTunnelID()
		} else {
			s.plain, l.Datagrams = true, w.g
			s.local, err = w.d.NewTunnelID(-1)
		}
		l.LocalTunnel = s.local
		if err == nil {
			s.call, err = w.d.OpenCall(CallSpec{Local: addr(serverIP), Remote: s.remote, L2TP: l, Sink: s})
		}
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.sessions = append(w.sessions, s)
	s.call.SetSequencing(flags&2 != 0)
}

func (w *fuzzWorld) attach() {
	s, flags := w.session(), w.program.byte()
	if s == nil {
		return
	}
	n := w.nets[flags&1]
	spec := SessionSpec{
		Address: addr(s.inner()), MTU: []int{0, 1400, 576, 68}[flags>>1&3], PFC: flags&8 != 0, ACFC: flags&8 != 0,
		RequireMPPE: flags&16 != 0 && s.gre != nil,
	}
	if flags&32 != 0 {
		spec.Routes = []netip.Prefix{netip.PrefixFrom(addr(s.inner()), 24).Masked()}
	}
	if flags&64 != 0 {
		spec.UpBps, spec.DownBps = 80_000, 80_000
	}
	if flags&128 != 0 {
		spec.DSCP = policy.Uniform
		spec.Inform = dhcp.New(dhcp.Config{
			Server: addr("10.50.0.1"), Client: addr(s.inner()), DNS: []netip.Addr{addr("192.0.2.53")},
		})
		spec.ACL = fuzzACL
	}
	var err error
	w.do(func() { err = s.call.Attach(n.Network, spec) })
	switch {
	case err == nil:
		if s.gone() || n.closed {
			w.t.Fatalf("session %d is attached though it (%v) or the network (%v) is gone", s.at, s.gone(), n.closed)
		}
		s.net, s.require = n, spec.RequireMPPE
		s.mayData = s.mayData || !s.require && w.inflight > 0 // what is under way in clear may come in now
		s.sources = policy.NewSources(spec.Address, spec.Routes)
	case !s.gone() && s.net != n:
		s.net = nil // it has left the other
	}
}

// fuzzACL permits and denies a bit of everything.
var fuzzACL = func() *policy.ACL {
	a, err := policy.Compile([]tenant.ACLRule{
		{
			Action: tenant.ACLDeny, Direction: tenant.ACLUp, Protocol: "tcp",
			DestinationPorts: []tenant.PortRange{{First: 25, Last: 25}},
		},
		{Action: tenant.ACLPermit, Direction: tenant.ACLUp, Protocol: "any"},
		{Action: tenant.ACLPermit, Direction: tenant.ACLDown, Protocol: "icmp"},
	})
	if err != nil {
		panic(err)
	}
	return a
}()

func (w *fuzzWorld) changeKeys() {
	s, flags := w.session(), w.program.byte()
	if s == nil || s.gre == nil {
		return
	}
	w.keys++
	p := mppe.Params{
		Bits: []int{128, 128, 56, 40}[flags>>2&3], Stateful: flags&16 != 0, StartKey: [16]byte{w.keys, 1, 2, 3, 4, 5, 6, 7, 8},
	}
	switch flags & 3 {
	case 0:
		s.call.SetDecrypt(p)
		s.encrypt = mppe.NewSender(p)
		p.StartKey[15]++
		fallthrough
	case 1:
		s.call.SetEncrypt(p)
		s.decrypt, s.stateful = mppe.NewReceiver(p), p.Stateful
	case 2:
		s.call.ClearMPPE()
		s.encrypt, s.decrypt = nil, nil
	case 3:
		s.call.ResetEncrypt()
	}
}

func (w *fuzzWorld) closeSession() {
	s := w.session()
	if s == nil {
		return
	}
	var last, again Counters
	w.do(func() {
		last = s.call.Close()
		s.close()
		again = s.call.Close()
	})
	if last != again {
		w.t.Fatalf("closed with %+v, then with %+v", last, again)
	}
	s.net = nil
}

func (w *fuzzWorld) changePolicy() {
	s, flags := w.session(), w.program.byte()
	if s == nil {
		return
	}
	var list *policy.ACL
	if flags&1 != 0 {
		list = fuzzACL
	}
	rates := []uint64{0, 8_000, 800_000, 1e9}
	s.call.SetPolicy(rates[flags>>1&3], rates[flags>>3&3], list)
	s.call.SetSequencing(flags&64 != 0)
}

func (w *fuzzWorld) changeTap() {
	s, flags := w.session(), w.program.byte()
	switch {
	case s == nil:
	case flags&1 == 0 && w.taps < 2:
		w.taps++
		t := capture.New(capture.Limits{Packets: int64(flags >> 3), Snap: 64})
		s.taps = append(s.taps, t)
		w.do(func() {
			if err := s.call.Tap(Side(flags>>1&1), t); err != nil {
				w.t.Error(err)
			}
		})
	case flags&1 == 1 && len(s.taps) > 0:
		t := s.taps[int(flags>>1)%len(s.taps)]
		w.do(func() { s.call.Untap(t) })
	}
}

// sendControl sends what the control side sends.
func (w *fuzzWorld) sendControl() {
	what, s, p := w.program.byte(), w.session(), w.peer()
	msg := append([]byte{0xc8, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, w.program.bytes()...)
	binary.BigEndian.PutUint16(msg[2:], uint16(len(msg)))
	if len(msg) > 1200 {
		return
	}
	to := netip.AddrPortFrom(addr("203.0.113.200"), 500)
	switch what % 5 {
	case 0:
		if s != nil {
			s.call.SendControl([]uint16{ppp.ProtocolLCP, 0x80fd, 0x8021}[what/5%3], msg)
		}
	case 1:
		if p != nil {
			w.control++
			p.peer.SendControl(portL2TP, msg)
		}
	case 2:
		if p != nil {
			w.control++
			p.peer.Keepalive()
		}
	case 3:
		if w.g != nil {
			w.control++
			w.g.SendIKE(netip.AddrPortFrom(addr(serverIP), []uint16{portIKE, portNATT}[what/5%2]), to, msg)
		}
	case 4:
		if w.g != nil {
			w.control++
			w.g.SendPlainL2TP(addr(serverIP), to, msg)
		}
	}
}

func (w *fuzzWorld) changeNetwork() {
	flags := w.program.byte()
	n := w.nets[flags&1]
	switch flags >> 1 % 6 {
	case 0, 1:
		w.do(func() {
			if err := n.Update(fuzzNetSpec(n.at, flags&0x80 != 0)); (err == nil) == n.closed {
				w.t.Errorf("update of a network (closed: %v): %v", n.closed, err)
			}
		})
	case 2:
		if !n.closed {
			n.dev.hangUp = true
			w.turn()
			select {
			case <-n.Lost():
			default:
				w.t.Fatal("nobody is told of a device that is gone")
			}
		}
	case 3:
		w.do(n.close)
	case 4:
		if n.closed {
			w.o.offload = flags&0x80 != 0
			w.do(func() { w.openNet(n.at) })
		}
	case 5:
		w.o.refuse = !w.o.refuse
	}
}

func (n *fuzzNet) close() {
	if n.closed {
		return
	}
	n.w.inflight = 0
	n.closed = true
	if err := n.Close(); err != nil {
		n.w.t.Error(err)
	}
}

func (w *fuzzWorld) changeListener() {
	switch flags := w.program.byte(); {
	case flags%8 == 0:
		w.do(w.closeListener)
	case flags%8 == 1 && w.g == nil:
		w.do(func() { w.openDatagrams(flags&8 != 0) })
	case flags%8 == 2 && !w.gre:
		w.do(func() {
			if err := w.d.OpenGRE(""); err != nil {
				w.t.Error(err)
			}
		})
		w.gre = true
	case w.g != nil:
		w.g.SetPlain(flags&8 != 0)
	}
}

// closeListener closes all faces.
func (w *fuzzWorld) closeListener() {
	if w.g != nil {
		if err := w.g.Close(); err != nil {
			w.t.Error(err)
		}
		w.g = nil
	}
	if w.gre {
		if err := w.d.CloseGRE(""); err != nil {
			w.t.Error(err)
		}
		w.gre = false
	}
}

func (w *fuzzWorld) changePeer() {
	p, what, q := w.peer(), w.program.byte(), w.peer()
	if p == nil {
		return
	}
	switch what % 4 {
	case 0:
		w.do(p.close)
		p.drop()
	case 1:
		p = p.now()
		p.remote = netip.AddrPortFrom(p.remote.Addr(), p.remote.Port()+1)
		if !p.encap {
			p.remote = netip.AddrPortFrom(p.remote.Addr(), 500)
		}
		p.peer.SetRemote(p.remote)
	case 2:
		w.merge(p, q)
	case 3: // its NAT gives it another port
		if p = p.now(); p.encap && p.live {
			p.from = netip.AddrPortFrom(p.from.Addr(), p.from.Port()+1)
		}
	}
}

func (p *fuzzPeer) close() { p.peer.Close() }

// drop notes that the peer was closed.
func (p *fuzzPeer) drop() {
	if p.into == nil {
		p.live, p.sas = false, nil
	}
}

func (w *fuzzWorld) merge(p, into *fuzzPeer) {
	if p.into != nil || into.into != nil || p.encap != into.encap || !p.live {
		return
	}
	var err error
	w.do(func() { err = p.peer.Merge(into.peer) })
	if err != nil {
		return
	}
	p.into = into
	into.sas = append(into.sas, p.sas...)
	into.remote, into.from = p.remote, p.from
	p.sas = nil
}

// arrive puts packets where they come in, and lets the shards read them unless more shall come first.
func (w *fuzzWorld) arrive(hold bool, packets ...fuzzPacket) (through uint64, alone bool) {
	alone = w.inflight == 0
	for _, p := range packets {
		sock := w.o.find(p.kind, p.shard)
		if sock == nil || len(sock.queue) >= 3*batchSize {
			continue
		}
		sock.queue = append(sock.queue, p.fuzzDatagram)
		w.inflight++
		w.silent += mayVanish(p)
	}
	if hold {
		return 0, false
	}
	return w.turn(), alone
}

// mayVanish is 1 for what is taken and neither counted nor handed on: bare acknowledgements, and keepalives of NATs.
func mayVanish(p fuzzPacket) uint64 {
	switch p.kind {
	case faceGRE:
		if len(p.data) >= 22 {
			if at := int(p.data[0]&0xf) * 4; at+2 <= len(p.data) && p.data[at]&0x10 == 0 {
				return 1
			}
		}
	case faceNATT:
		if len(p.data) == 1 {
			return 1
		}
	default:
	}
	return 0
}

// breakFace makes reads or writes fail for a while.
func (w *fuzzWorld) breakFace() {
	flags := w.program.byte()
	if flags&1 == 0 {
		w.o.errno = []unix.Errno{0, unix.ENOBUFS, unix.EPERM, unix.EAGAIN}[flags>>1&3]
		return
	}
	if sock := w.o.find(faceKind(flags>>1%5), int(flags>>5)%fuzzShards); sock != nil {
		sock.broken = []int{1, 50, maxReadErrors, 2}[flags>>6]
		w.turn()
	}
}
