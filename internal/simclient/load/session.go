package load

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"concentrator/internal/simclient/ipsec"
	"concentrator/internal/simclient/plain"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/simclient/traffic"
	"concentrator/internal/tenant"
)

// Session is a client from before its login to after its end. One goroutine at a time may use it, but for Err, Network and
// Send, which any may call.
type Session interface {
	Protocol() tenant.Protocol
	// Connect logs in. HangUp must follow, whatever came of it.
	Connect(ctx context.Context) error
	// HangUp ends what there is in good order, at the latest when ctx ends, and closes the sockets.
	HangUp(ctx context.Context) error
	// Err says why a session that was logged in has ended; nil while it stands. Any goroutine may call it.
	Err() error
	// Network is what PPP agreed on; before that, without an address.
	Network() simppp.Network
	// Send sends an inner packet. It keeps nothing of it.
	Send(packet []byte) error
	// Lend gives the way of the session's packets to package traffic. The Dialer does not read the socket in it from then
	// on until back is called.
	Lend() (p traffic.Path, back func(), err error)
}

// Rebinder is a Session behind a NAT that can forget it.
type Rebinder interface {
	// Rebind makes the session send from another UDP port, without a word, as behind a NAT that has forgotten it. The
	// server's packets to the old one are lost. Any goroutine may call it, but not while the session is lent.
	Rebind() error
}

// Rekeyer is a Session with SAs.
type Rekeyer interface {
	// Rekey makes new SAs: of ESP and of IKE in turn. Any goroutine may call it, but one at a time.
	Rekey(ctx context.Context) error
}

// plainSession is a client of PPTP or L2TP.
type plainSession struct {
	*plain.Client
	protocol tenant.Protocol
	local    netip.Addr   // of PPTP: where its GRE packets go to
	begin    func() error // opens what Connect needs
	end      func()       // closes all sockets
	socket   func() traffic.Socket
	receive  func(port uint16, b []byte)
	dialer   *Dialer
}

// Protocol implements Session.
func (s *plainSession) Protocol() tenant.Protocol { return s.protocol }

// Connect implements Session.
func (s *plainSession) Connect(ctx context.Context) error {
	if err := s.begin(); err != nil {
		return err
	}
	return s.Client.Connect(ctx)
}

// HangUp implements Session.
func (s *plainSession) HangUp(ctx context.Context) error {
	defer s.end()
	return s.Client.HangUp(ctx)
}

// Lend implements Session.
func (s *plainSession) Lend() (traffic.Path, func(), error) {
	p, err := s.Path()
	if err != nil {
		return p, nil, fmt.Errorf("the way of %s: %w", s.protocol, err)
	}
	p.Socket, p.Receive = s.socket(), s.receive
	return p, s.dialer.lend(p.Socket.FD), nil
}

// newPPTP makes a PPTP client that sends from local.
func (d *Dialer) newPPTP(n int, local netip.Addr) (*plainSession, error) {
	gre, err := d.rawSocket(&d.gre, protocolGRE, d.receiveGRE)
	if err != nil {
		return nil, err
	}
	s := &plainSession{protocol: tenant.ProtocolPPTP, local: local, dialer: d}
	call, err := d.reserve()
	if err != nil {
		return nil, err
	}
	var tcp *stream
	pptp, request := d.cfg.pptp(call)
	s.Client = plain.NewPPTP(plain.Config{
		PPP: d.cfg.ppp(n, true), Gate: &d.gate, Received: d.received,
		Send:       func(b []byte) { gre.sendIP(local, d.cfg.Server, protocolGRE, b) },
		SendOctets: func(b []byte) { tcp.write(b) },
	}, pptp, request)
	s.begin = func() error {
		d.register(call, s)
		tcp, err = dialStream(d.poller, local, netip.AddrPortFrom(d.cfg.Server, portPPTP), s.Octets, s.Broken)
		return err
	}
	s.end = func() {
		d.unregister(call)
		if tcp != nil {
			tcp.close()
		}
	}
	s.socket = func() traffic.Socket {
		return traffic.Socket{
			FD: gre.fd, Kind: traffic.SocketGRE, Local: local, Remote: netip.AddrPortFrom(d.cfg.Server, 0), CallID: call,
		}
	}
	s.receive = func(_ uint16, b []byte) { d.receiveGRE(b) }
	return s, nil
}

// newL2TP makes an L2TP client that sends from local.
func (d *Dialer) newL2TP(n int, local netip.Addr) (*plainSession, error) {
	s := &plainSession{protocol: tenant.ProtocolL2TP, dialer: d}
	udp, err := openUDP(netip.AddrPortFrom(local, 0))
	if err != nil {
		return nil, err
	}
	// The server may answer from another port, which counts from then on (RFC 2661 section 8.1).
	var port atomic.Uint32
	port.Store(portL2TP)
	to := func() netip.AddrPort { return netip.AddrPortFrom(d.cfg.Server, uint16(port.Load())) }
	s.Client = plain.NewL2TP(plain.Config{
		PPP: d.cfg.ppp(n, false), Gate: &d.gate, Received: d.received, Send: func(b []byte) { udp.sendTo(to(), b) },
	}, d.cfg.l2tp(d.tunnelID()))
	take := func(from netip.AddrPort, b []byte) {
		if from.Addr() == d.cfg.Server {
			port.Store(uint32(from.Port()))
			s.Receive(b)
		}
	}
	s.begin = func() error { return d.watch(udp, take) }
	s.end = func() { d.unwatch(udp) }
	s.socket = func() traffic.Socket {
		return traffic.Socket{FD: udp.fd, Kind: traffic.SocketUDP, Local: local, Remote: to()}
	}
	s.receive = func(port uint16, b []byte) { take(netip.AddrPortFrom(d.cfg.Server, port), b) }
	return s, nil
}

// ipsecSession is a client of L2TP/IPsec.
type ipsecSession struct {
	*ipsec.Client
	dialer *Dialer
	udp    atomic.Pointer[socket]
	esp    *socket // nil: ESP goes in UDP
	local  netip.Addr

	mu   sync.Mutex // held while udp changes
	gone bool       // udp is closed; guarded by mu

	rekeyed int                                     // how often Rekey was called
	said    atomic.Pointer[context.CancelCauseFunc] // ends the login for what the server says in the clear; nil: there is none
}

// newIPsec makes an L2TP/IPsec client, the one with index i, that sends from local.
func (d *Dialer) newIPsec(i, n int, local netip.Addr) (*ipsecSession, error) {
	s := &ipsecSession{dialer: d, local: local}
	from, own := netip.AddrPortFrom(local, 0), private(i)
	if !d.cfg.NATT {
		var err error
		from, own = netip.AddrPortFrom(local, ipsec.PortIKE), local
		if s.esp, err = d.rawSocket(&d.esp, protocolESP, d.receiveESP); err != nil {
			return nil, err
		}
	}
	udp, err := openUDP(from)
	if err != nil {
		return nil, err
	}
	s.udp.Store(udp)
	s.Client = d.stack.New(ipsec.Config{
		IKE: d.cfg.ike(), L2TP: d.cfg.l2tp(d.tunnelID()), PPP: d.cfg.ppp(n, false), PSK: d.cfg.PSK,
		Own: own, Server: d.cfg.Server, Send: s.send, Received: d.received, Gate: &d.gate,
		KeyLog: d.cfg.KeyLog,
	})
	return s, nil
}

// send sends for the client: all UDP leaves from the one socket, as through a NAT that gives both ports the same.
func (s *ipsecSession) send(port uint16, b []byte) {
	switch {
	case port != ipsec.ESP:
		s.udp.Load().sendTo(netip.AddrPortFrom(s.dialer.cfg.Server, port), b)
	case s.esp != nil:
		s.esp.sendIP(s.local, s.dialer.cfg.Server, protocolESP, b)
	}
}

func (s *ipsecSession) take(from netip.AddrPort, b []byte) {
	if from.Addr() != s.dialer.cfg.Server {
		return
	}
	if said := s.said.Load(); said != nil {
		if err := readNotify(from.Port(), b); err != nil {
			(*said)(err)
			return
		}
	}
	s.Receive(from.Port(), slices.Clone(b))
}

// Protocol implements Session.
func (*ipsecSession) Protocol() tenant.Protocol { return tenant.ProtocolL2TPIPsec }

// Connect implements Session.
func (s *ipsecSession) Connect(ctx context.Context) error {
	if s.esp != nil {
		s.dialer.claim(s.local, s)
	}
	ctx, said := context.WithCancelCause(ctx)
	defer said(nil)
	s.said.Store(&said)
	defer s.said.Store(nil)
	if err := s.dialer.watch(s.udp.Load(), s.take); err != nil {
		return err
	}
	err := s.Login(ctx)
	var no *notifyError
	if cause := context.Cause(ctx); err != nil && errors.As(cause, &no) {
		return cause
	}
	return err
}

// HangUp implements Session.
func (s *ipsecSession) HangUp(ctx context.Context) error {
	defer func() {
		s.closeUDP()
		if s.esp != nil {
			s.dialer.disclaim(s.local)
		}
	}()
	return s.Client.HangUp(ctx)
}

func (s *ipsecSession) closeUDP() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	s.dialer.unwatch(s.udp.Load())
}

// Rebind implements Rebinder.
func (s *ipsecSession) Rebind() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.esp != nil:
		return fmt.Errorf("%w: raw ESP has no port", ErrConfig)
	case s.gone:
		return ipsec.ErrClosed
	}
	udp, err := openUDP(netip.AddrPortFrom(s.local, 0))
	if err != nil {
		return err
	}
	if err := s.dialer.watch(udp, s.take); err != nil {
		udp.close()
		return err
	}
	s.dialer.unwatch(s.udp.Swap(udp))
	return nil
}

// Rekey implements Rekeyer.
func (s *ipsecSession) Rekey(ctx context.Context) error {
	if s.rekeyed++; s.rekeyed%2 == 1 {
		return s.RekeyESP(ctx)
	}
	return s.RekeyIKE(ctx)
}

// Lend implements Session.
func (s *ipsecSession) Lend() (traffic.Path, func(), error) {
	p, err := s.Path()
	if err != nil {
		return p, nil, fmt.Errorf("the way of %s: %w", s.Protocol(), err)
	}
	p.Socket = traffic.Socket{
		FD: s.udp.Load().fd, Kind: traffic.SocketUDP, Local: s.local, Remote: netip.AddrPortFrom(s.dialer.cfg.Server, ipsec.PortNATT),
	}
	p.Receive = func(port uint16, b []byte) { s.take(netip.AddrPortFrom(s.dialer.cfg.Server, port), b) }
	if s.esp != nil {
		p.Socket.FD, p.Socket.Kind, p.Socket.Remote = s.esp.fd, traffic.SocketESP, netip.AddrPortFrom(s.dialer.cfg.Server, 0)
		p.Receive = func(_ uint16, b []byte) { s.dialer.receiveESP(b) }
	}
	return p, s.dialer.lend(p.Socket.FD), nil
}
