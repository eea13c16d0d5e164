package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"concentrator/internal/dataplane"
	"concentrator/internal/dataplane/capture"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/netio"
	"concentrator/internal/dataplane/policy"
	"concentrator/internal/wire/chap"
	wirelcp "concentrator/internal/wire/lcp"
	wire "concentrator/internal/wire/ppp"
)

// fakePlane is a dataplane without packets: frames loop between a client of the test and its session, and what the
// session asks for is written down. Like the real one it hands out call IDs, refuses calls where GRE is not open and
// addresses that another call has.
type fakePlane struct {
	t   *testing.T
	tcp bool // ListenTCP opens real sockets on loopback

	mu        sync.Mutex
	listeners map[string]net.Listener // the open ones by "namespace address"
	gre       map[string]int          // references by namespace
	everZero  map[string]bool         // namespaces whose GRE was closed at some time
	networks  map[*fakeNetwork]bool   // the open ones
	opened    []dataplane.NetworkSpec // all, in order
	calls     map[uint16]*fakeCall    // the open ones
	nextID    uint16
	failCall  error                    // of the next OpenCall
	failNet   error                    // of OpenNetwork
	slowClose func(c *fakeCall)        // called in Close of a call, without a lock
	failOpen  map[netip.AddrPort]error // of ListenTCP
	closes    int                      // of calls
	datagrams map[*fakeDatagrams]bool  // the open ones
	peers     map[*fakePeer]bool       // the open ones
	tunnelIDs map[uint16]bool          // given out
	nextSPI   uint32
	sights    map[string]dataplane.Sight // what Look sees, by namespace
	blind     map[string]error           // what it says instead
}

func newFakePlane(t *testing.T, tcp bool) *fakePlane {
	return &fakePlane{
		t: t, tcp: tcp,
		listeners: map[string]net.Listener{}, gre: map[string]int{}, everZero: map[string]bool{},
		networks: map[*fakeNetwork]bool{}, calls: map[uint16]*fakeCall{}, failOpen: map[netip.AddrPort]error{}, nextID: 0x1230,
		datagrams: map[*fakeDatagrams]bool{}, peers: map[*fakePeer]bool{}, tunnelIDs: map[uint16]bool{}, nextSPI: 0x1000,
		sights: map[string]dataplane.Sight{}, blind: map[string]error{},
	}
}

func (p *fakePlane) OpenGRE(namespace string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gre[namespace]++
	return nil
}

func (p *fakePlane) CloseGRE(namespace string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gre[namespace] == 0 {
		return dataplane.ErrNoGRE
	}
	if p.gre[namespace]--; p.gre[namespace] == 0 {
		p.everZero[namespace] = true
	}
	return nil
}

// closing is a listener that the plane forgets when it is closed.
type closing struct {
	net.Listener
	p    *fakePlane
	name string
}

func (c *closing) Close() error {
	c.p.mu.Lock()
	if c.p.listeners[c.name] == c {
		delete(c.p.listeners, c.name)
	}
	c.p.mu.Unlock()
	return c.Listener.Close()
}

func (p *fakePlane) ListenTCP(namespace string, addr netip.AddrPort) (net.Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := namespace + " " + addr.Addr().String()
	switch {
	case p.failOpen[addr] != nil:
		return nil, p.failOpen[addr]
	case p.listeners[name] != nil:
		return nil, errors.New("address in use")
	}
	var l net.Listener = newMemListener(addr)
	if p.tcp {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, err
		}
	}
	c := &closing{l, p, name}
	p.listeners[name] = c
	return c, nil
}

func (p *fakePlane) ListenUDP(string, netip.AddrPort) (net.PacketConn, error) {
	return net.ListenPacket("udp", "127.0.0.1:0")
}

func (p *fakePlane) Dial(ctx context.Context, spec netio.DialSpec) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, spec.Network, spec.Remote.String())
}

// dial connects to the listener at an address, from the client's address.
func (p *fakePlane) dial(namespace, addr, from string) (net.Conn, error) {
	p.mu.Lock()
	l := p.listeners[namespace+" "+addr]
	p.mu.Unlock()
	if l == nil {
		return nil, errors.New("nobody listens on " + addr)
	}
	switch l := l.(*closing).Listener.(type) {
	case *memListener:
		return l.dial(netip.AddrPortFrom(netip.MustParseAddr(from), 40000))
	default:
		return net.Dial("tcp", l.Addr().String())
	}
}

func (p *fakePlane) OpenNetwork(spec dataplane.NetworkSpec) (Network, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failNet != nil {
		return nil, p.failNet
	}
	for n := range p.networks {
		if n.spec.Device == spec.Device && n.spec.Namespace == spec.Namespace {
			return nil, fmt.Errorf("device %s exists", spec.Device)
		}
	}
	n := &fakeNetwork{p: p, spec: spec, lost: make(chan struct{}), taken: map[netip.Addr]*fakeCall{}}
	p.networks[n] = true
	p.opened = append(p.opened, spec)
	return n, nil
}

func (p *fakePlane) OpenCall(spec dataplane.CallSpec) (Call, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.failCall; err != nil {
		p.failCall = nil
		return nil, err
	}
	if spec.L2TP == nil && p.gre[spec.Namespace] == 0 {
		return nil, dataplane.ErrNoGRE
	}
	p.nextID++
	c := &fakeCall{
		p: p, id: p.nextID, spec: spec, opened: time.Now(), lastIn: time.Now(), lastAny: time.Now(),
		toClient: make(chan frame, 1024),
	}
	p.calls[c.id] = c
	return c, nil
}

func (p *fakePlane) Counters(calls []Call) []dataplane.Counters {
	out := make([]dataplane.Counters, len(calls))
	for i, c := range calls {
		out[i] = c.Counters()
	}
	return out
}

func (p *fakePlane) Shards() int { return 4 }

func (p *fakePlane) Look(namespace string) (dataplane.Sight, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.blind[namespace]; err != nil {
		return dataplane.Sight{}, err
	}
	return p.sights[namespace], nil
}

// Check says what the test wants it to.
func (n *fakeNetwork) Check() error {
	n.p.mu.Lock()
	defer n.p.mu.Unlock()
	return n.ill
}

func (p *fakePlane) ShardStats() []dataplane.ShardStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return []dataplane.ShardStats{{Calls: len(p.calls)}}
}

func (p *fakePlane) call(id uint16) *fakeCall {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[id]
}

func (p *fakePlane) openCalls() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.calls)
}

// network returns the open network of a tenant.
func (p *fakePlane) network(tenantName string) *fakeNetwork {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := range p.networks {
		if n.spec.Tenant == tenantName {
			return n
		}
	}
	return nil
}

// fakeNetwork is a network: who has which address.
type fakeNetwork struct {
	p    *fakePlane
	lost chan struct{}

	// guarded by p.mu
	spec  dataplane.NetworkSpec
	taken map[netip.Addr]*fakeCall
	ill   error
}

func (n *fakeNetwork) Lost() <-chan struct{} { return n.lost }

func (n *fakeNetwork) Update(spec dataplane.NetworkSpec) error {
	n.p.mu.Lock()
	defer n.p.mu.Unlock()
	if spec.Namespace != n.spec.Namespace || spec.Device != n.spec.Device {
		return dataplane.ErrFixed
	}
	n.spec = spec
	return nil
}

func (n *fakeNetwork) Close() error {
	n.p.mu.Lock()
	defer n.p.mu.Unlock()
	if !n.p.networks[n] {
		n.p.t.Errorf("the network of %s was closed twice", n.spec.Tenant)
	}
	delete(n.p.networks, n)
	return nil
}

// frame is one control packet.
type frame struct {
	protocol uint16
	packet   []byte
}

// fakeCall is a call. Its log has an entry for each thing that the session did, in order.
type fakeCall struct {
	thread   sync.Mutex // held as the shard's thread would be busy: by one who delivers
	p        *fakePlane
	id       uint16
	spec     dataplane.CallSpec
	toClient chan frame

	mu       sync.Mutex
	log      []string
	decrypt  mppe.Params
	encrypt  mppe.Params
	network  *fakeNetwork
	session  dataplane.SessionSpec
	open     bool
	closed   bool
	sequence bool
	opened   time.Time
	lastIn   time.Time
	lastAny  time.Time
	counters dataplane.Counters
	overrun  int  // frames that the client did not take
	bomb     bool // SetOpen panics
	taps     [2]capture.Taps
}

// deliver hands a control frame to the session, one at a time, as a shard does.
func (c *fakeCall) deliver(protocol uint16, packet []byte) {
	c.thread.Lock()
	defer c.thread.Unlock()
	c.spec.Sink.Deliver(protocol, packet)
}

func (c *fakeCall) ID() uint16 { return c.id }
func (c *fakeCall) Shard() int { return 0 }

func (c *fakeCall) note(format string, args ...any) {
	c.log = append(c.log, fmt.Sprintf(format, args...))
}

// name says what a packet is: "IPCP Configure-Ack".
func name(protocol uint16, packet []byte) string {
	codes := []string{
		1: "Configure-Request", "Configure-Ack", "Configure-Nak", "Configure-Reject", "Terminate-Request", "Terminate-Ack",
		"Code-Reject", "Protocol-Reject", "Echo-Request", "Echo-Reply", "Discard-Request", "Identification",
	}
	p := map[uint16]string{
		wire.ProtocolLCP: "LCP", wire.ProtocolCCP: "CCP", wire.ProtocolIPCP: "IPCP", wire.ProtocolPAP: "PAP",
		wire.ProtocolCHAP: "CHAP", wire.ProtocolIPv6CP: "IPv6CP",
	}[protocol]
	switch protocol {
	case wire.ProtocolPAP:
		codes = []string{1: "Authenticate-Request", "Authenticate-Ack", "Authenticate-Nak"}
	case wire.ProtocolCHAP:
		codes = []string{chap.CodeChallenge: "Challenge", chap.CodeResponse: "Response", chap.CodeSuccess: "Success", chap.CodeFailure: "Failure"}
	}
	if len(packet) == 0 || int(packet[0]) >= len(codes) {
		return p + " ?"
	}
	return p + " " + codes[packet[0]]
}

func (c *fakeCall) SendControl(protocol uint16, packet []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		c.p.t.Errorf("%s was sent on a closed call", name(protocol, packet))
		return
	}
	if n := name(protocol, packet); n != "LCP Echo-Request" && n != "LCP Echo-Reply" {
		c.note("%s", n)
	}
	select {
	case c.toClient <- frame{protocol, slices.Clone(packet)}:
	default:
		c.overrun++
	}
}

func (c *fakeCall) SetDecrypt(p mppe.Params) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.decrypt = p
	c.note("decrypt %d", p.Bits)
}

func (c *fakeCall) SetEncrypt(p mppe.Params) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.encrypt = p
	c.note("encrypt %d", p.Bits)
}

func (c *fakeCall) ClearMPPE() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.decrypt, c.encrypt = mppe.Params{}, mppe.Params{}
	c.note("clear")
}

func (c *fakeCall) ResetEncrypt() {}

func (c *fakeCall) sequenced() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sequence
}

func (c *fakeCall) SetSequencing(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sequence = on
}

func (c *fakeCall) Attach(n Network, s dataplane.SessionSpec) error {
	net := n.(*fakeNetwork)
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed || !c.p.networks[net]:
		return dataplane.ErrClosed
	case net.taken[s.Address] != nil && net.taken[s.Address] != c:
		return fmt.Errorf("%w: %s", dataplane.ErrAddressInUse, s.Address)
	}
	c.detach()
	c.network, c.session = net, s
	net.taken[s.Address] = c
	c.note("attach %s", s.Address)
	return nil
}

// detach wants both locks.
func (c *fakeCall) detach() {
	if c.network != nil {
		delete(c.network.taken, c.session.Address)
		c.network = nil
	}
}

func (c *fakeCall) SetOpen(open bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bomb {
		panic("bomb")
	}
	c.open = open
	c.note("open %v", open)
}

func (c *fakeCall) SetPolicy(upBps, downBps uint64, acl *policy.ACL) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session.UpBps, c.session.DownBps, c.session.ACL = upBps, downBps, acl
	c.note("policy %d %d %v", upBps, downBps, acl != nil)
}

func (c *fakeCall) Tap(side dataplane.Side, t *capture.Tap) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		t.End()
	}
	c.taps[side] = append(c.taps[side], t)
	return nil
}

func (c *fakeCall) Untap(t *capture.Tap) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.End()
	for side := range c.taps {
		c.taps[side] = c.taps[side].Without(t)
	}
}

func (c *fakeCall) Counters() dataplane.Counters {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.counters
	out.LastInbound, out.LastActivity = time.Since(c.lastIn), time.Since(c.lastAny)
	return out
}

// traffic is n inner packets of 100 octets from the client.
func (c *fakeCall) traffic(n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counters.InPackets += n
	c.counters.InBytes += 100 * n
	c.lastIn, c.lastAny = time.Now(), time.Now()
}

func (c *fakeCall) Close() dataplane.Counters {
	c.p.mu.Lock()
	slow := c.p.slowClose
	c.p.mu.Unlock()
	if slow != nil {
		slow(c)
	}
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		c.p.t.Error("a call was closed twice")
	}
	c.closed, c.open = true, false
	for _, taps := range c.taps {
		taps.End()
	}
	c.detach()
	c.note("close")
	c.p.closes++
	delete(c.p.calls, c.id)
	return c.counters
}

func (c *fakeCall) history() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.log)
}

// keys returns what the session encrypts and decrypts with.
func (c *fakeCall) keys() (encrypt, decrypt mppe.Params) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.encrypt, c.decrypt
}

func (c *fakeCall) isOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// attached returns what the call was attached with last.
func (c *fakeCall) attached() dataplane.SessionSpec {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// terminated returns the text of the last Terminate-Request in frames.
func terminated(frames []frame) string {
	for _, f := range slices.Backward(frames) {
		if p, err := wire.ParsePacket(f.packet); err == nil && f.protocol == wire.ProtocolLCP && p.Code == wire.CodeTerminateRequest {
			return string(p.Data)
		}
	}
	return ""
}

// rejected lists the protocols that the server rejected.
func rejected(frames []frame) (out []string) {
	for _, f := range frames {
		if p, err := wire.ParsePacket(f.packet); err == nil && f.protocol == wire.ProtocolLCP && p.Code == wirelcp.CodeProtocolReject {
			if protocol, _, err := wirelcp.ParseProtocolReject(p.Data); err == nil {
				out = append(out, strings.ToLower(fmt.Sprintf("%04x", protocol)))
			}
		}
	}
	return out
}
