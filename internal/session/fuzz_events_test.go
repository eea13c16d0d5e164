package session

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/corpus"
	"concentrator/internal/ike/ikev1"
	siml2tp "concentrator/internal/simclient/l2tp"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
	"concentrator/internal/tunnel/l2tp"
	"concentrator/internal/wire/esphdr"
)

// Bounds of what a program may do.
const (
	maxFuzzSteps   = 40
	maxFuzzClients = 6
)

// FuzzSessionEvents lets clients of all protocols, IKE, the operator, the store, the dataplane and time do anything in any
// order, legal or not, to a Manager with real control connections, PPP and pools. In between, what is counted agrees; at the
// end every slot, call, lease, tunnel, peer, account and goroutine is gone, and each account has begun and ended once.
func FuzzSessionEvents(f *testing.F) {
	corpus.Add(f)
	for _, seed := range [][]byte{
		{doPPTP, 0, doTime, 3, doHangUp, 0, doTime, 2},
		{doPPTP, 0, doTime, 3, doTraffic, 0, 9, doTime, 5, doAbort, 0},
		{doL2TPIPsec, 0, doTime, 3, doChild, 0, 0, doChild, 0, 1, doTime, 4, doDropPeer, 0},
		{doPlainL2TP, 0, doTime, 3, doMute, 0, doTime, 4, doTime, 4, doMute, 0, doTime, 3},
		{doPPTP, 1, doTime, 3, doTime, 4, doPPTP, 2, doTime, 1, doDisconnect, 0, 0, doTime, 3},
		{doPPTP, 0, doPPTP, 0, doPPTP, 16, doTime, 3, doStore, 0, doTime, 4, doStore, 0, doTime, 4},
		{doPPTP, 0, doTime, 3, doStore, 1, doTime, 3, doStore, 2, doTime, 3, doStore, 3, doTime, 3, doStore, 4, doTime, 4},
		{doPPTP, 0, doFrame, 0, 0xc0, 0x21, 4, 1, 1, 0, 4, doFrame, 0, 0xc2, 0x23, 2, 1, 2, doFrame, 0, 0x80, 0x21, 1, 1, doTime},
		{doPPTP, 0, doTime, 3, doFrame, 0, 0xc0, 0x21, 4, 1, 9, 0, 4, doFrame, 0, 0x80, 0xfd, 4, 14, 1, 0, 4, doTime, 4},
		{doPPTP, 0, doTime, 3, doOutOfSync, 0, doTime, 2},
		{doPlane, 0, doPPTP, 0, doPlane, 1, doPPTP, 0, doTime, 3, doPlane, 2, doTime, 4},
		{doLedger, doPPTP, 0, doTime, 3, doLedger, doPPTP, 0, doTime, 3, doLedger, doTime, 4},
		{doDrain, 0, doPPTP, 0, doDrain, 0, doPPTP, 0, doTime, 3, doDrain, 1, doTime, 3},
		{doL2TPIPsec, 0, doTime, 1, doControl, 0, 12, 0xc8, 2, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, doTime, 3},
		{doPlainL2TP, 0, doControl, 1, 20, 0xc8, 2, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 8, 0, 0, 0, 0, 0, 4, doTime, 3},
		{doTCP, 12, 0, 156, 0, 1, 0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0, doTime, 4},
		{doL2TPIPsec, 0, doL2TPIPsec, 0, doTime, 3, doRelease, 0, doDropPeer, 0, doDropPeer, 1, doTime, 1, doL2TPIPsec, 32},
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		synctest.Test(t, func(t *testing.T) {
			w := newFuzzWorld(t, program)
			w.start()
			for range maxFuzzSteps {
				if len(w.program) == 0 {
					break
				}
				w.step()
				w.check()
			}
			w.plane.restore()
			w.ledger.fill(false)
		})
	})
}

// What a program can do. The numbers are in the corpus: append only.
const (
	doPPTP = iota
	doL2TPIPsec
	doPlainL2TP
	doTime
	doHangUp
	doAbort
	doStop
	doMute
	doFrame
	doOutOfSync
	doDisconnect
	doRelease
	doDrain
	doStore
	doPlane
	doChild
	doDropPeer
	doLedger
	doControl
	doTCP
	doTraffic
	numDo
)

// fuzzTimes are what doTime lets pass: nothing, the way of a frame, and what timers wait for.
var fuzzTimes = []time.Duration{
	0, 15 * time.Millisecond, 300 * time.Millisecond, 5 * time.Second, 70 * time.Second, time.Hour,
}

// fuzzWorld is a world that a program drives.
type fuzzWorld struct {
	*half
	program []byte
	peers   []*ipsecPeer
	dialled int
}

func newFuzzWorld(t *testing.T, program []byte) *fuzzWorld {
	w := &fuzzWorld{half: &half{}, program: program}
	w.world = newWorldOf(t, true, 4, func(cfg Config) *Manager {
		m := newManager(cfg)
		w.ike = &fakeIKE{m: m, sas: map[ikev1.Peer][]*fakeSA{}}
		m.ike = w.ike
		m.l2tp = l2tp.NewServer(l2tp.Config{MaxHalfOpenPerSource: l2tp.DefaultMaxHalfOpenPerSource}, lns{m})
		return m
	})
	w.lax = true // the program takes addresses and keys away while clients get them
	t.Cleanup(func() { w.errors.take() })
	w.furnish()
	alter(w.world, acme, func(r *store.Tenant) { r.IPsec.PSKs = []store.PSK{{Secret: tenant.Secret("acme-key")}} })
	alter(w.world, acme+"/profiles/default", func(p *store.Profile) { p.AllowPlaintext = true })
	alter(w.world, mainListener, func(l *store.Listener) {
		l.Protocols = []tenant.Protocol{tenant.ProtocolPPTP, tenant.ProtocolL2TPIPsec, tenant.ProtocolL2TP}
	})
	return w
}

func (w *fuzzWorld) next() byte {
	if len(w.program) == 0 {
		return 0
	}
	b := w.program[0]
	w.program = w.program[1:]
	return b
}

// octets is a length and so many octets, or what there is.
func (w *fuzzWorld) octets() []byte {
	n := min(int(w.next()), len(w.program))
	b := w.program[:n]
	w.program = w.program[n:]
	return b
}

// one is the client that the next octet names; nil if there is none.
func (w *fuzzWorld) one() *client {
	n := int(w.next())
	if len(w.clients) == 0 {
		return nil
	}
	return w.clients[n%len(w.clients)]
}

func (w *fuzzWorld) step() {
	switch w.next() % numDo {
	case doPPTP:
		flags := w.next()
		if w.mayDial() {
			_, _ = w.tryDial(mainAddr, w.from(flags), w.login(flags))
		}
	case doL2TPIPsec:
		w.ipsec(w.next())
	case doPlainL2TP:
		flags := w.next()
		if face := w.m.face(mainListener); face != nil && w.mayDial() {
			n := attachment{face: face, from: netip.MustParseAddrPort(w.from(flags) + ":1701")}
			if face.datagrams() != nil {
				_, _ = w.tryTunnel(n, siml2tp.Xl2tpd("lac", uint16(w.dialled)), w.login(flags))
			}
		}
	case doTime:
		time.Sleep(fuzzTimes[int(w.next())%len(fuzzTimes)])
	case doHangUp:
		if c := w.one(); c != nil {
			c.tell(func(now time.Time) { c.m.Terminate(now, "User request") })
		}
	case doAbort:
		if c := w.one(); c != nil {
			c.abort()
		}
	case doStop:
		if c := w.one(); c != nil {
			c.stop()
		}
	case doMute:
		if c := w.one(); c != nil {
			c.setMute(!c.isMute())
		}
	case doFrame:
		c := w.one()
		protocol := uint16(w.next())<<8 | uint16(w.next())
		if p := w.octets(); c != nil {
			c.fc.deliver(protocol, p)
		}
	case doOutOfSync:
		if c := w.one(); c != nil {
			c.fc.spec.Sink.OutOfSync()
		}
	case doDisconnect:
		reason := []tenant.Reason{tenant.ReasonAdminDisconnect, tenant.ReasonShutdown}[w.next()%2]
		if all := w.m.Sessions(""); len(all) > 0 {
			_ = w.m.Disconnect(all[int(w.next())%len(all)].Name, reason)
		}
	case doRelease:
		_ = w.m.ReleaseLease(acmePool, netip.AddrFrom4([4]byte{10, 7, 0, 2 + w.next()%5}))
	case doDrain:
		w.drain(w.next())
	case doStore:
		w.change(w.next())
	case doPlane:
		w.fail(w.next())
	case doChild:
		w.child(w.next(), w.next())
	case doDropPeer:
		if n := int(w.next()); len(w.peers) > 0 {
			w.ike.clear(w.peers[n%len(w.peers)], tenant.ReasonUserRequest)
		}
	case doLedger:
		w.ledger.mu.Lock()
		w.ledger.full = !w.ledger.full
		w.ledger.mu.Unlock()
	case doControl:
		w.control(w.next(), w.octets())
	case doTCP:
		w.tcp(w.octets())
	case doTraffic:
		if c, n := w.one(), w.next(); c != nil {
			c.fc.traffic(uint64(n))
		}
	}
}

func (w *fuzzWorld) mayDial() bool {
	w.dialled++
	return w.dialled <= maxFuzzClients
}

// from is the client's outer address.
func (w *fuzzWorld) from(flags byte) string {
	return netip.AddrFrom4([4]byte{198, 51, 100, 7 + flags>>5}).String()
}

// login is what the client is, and whether it may in.
func (w *fuzzWorld) login(flags byte) simppp.Config {
	name, secret := alice, password
	switch flags & 3 {
	case 1:
		secret = "wrong"
	case 2:
		name = "nobody"
	}
	return []func(string, string) simppp.Config{
		simppp.Windows, simppp.MacOS, simppp.Android, simppp.Pppd,
	}[flags>>2&3](name, secret)
}

func (w *fuzzWorld) ipsec(flags byte) {
	if !w.mayDial() {
		return
	}
	p, err := w.ike.mainMode(who{from: w.from(flags) + ":4500", raw: flags&16 != 0})
	if err != nil {
		return
	}
	w.peers = append(w.peers, p)
	_, _ = w.ike.quickMode(p, esphdr.AESCBC, 16, esphdr.HMACSHA1_96)
	_, _ = w.tryTunnel(in(p), siml2tp.Windows("pc", uint16(w.dialled)), w.login(flags))
}

// child makes another pair of SAs, or ends one.
func (w *fuzzWorld) child(which, flags byte) {
	if len(w.peers) == 0 {
		return
	}
	p := w.peers[int(which)%len(w.peers)]
	w.ike.mu.Lock()
	alive := len(w.ike.sas[p]) > 0
	w.ike.mu.Unlock()
	switch {
	case !alive:
	case flags&1 == 0:
		_, _ = w.ike.quickMode(p, esphdr.AESGCM16, 16, esphdr.IntegrityUnset)
	default:
		w.ike.mu.Lock()
		var c *ikev1.Child
		for _, sa := range w.ike.sas[p] {
			if len(sa.children) > 0 {
				c = sa.children[int(flags>>1)%len(sa.children)]
			}
		}
		w.ike.mu.Unlock()
		if c != nil {
			w.ike.remove(p, c)
		}
	}
}

func (w *fuzzWorld) drain(flags byte) {
	switch flags % 3 {
	case 0:
		w.m.SetDraining(!w.m.Draining())
	default:
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_ = w.m.Drain(ctx, time.Now().Add(time.Duration(flags%3-1)*5*time.Second), func(int) {})
	}
}

// change changes what is stored.
func (w *fuzzWorld) change(what byte) {
	more := what&0x80 != 0
	switch what % 8 {
	case 0:
		w.alterUser(func(u *store.User) { u.Disabled = !u.Disabled })
	case 1:
		alter(w.world, acme+"/profiles/default", func(p *store.Profile) { p.AllowPlaintext = !p.AllowPlaintext })
	case 2:
		alter(w.world, mainListener, func(l *store.Listener) { w.toggle(l) })
	case 3:
		alter(w.world, acme, func(r *store.Tenant) { r.Limits.MaxSessions = map[bool]int{false: 1, true: 0}[more] })
	case 4:
		alter(w.world, acmePool, func(p *store.Pool) {
			p.Ranges = map[bool][]string{false: {"10.7.0.0/30"}, true: {"10.7.0.0/29"}}[more]
		})
	case 5:
		alter(w.world, acme+"/profiles/default", func(p *store.Profile) {
			p.IdleTimeout, p.SessionTimeout = 0, 0
			if more {
				p.IdleTimeout, p.SessionTimeout = time.Minute, 2*time.Minute
			}
		})
	case 6:
		w.alterUser(func(u *store.User) { u.MaxSessions = map[bool]int{false: 1, true: 0}[more] })
	case 7:
		alter(w.world, acme, func(r *store.Tenant) { r.Suspended = !r.Suspended })
	}
	w.settle()
}

// toggle takes PPTP from a listener, or gives it back.
func (*fuzzWorld) toggle(l *store.Listener) {
	l.Protocols = map[bool][]tenant.Protocol{
		true:  {tenant.ProtocolL2TPIPsec, tenant.ProtocolL2TP},
		false: {tenant.ProtocolPPTP, tenant.ProtocolL2TPIPsec, tenant.ProtocolL2TP},
	}[len(l.Protocols) == 3]
}

func (w *fuzzWorld) alterUser(f func(u *store.User)) {
	alter(w.world, acme+"/users/"+tenant.EncodeUser(alice), f)
}

// fail makes the dataplane refuse something, or lose a device.
func (w *fuzzWorld) fail(what byte) {
	n := w.plane.network(acme)
	w.plane.mu.Lock()
	defer w.plane.mu.Unlock()
	switch what % 4 {
	case 0:
		w.plane.failCall = errFull
	case 1:
		w.plane.failNet = errFull
	case 2:
		w.plane.failNet = nil
	case 3:
		if n != nil && !n.gone() {
			close(n.lost)
		}
	}
}

// gone says that the network's device was taken away.
func (n *fakeNetwork) gone() bool {
	select {
	case <-n.lost:
		return true
	default:
		return false
	}
}

// restore lets the dataplane do all again.
func (p *fakePlane) restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failCall, p.failNet = nil, nil
}

// control brings any octets as a control message of L2TP: in a peer's SA, or in clear.
func (w *fuzzWorld) control(which byte, msg []byte) {
	if which&1 == 0 {
		if len(w.peers) > 0 {
			w.peers[int(which>>1)%len(w.peers)].Control(1701, msg)
		}
		return
	}
	if face := w.m.face(mainListener); face != nil {
		face.PlainL2TP(netip.MustParseAddr(mainAddr), netip.MustParseAddrPort(w.from(which)+":1701"), msg)
	}
}

// tcp sends any octets to the control connection's port, and hangs up.
func (w *fuzzWorld) tcp(p []byte) {
	c, err := w.plane.dial("", mainAddr, clientFrom)
	if err != nil {
		return
	}
	_, _ = c.Write(p)
	time.Sleep(time.Second)
	_ = c.Close()
}

// check compares what is counted at several places, when nothing moves.
func (w *fuzzWorld) check() {
	synctest.Wait()
	w.m.mu.Lock()
	sessions := len(w.m.sessions)
	w.m.mu.Unlock()
	w.ledger.mu.Lock()
	accounts, bad := len(w.ledger.open), w.ledger.bad
	w.ledger.mu.Unlock()
	leased := w.pools.Usage(acmePool).Leased
	slots, calls := w.m.slots.slots(), w.plane.openCalls()
	if slots != calls || sessions > slots || accounts > sessions || leased > sessions || len(bad) > 0 {
		w.t.Fatalf("%d slots, %d calls, %d sessions, %d accounts, %d leases; %q", slots, calls, sessions, accounts, leased, bad)
	}
}
