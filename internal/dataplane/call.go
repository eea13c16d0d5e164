package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"concentrator/internal/dataplane/capture"
	"concentrator/internal/dataplane/dhcp"
	"concentrator/internal/dataplane/gre"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/policy"
	"concentrator/internal/telemetry"
)

// CallSpec describes a PPTP call, or an L2TP session, that the control connection has agreed on.
type CallSpec struct {
	Namespace     string     // of PPTP: where its GRE packets come in; OpenGRE must have been called
	Local, Remote netip.Addr // outer addresses of the control connection
	PeerCallID    uint16     // of PPTP: goes into every header that we send
	L2TP          *L2TPSpec  // of L2TP; nil: PPTP
	Sink          Sink
}

// Sink takes what a call's packets bring for the control side. It is called on the shard's thread: it must not block, must
// copy what it keeps, and must not call what waits for a shard. Call's methods that say "doesn't wait" are fine.
type Sink interface {
	// Deliver is given each PPP frame that is not IP, decrypted: LCP, CHAP, IPCP, CCP and what nobody knows. packet is
	// what follows the protocol number, borrowed until Deliver returns.
	Deliver(protocol uint16, packet []byte)
	// OutOfSync says that a stateful MPPE receiver has lost its place: a CCP Reset-Request is wanted.
	OutOfSync()
	// Broken says that the call has been taken out of its shard, which has panicked in the work for it, or for others. Nothing
	// passes any more; Close it.
	Broken(detail string)
}

// SessionSpec is what a call needs to carry IP.
type SessionSpec struct {
	Address     netip.Addr     // the client's inner address
	Routes      []netip.Prefix // framed routes behind it
	MTU         int            // largest inner IP packet towards the client, octets; 0: the network's MTU
	PFC, ACFC   bool           // what we may compress in PPP headers of data
	RequireMPPE bool           // no IP in the clear: dropped both ways
	// UpBps and DownBps limit the rate of inner packets from and to the client, in bits a second; 0: no limit. Control
	// frames are not limited.
	UpBps, DownBps uint64
	ACL            *policy.ACL // which inner packets may pass; nil: all
	DSCP           policy.DSCP // how inner and outer Differentiated Services fields are tied (RFC 2983)
	// Inform answers the client's DHCPINFORM, which then does not go into the network. nil: it goes there.
	Inform *dhcp.Answer
}

// Call is one PPTP call or L2TP session in its shard. Its methods are safe for concurrent use; commands reach the shard in the order in
// which they were called.
type Call struct {
	d     *Dataplane
	shard *shard
	call  *call // belongs to the shard

	mu       sync.Mutex // guards all below; serialises Attach and Close
	closed   bool
	last     Counters
	net      *Network
	spec     SessionSpec
	prefixes []netip.Prefix
}

// OpenCall gives the call an ID and installs it in its shard: the peer may use the ID as soon as this returns.
func (d *Dataplane) OpenCall(spec CallSpec) (*Call, error) {
	if !spec.Local.Is4() || !spec.Remote.Is4() || spec.Sink == nil {
		return nil, fmt.Errorf("%w: a call needs IPv4 addresses and a sink", ErrSpec)
	}
	if spec.L2TP != nil {
		return d.openL2TP(spec)
	}
	id, err := d.newID(-1)
	if err != nil {
		return nil, err
	}
	s := d.shardOf(id)
	d.mu.Lock()
	g := d.raw[rawKey{faceGRE, spec.Namespace}]
	d.mu.Unlock()
	if g == nil {
		d.freeID(id)
		return nil, fmt.Errorf("%w: %q", ErrNoGRE, spec.Namespace)
	}
	c := newCall(id, spec, g.faces[s.id], s)
	err = s.do(func(s *shard) { s.addCall(c) })
	if err == nil {
		if err = c.face.sock.Admit(uint32(id), true); err != nil {
			err = errors.Join(fmt.Errorf("open call: %w", err), s.do(func(s *shard) { s.removeCall(c) }))
		}
	}
	if err != nil {
		d.freeID(id)
		return nil, err
	}
	return &Call{d: d, shard: s, call: c}, nil
}

// ID is our call or session ID, unique in the instance and never 0.
func (c *Call) ID() uint16 { return c.call.id }

// Shard is the shard that carries the call.
func (c *Call) Shard() int { return c.shard.id }

// push leaves a command of the call to its shard.
func (c *Call) push(f func(*shard)) { c.shard.inbox.pushFor(blame{call: c.call}, f) }

// do is push that waits. Errors as of shard.do.
func (c *Call) do(f func(*shard)) error { return c.shard.doFor(blame{call: c.call}, f) }

// SendControl sends a PPP control packet, framed FF 03 and a protocol number of two octets, with the next sequence number.
// It copies packet and doesn't wait.
func (c *Call) SendControl(protocol uint16, packet []byte) {
	frame := slices.Clone(packet)
	c.push(func(s *shard) { s.sendControl(c.call, protocol, frame) })
}

// SetDecrypt installs the receive key; a new one replaces it. It doesn't wait, but a later SendControl comes after it.
func (c *Call) SetDecrypt(p mppe.Params) {
	r, stateful := mppe.NewReceiver(p), p.Stateful
	c.push(func(s *shard) {
		s.setDecrypt(c.call, r)
		c.call.stateful = stateful
	})
}

// SetEncrypt installs the send key: IP goes out encrypted from now on. It doesn't wait.
func (c *Call) SetEncrypt(p mppe.Params) {
	e := mppe.NewSender(p)
	c.push(func(s *shard) { s.setEncrypt(c.call, e) })
}

// ClearMPPE takes both keys away. It doesn't wait.
func (c *Call) ClearMPPE() {
	c.push(func(s *shard) {
		s.setEncrypt(c.call, nil)
		s.setDecrypt(c.call, nil)
	})
}

// ResetEncrypt re-initialises a stateful sender, as the peer's CCP Reset-Request wants. It doesn't wait.
func (c *Call) ResetEncrypt() {
	c.push(func(*shard) {
		if c.call.encrypt != nil {
			c.call.encrypt.Reset()
		}
	})
}

// SetOpen lets IP pass or not. It doesn't wait.
func (c *Call) SetOpen(open bool) {
	c.push(func(*shard) { c.call.open, c.call.hears = open, open })
}

// SetPolicy changes the three things that SessionSpec has by these names, until the next Attach, even one that fails. What
// waits for its rate has passed the ACL before. It doesn't wait.
func (c *Call) SetPolicy(upBps, downBps uint64, acl *policy.ACL) {
	c.push(func(s *shard) {
		if !c.call.removed {
			c.call.acl = acl
			s.setRates(c.call, upBps, downBps)
		}
	})
}

// Attach makes the session's address and routes live: the shards' tables, steering and the kernel's routes are in place
// when it returns, and IP from the client passes. What goes to the client waits for SetOpen. An attached call may be attached again: what is no longer in the specification is taken away.
// ErrAddressInUse if some other session or the network itself has one of the prefixes; then nothing has changed.
func (c *Call) Attach(n *Network, spec SessionSpec) error {
	if err := spec.check(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	if c.net != nil && c.net != n {
		if err := c.detach(); err != nil {
			return err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	if n.d != c.d {
		return fmt.Errorf("%w: the network belongs to another dataplane", ErrSpec)
	}
	if spec.MTU == 0 {
		spec.MTU = n.spec.MTU
	}
	want := prefixesOf(spec)
	added := slices.DeleteFunc(slices.Clone(want), func(p netip.Prefix) bool { return slices.Contains(c.prefixes, p) })
	if err := n.claim(c, want); err != nil {
		return err
	}
	if err := c.install(n, spec, added); err != nil {
		n.disclaim(c, added)
		return fmt.Errorf("attach %v: %w", spec.Address, err)
	}
	removed := slices.DeleteFunc(slices.Clone(c.prefixes), func(p netip.Prefix) bool { return slices.Contains(want, p) })
	c.net, c.spec, c.prefixes = n, spec, want
	return c.uninstall(n, removed)
}

func (s SessionSpec) check() error {
	if !isInner(s.Address) {
		return fmt.Errorf("%w: %v can't be a session's address", ErrSpec, s.Address)
	}
	for _, r := range s.Routes {
		if !r.IsValid() || !r.Addr().Is4() {
			return fmt.Errorf("%w: route %v is not an IPv4 prefix", ErrSpec, r)
		}
	}
	if s.MTU != 0 && (s.MTU < minSessionMTU || s.MTU > MaxMTU) {
		return fmt.Errorf("%w: MTU %d is not between %d and %d", ErrSpec, s.MTU, minSessionMTU, MaxMTU)
	}
	return nil
}

// install brings the session to its shard and the added prefixes to all shards and to the device.
func (c *Call) install(n *Network, spec SessionSpec, added []netip.Prefix) error {
	err := c.d.onAll(func(s *shard) {
		e := &entry{net: n.parts[s.id], shard: c.shard.id}
		if s == c.shard {
			e.call = c.call
			c.call.attach(s, e.net, spec)
		}
		for _, p := range added {
			e.net.table.set(p, e)
		}
	})
	if err != nil {
		return err
	}
	for i, p := range added {
		if err := n.dev.Add(p, c.shard.id); err != nil {
			for _, done := range added[:i] {
				err = errors.Join(err, n.dev.Remove(done))
			}
			return errors.Join(err, c.d.onAll(func(s *shard) {
				for _, p := range added {
					n.parts[s.id].table.unset(p)
				}
				if s != c.shard {
					return
				}
				if c.net == nil {
					c.call.detach()
				} else {
					c.call.attach(s, n.parts[s.id], c.spec)
				}
			}))
		}
	}
	return nil
}

// uninstall takes prefixes away from shards and device.
func (c *Call) uninstall(n *Network, ps []netip.Prefix) error {
	if len(ps) == 0 {
		return nil
	}
	var errs []error
	for _, p := range ps {
		errs = append(errs, n.dev.Remove(p))
	}
	errs = append(errs, c.d.onAll(func(s *shard) {
		for _, p := range ps {
			n.parts[s.id].table.unset(p)
		}
	}))
	n.disclaim(c, ps)
	return errors.Join(errs...)
}

// detach undoes Attach. c.mu must be held.
func (c *Call) detach() error {
	n := c.net
	if n == nil {
		return nil
	}
	c.net = nil
	ps := c.prefixes
	c.prefixes = nil
	c.push(func(*shard) { c.call.detach() })
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	return c.uninstall(n, ps)
}

// Counters asks the shard for the call's counters; of a closed call they are the last ones.
func (c *Call) Counters() Counters {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.last
	}
	return c.ask(func(*shard) {})
}

// ask runs f on the shard and then reads the counters. After Stop they are zero.
func (c *Call) ask(f func(*shard)) Counters {
	var now Counters
	if err := surely(func() error {
		return c.do(func(s *shard) {
			f(s)
			now = s.countersOf(c.call)
		})
	}); err != nil {
		return Counters{}
	}
	return now
}

// Close takes the call out of its shard, detaches it and gives its ID back. It returns the last counters, the same ones
// when called again.
func (c *Call) Close() Counters {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.last
	}
	var err error
	if c.call.face != nil {
		err = c.call.face.sock.Admit(uint32(c.call.id), false)
	}
	c.last = c.ask(func(s *shard) { s.removeCall(c.call) })
	if err = errors.Join(err, c.detach()); err != nil && !errors.Is(err, ErrStopped) {
		c.d.log.Error("can't detach call", telemetry.Call, c.call.id, telemetry.Error, err)
	}
	c.closed = true
	c.d.freeID(c.call.id)
	return c.last
}

// call is a Call's part on its shard, and belongs to it. What every packet needs comes first: with many sessions in turn
// none of it is in the first cache, and each line of 64 octets must be fetched.
type call struct {
	id            uint16
	removed       bool
	open          bool // towards the client
	hears         bool // from the client
	requireMPPE   bool
	stateful      bool // decrypt's mode as agreed: its packets are opened one by one, in order
	timed         bool // in shard.timed
	shaping       bool // in shard.shaping
	pfc, acfc     bool
	dscp          policy.DSCP
	local, remote [4]byte
	mtu           int
	l2tp          *l2tpCall    // nil: PPTP
	face          *face        // of PPTP, as the next three
	gre           *gre.Session // nil: L2TP
	decrypt       *mppe.Receiver
	encrypt       *mppe.Sender
	net           *network
	acl           *policy.ACL    // nil: everything passes
	up, down      *policy.Shaper // nil: no limit
	inner, outer  capture.Taps   // of both sides; L2TP's outer ones are the peer's too
	sources       policy.Sources
	share         policy.Share // of the shard, towards the client
	inform        informer
	credible      mppe.Credible // judge
	sink          Sink
	lastInbound   int64 // the shard's time, as the next two
	lastActivity  int64
	opened        int64
	counters      Counters
}

func newCall(id uint16, spec CallSpec, f *face, s *shard) *call {
	c := &call{
		id: id, face: f, local: spec.Local.As4(), remote: spec.Remote.As4(), sink: spec.Sink,
		gre: gre.NewSession(spec.PeerCallID, s.held),
	}
	c.credible = c.judge // once: a method value allocates
	return c
}

// lost is how many packets of the peer never came, by their sequence numbers.
func (c *call) lost() uint64 {
	if c.gre != nil {
		return c.gre.Lost()
	}
	return c.l2tp.sequence.Lost()
}

func (c *call) attach(s *shard, n *network, spec SessionSpec) {
	c.net, c.mtu = n, spec.MTU
	c.hears = true // the client may send as soon as it has our IPCP Ack, which follows
	c.pfc, c.acfc, c.requireMPPE = spec.PFC, spec.ACFC, spec.RequireMPPE
	c.sources = policy.NewSources(spec.Address, spec.Routes)
	c.acl = spec.ACL
	c.inform.set(spec.Inform)
	s.setRates(c, spec.UpBps, spec.DownBps)
	if c.dscp = spec.DSCP; c.dscp == policy.Uniform {
		s.wantTOS()
	}
}

func (c *call) detach() {
	c.net, c.open, c.hears = nil, false, false
}
