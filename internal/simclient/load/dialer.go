package load

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"concentrator/internal/simclient/ipsec"
	"concentrator/internal/simclient/traffic"
	"concentrator/internal/tenant"
	wiregre "concentrator/internal/wire/gre"
	wirel2tp "concentrator/internal/wire/l2tp"
)

// IP protocols and ports.
const (
	protocolGRE = unix.IPPROTO_GRE
	protocolESP = unix.IPPROTO_ESP

	portPPTP uint16 = 1723
	portL2TP        = wirel2tp.Port
)

// Dialer makes clients with sockets. It is safe for concurrent use. Close must follow.
type Dialer struct {
	cfg    Config
	poller *poller
	stack  *ipsec.Stack
	gate   traffic.Gate
	echoes atomic.Uint64     // replies to pings that have come
	buf    [maxDatagram]byte // the poller's

	mu       sync.Mutex // guards what follows
	gre, esp *socket    // nil until the first client needs it
	calls    map[uint16]*plainSession
	lastCall uint16
	tunnels  uint16
	owners   map[netip.Addr]*ipsecSession // of ESP packets to an address
	watched  map[int]func()               // what reads a socket, by descriptor
	lent     map[int]int                  // to how many sessions' users a socket is lent
}

// NewDialer checks cfg for count clients, and starts the poller.
func NewDialer(cfg Config, count int) (*Dialer, error) {
	if err := cfg.check(count); err != nil {
		return nil, err
	}
	if len(cfg.Sources) == 0 {
		local, err := localFor(cfg.Server)
		if err != nil {
			return nil, err
		}
		cfg.Sources = []netip.Addr{local}
	}
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	return &Dialer{
		cfg: cfg, poller: p, stack: ipsec.NewStack(nil), calls: map[uint16]*plainSession{},
		owners: map[netip.Addr]*ipsecSession{}, watched: map[int]func(){}, lent: map[int]int{},
	}, nil
}

// localFor is our address towards the server. Nothing is sent.
func localFor(server netip.Addr) (netip.Addr, error) {
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(server, portL2TP)))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the way to the server: %w", err)
	}
	defer func() { _ = c.Close() }() // nothing was sent
	a, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the way to the server: %w", err)
	}
	return a.Addr().Unmap(), nil
}

// Dial makes the client with an index, from 0. Nothing is sent before its Connect.
func (d *Dialer) Dial(i int) (Session, error) {
	local := d.cfg.Sources[i%len(d.cfg.Sources)]
	n := d.cfg.First + i
	switch p := d.cfg.Protocols[i%len(d.cfg.Protocols)]; p {
	case tenant.ProtocolPPTP:
		return d.newPPTP(n, local)
	case tenant.ProtocolL2TP:
		return d.newL2TP(n, local)
	default:
		return d.newIPsec(i, n, local)
	}
}

// Source is the address that the client with an index sends from.
func (d *Dialer) Source(i int) netip.Addr { return d.cfg.Sources[i%len(d.cfg.Sources)] }

// Answered is how many replies to pings have come.
func (d *Dialer) Answered() uint64 { return d.echoes.Load() }

// SAs is how many ISAKMP SAs and pairs of ESP SAs there have been, the first ones of each login included.
func (d *Dialer) SAs() (ike, esp uint64) {
	st := d.stack.Stats()
	return st.EstablishedSAs, st.Children
}

// received takes an inner packet of a session that is not lent.
func (d *Dialer) received(packet []byte) {
	if isEchoReply(packet) {
		d.echoes.Add(1)
	}
}

// Close ends IKE, at most until ctx ends, and closes what the sessions have shared. They must be hung up.
func (d *Dialer) Close(ctx context.Context) error {
	err := d.stack.Close(ctx)
	d.poller.close()
	for _, s := range []*socket{d.gre, d.esp} {
		if s != nil {
			s.close()
		}
	}
	return err
}

// rawSocket opens a raw socket when it is first wanted.
func (d *Dialer) rawSocket(at **socket, protocol int, take func(packet []byte)) (*socket, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if *at != nil {
		return *at, nil
	}
	s, err := openRaw(protocol)
	if err != nil {
		return nil, err
	}
	if err := d.watchLocked(s, func(_ netip.AddrPort, b []byte) { take(b) }); err != nil {
		s.close()
		return nil, err
	}
	*at = s
	return s, nil
}

// watch reads a socket on the poller's goroutine.
func (d *Dialer) watch(s *socket, take func(from netip.AddrPort, b []byte)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.watchLocked(s, take)
}

func (d *Dialer) watchLocked(s *socket, take func(from netip.AddrPort, b []byte)) error {
	begin := func() error {
		return d.poller.add(s.fd, unix.EPOLLIN, func(uint32) { s.drain(d.buf[:], take) })
	}
	d.watched[s.fd] = func() { _ = begin() } // it worked before
	return begin()
}

// unwatch closes a socket.
func (d *Dialer) unwatch(s *socket) {
	d.mu.Lock()
	delete(d.watched, s.fd)
	d.mu.Unlock()
	d.poller.remove(s.fd)
	s.close()
}

// lend stops reading a socket until what it returns has been called as often as it itself.
func (d *Dialer) lend(fd int) (back func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lent[fd]++; d.lent[fd] == 1 {
		d.poller.remove(fd)
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.lent[fd]--; d.lent[fd] > 0 {
			return
		}
		delete(d.lent, fd)
		if again := d.watched[fd]; again != nil {
			again()
		}
	}
}

// reserve gives a PPTP client a call ID that no other has. Nothing is received for it before register.
func (d *Dialer) reserve() (uint16, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for range maxClients + 1 {
		d.lastCall++
		if _, taken := d.calls[d.lastCall]; d.lastCall != 0 && !taken {
			d.calls[d.lastCall] = nil
			return d.lastCall, nil
		}
	}
	return 0, fmt.Errorf("%w: no call ID is left", ErrConfig)
}

// register gives the GRE packets of a call to its client.
func (d *Dialer) register(call uint16, s *plainSession) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls[call] = s
}

func (d *Dialer) unregister(call uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.calls, call)
}

// tunnelID is an L2TP tunnel ID; each client has a socket of its own, so it need not be the only one.
func (d *Dialer) tunnelID() uint16 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tunnels++; d.tunnels == 0 {
		d.tunnels = 1
	}
	return d.tunnels
}

// claim gives the ESP packets to an address to a client.
func (d *Dialer) claim(a netip.Addr, s *ipsecSession) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owners[a] = s
}

func (d *Dialer) disclaim(a netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.owners, a)
}

// receiveGRE hands an IP packet with GRE to the client whose call it is for. What is not the server's, or for another address
// than the client's, is somebody else's: a second generator on this host has calls of the same IDs, and its raw socket and ours
// both hear everything.
func (d *Dialer) receiveGRE(packet []byte) {
	src, dst, payload, ok := parseIPv4(packet)
	if !ok || src != d.cfg.Server {
		return
	}
	h, _, err := wiregre.ParseHeader(payload)
	if err != nil {
		return
	}
	d.mu.Lock()
	s := d.calls[h.CallID]
	d.mu.Unlock()
	if s != nil && s.local == dst {
		s.Receive(payload)
	}
}

// receiveESP hands an IP packet with ESP to the client at its address.
func (d *Dialer) receiveESP(packet []byte) {
	src, dst, payload, ok := parseIPv4(packet)
	if !ok || src != d.cfg.Server {
		return
	}
	d.mu.Lock()
	s := d.owners[dst]
	d.mu.Unlock()
	if s != nil {
		s.take(netip.AddrPortFrom(src, ipsec.ESP), payload)
	}
}

// sendIP sends an IP packet from a raw socket. What can't be sent is lost.
func (s *socket) sendIP(src, dst netip.Addr, protocol byte, payload []byte) {
	b := appendIPv4(make([]byte, 0, ipv4HeaderLen+len(payload)), src, dst, protocol, len(payload))
	s.sendTo(netip.AddrPortFrom(dst, 0), append(b, payload...))
}
