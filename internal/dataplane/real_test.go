package dataplane

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netns"
	"concentrator/internal/wire/ppp"
)

// The real tests build this, in namespaces of their own:
//
//	CLIENT 192.0.2.2 ── 192.0.2.1 OUTER (GRE sockets)   TENANT (made by the dataplane)  10.99.0.1 ── 10.99.0.2 HOST
//	a raw GRE socket                                     TUN vpn0, gateway 10.50.0.1
//
// with one TENANT and HOST for each network.
type realLab struct {
	t             *testing.T
	d             *Dataplane
	tag           string
	outer, client string
}

const (
	realServer = "192.0.2.1"
	realClient = "192.0.2.2"
	realHost   = "10.99.0.2"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CONCENTRATOR_REAL") == "1" {
		t.Fatal("CONCENTRATOR_REAL=1, but not root: namespaces, raw sockets and TUN devices can't be made")
	}
	t.Skip("needs root for namespaces, raw sockets and TUN devices")
}

func sh(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func in(ns string, args ...string) []string {
	return append([]string{"ip", "netns", "exec", ns}, args...)
}

var labs atomic.Int32

func newRealLab(t *testing.T, shards int) *realLab {
	t.Helper()
	needRoot(t)
	l := &realLab{t: t, tag: fmt.Sprintf("cct%d-%d", os.Getpid(), labs.Add(1))}
	l.outer, l.client = l.tag+"-outer", l.tag+"-client"
	for _, ns := range []string{l.outer, l.client} {
		sh(t, "ip", "netns", "add", ns)
		t.Cleanup(func() { sh(t, "ip", "netns", "del", ns) })
	}
	sh(t, "ip", "-n", l.outer, "link", "add", "s0", "type", "veth", "peer", "name", "c0", "netns", l.client)
	sh(t, "ip", "-n", l.outer, "address", "add", realServer+"/24", "dev", "s0")
	sh(t, "ip", "-n", l.client, "address", "add", realClient+"/24", "dev", "c0")
	sh(t, "ip", "-n", l.client, "address", "add", "192.0.2.3/24", "dev", "c0")
	for _, ns := range []string{l.outer, l.client} {
		for _, dev := range []string{"lo", map[string]string{l.outer: "s0", l.client: "c0"}[ns]} {
			sh(t, "ip", "-n", ns, "link", "set", dev, "up")
		}
	}
	d, err := Start(Config{Shards: shards})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Stop)
	l.d = d
	if err := d.OpenGRE(l.outer); err != nil {
		t.Fatal(err)
	}
	return l
}

// realNet is a network with a host behind it.
type realNet struct {
	l        *realLab
	n        *Network
	ns, host string
}

func (l *realLab) network(name string, change func(*NetworkSpec)) *realNet {
	l.t.Helper()
	r := &realNet{l: l, ns: l.tag + "-" + name, host: l.tag + "-h" + name}
	spec := acme
	spec.Tenant, spec.Namespace = name, r.ns
	if change != nil {
		change(&spec)
	}
	n, err := l.d.OpenNetwork(spec)
	if err != nil {
		l.t.Fatal(err)
	}
	r.n = n
	l.t.Cleanup(func() {
		if err := n.Close(); err != nil {
			l.t.Error(err)
		}
		if _, err := os.Stat(netns.Dir + "/" + r.ns); !errors.Is(err, os.ErrNotExist) {
			l.t.Errorf("namespace %s is still there: %v", r.ns, err)
		}
	})
	sh(l.t, "ip", "netns", "add", r.host)
	l.t.Cleanup(func() { sh(l.t, "ip", "netns", "del", r.host) })
	sh(l.t, "ip", "-n", r.host, "link", "add", "h0", "type", "veth", "peer", "name", "t0", "netns", r.ns)
	sh(l.t, "ip", "-n", r.ns, "address", "add", "10.99.0.1/24", "dev", "t0")
	sh(l.t, "ip", "-n", r.host, "address", "add", realHost+"/24", "dev", "h0")
	for _, c := range [][2]string{{r.ns, "t0"}, {r.host, "h0"}, {r.host, "lo"}} {
		sh(l.t, "ip", "-n", c[0], "link", "set", c[1], "up")
	}
	sh(l.t, "ip", "-n", r.host, "route", "add", "default", "via", "10.99.0.1")
	return r
}

// realClientEnd is a client with a raw GRE socket, which answers echo requests when it is told to.
type realClientEnd struct {
	*client
	l    *realLab
	call *Call
	sink *sink
	fd   int
}

func (l *realLab) rawGRE(ns string, protocol int) int {
	l.t.Helper()
	h, err := netns.Open(ns)
	if err != nil {
		l.t.Fatal(err)
	}
	defer h.Close()
	var fd int
	if err := h.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
		return err
	}); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

var peerIDs atomic.Uint32

func (r *realNet) session(spec SessionSpec) *realClientEnd {
	l := r.l
	l.t.Helper()
	c := &realClientEnd{l: l, sink: newSink()}
	own := uint16(100 + peerIDs.Add(1))
	call, err := l.d.OpenCall(CallSpec{Namespace: l.outer, Local: addr(realServer), Remote: addr(realClient), PeerCallID: own, Sink: c.sink})
	if err != nil {
		l.t.Fatal(err)
	}
	c.call, c.client = call, newClient(l.t, call.ID(), own).withMPPE(keyUp, keyDown)
	spec.RequireMPPE = true
	call.SetDecrypt(keyUp)
	call.SetEncrypt(keyDown)
	if err := call.Attach(r.n, spec); err != nil {
		l.t.Fatal(err)
	}
	call.SetOpen(true)
	call.Counters()
	c.fd = l.rawGRE(l.client, unix.IPPROTO_GRE)
	return c
}

// send sends a GRE packet from an outer address of the client.
func (c *realClientEnd) send(packet []byte) {
	c.l.t.Helper()
	if err := unix.Sendto(c.fd, packet, 0, &unix.SockaddrInet4{Addr: addr(realServer).As4()}); err != nil {
		c.l.t.Fatal(err)
	}
}

func (c *realClientEnd) sendFrom(src string, packet []byte) {
	c.l.t.Helper()
	fd := c.l.rawGRE(c.l.client, unix.IPPROTO_GRE)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: addr(src).As4()}); err != nil {
		c.l.t.Fatal(err)
	}
	if err := unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: addr(realServer).As4()}); err != nil {
		c.l.t.Fatal(err)
	}
}

// next returns the next inner packet for this client; others' GRE packets pass by the same kind of socket.
func (c *realClientEnd) next(wait time.Duration) ([]byte, bool) {
	c.l.t.Helper()
	for {
		p, ok := tryReceive(c.l.t, c.fd, wait)
		if !ok {
			return nil, false
		}
		head := int(p[0]&0xf) * 4
		if got := netip.AddrFrom4([4]byte(p[12:])); got != addr(realServer) {
			c.l.t.Errorf("our outer address is %v", got)
		}
		if p[6]&0x40 != 0 {
			c.l.t.Error("outer DF is set")
		}
		g := p[head:]
		if len(g) < 8 || binary.BigEndian.Uint16(g[6:]) != c.own {
			continue
		}
		if _, protocol, info := c.read(g); protocol == ppp.ProtocolIPv4 {
			return info, true
		}
	}
}

func (c *realClientEnd) inner() []byte {
	c.l.t.Helper()
	p, ok := c.next(patience)
	if !ok {
		c.l.t.Fatalf("nothing came to the client; dropped: %v", c.call.Counters().Drops)
	}
	return p
}

// ping sends an echo request and wants the reply.
func (c *realClientEnd) ping(from, to string, seq uint16, n int) {
	c.l.t.Helper()
	c.send(c.data(echo(from, to, seq, n, true)))
	p := c.inner()
	if p[20] != 0 || binary.BigEndian.Uint16(p[26:]) != seq || netip.AddrFrom4([4]byte(p[12:])) != addr(to) || len(p) != 28+n {
		c.l.t.Fatalf("not the reply: % x", p)
	}
}

// answer answers echo requests until the returned function is called.
func (c *realClientEnd) answer() (stop func()) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-quit:
				return
			default:
			}
			p, ok := c.next(20 * time.Millisecond)
			if !ok || p[9] != 1 || p[20] != 8 {
				continue
			}
			src, dst := netip.AddrFrom4([4]byte(p[16:])), netip.AddrFrom4([4]byte(p[12:]))
			p[20], p[22], p[23] = 0, 0, 0
			binary.BigEndian.PutUint16(p[22:], sum16(p[20:]))
			c.send(c.data(ipv4(src.String(), dst.String(), 1, true, p[20:])))
		}
	})
	return sync.OnceFunc(func() { close(quit); wg.Wait() })
}

// waitDrop waits until all shards together have counted one drop for d.
func (c *realClientEnd) waitDrop(d Drop) {
	c.l.t.Helper()
	var got uint64
	for end := time.Now().Add(patience); time.Now().Before(end); {
		got = 0
		for _, s := range c.l.d.ShardStats() {
			got += s.Drops[d]
		}
		if got >= 1 {
			break
		}
	}
	if got != 1 {
		c.l.t.Fatalf("%d drops for %v, want 1", got, d)
	}
}

// TestRealSession is a session on real sockets and a real device.
func TestRealSession(t *testing.T) {
	for _, shards := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d shards", shards), func(t *testing.T) {
			l := newRealLab(t, shards)
			r := l.network("acme", nil)
			c := r.session(SessionSpec{Address: addr("10.50.0.7"), MTU: 1400})
			const me = "10.50.0.7"

			for i := range uint16(20) {
				c.ping(me, realHost, i, int(i)*60)
			}
			c.ping(me, "10.50.0.1", 30, 100) // us
			stop := c.answer()
			sh(t, in(r.host, "ping", "-n", "-c", "3", "-i", "0.05", "-W", "2", me)...)
			stop()
			if k := c.call.Counters(); k.InPackets != 24 || k.OutPackets != 24 || len(k.Drops.Map()) != 0 {
				t.Errorf("counted %d in, %d out, %v", k.InPackets, k.OutPackets, k.Drops.Map())
			}

			// Too big: the host learns the MTU from us.
			out, err := exec.Command("ip", in(r.host, "ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", "1400", me)[1:]...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), "From 10.50.0.1") || !strings.Contains(string(out), "mtu = 1400") {
				t.Errorf("ping with DF over the MTU: %v\n%s", err, out)
			}
			// Without DF it comes in pieces.
			sh(t, in(r.host, "ip", "route", "flush", "cache")...)
			big := exec.Command("ip", in(r.host, "ping", "-n", "-c", "1", "-W", "1", "-M", "dont", "-s", "1450", me)[1:]...)
			if err := big.Start(); err != nil {
				t.Fatal(err)
			}
			total := 0
			for total < 1458 {
				p := c.inner()
				if len(p) > 1400 {
					t.Errorf("a piece of %d octets", len(p))
				}
				total += len(p) - 20
			}
			if total != 1458 {
				t.Errorf("the pieces carry %d octets", total)
			}
			_ = big.Wait() // nobody answers

			// MSS: what the host sees of the client's SYN, and the client of the host's SYN-ACK.
			tcp := l.rawGRE(r.host, unix.IPPROTO_TCP)
			h, err := netns.Open(r.host)
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			ln, err := l.d.ListenTCP(r.host, netip.MustParseAddrPort(realHost+":7"))
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			c.send(c.data(syn(me, realHost, 7, 1460)))
			if mss, ok := mssOf(receive(t, tcp)); mss != 1360 || !ok {
				t.Errorf("the host sees MSS %d, checksum right: %v", mss, ok)
			}
			if mss, ok := mssOf(c.inner()); mss != 1360 || !ok {
				t.Errorf("the client sees MSS %d, checksum right: %v", mss, ok)
			}

			// What must not pass.
			c.send(c.data(echo("10.50.0.8", realHost, 1, 8, true)))
			c.waitDrop(DropSpoofedSource)
			c.sendFrom("192.0.2.3", c.data(echo(me, realHost, 1, 8, true)))
			c.waitDrop(DropGREWrongSource)
			unknown := newClient(t, c.callID^0x100, 1)
			c.send(unknown.data(echo(me, realHost, 1, 8, true)))
			c.waitDrop(DropGREUnknownCall)
			c.send([]byte{0x30, 0x01, 0x88, 0x0b, 0xff, 0xff, byte(c.callID >> 8), byte(c.callID), 0, 0, 0, 9})
			c.waitDrop(DropGREMalformed)
			c.send(append(c.data(echo(me, realHost, 1, 8, true)), make([]byte, 3000)...))
			c.waitDrop(DropWireOversize)
			for i, s := range l.d.ShardStats() {
				if s.WrongShard != 0 || s.ReceiveErrors != 0 {
					t.Errorf("shard %d: %d on the wrong shard, %d read errors", i, s.WrongShard, s.ReceiveErrors)
				}
			}

			// Control frames, past all that.
			c.call.SendControl(ppp.ProtocolLCP, []byte{9, 1, 0, 4})
			for {
				p := receive(t, c.fd)
				if _, protocol, info := c.read(p[20:]); protocol == ppp.ProtocolLCP {
					if !bytes.Equal(info, []byte{9, 1, 0, 4}) {
						t.Errorf("control frame % x", info)
					}
					break
				}
			}
			c.send(c.frame(ppp.ProtocolLCP, []byte{10, 1, 0, 4}))
			select {
			case f := <-c.sink.frames:
				if f.protocol != ppp.ProtocolLCP {
					t.Errorf("delivered %+v", f)
				}
			case <-time.After(patience):
				t.Error("no control frame was delivered")
			}
		})
	}
}

// TestRealSteering: with several sessions on two shards no packet meets the wrong one, framed routes included.
func TestRealSteering(t *testing.T) {
	l := newRealLab(t, 2)
	r := l.network("acme", nil)
	var all []*realClientEnd
	for i := range 6 {
		c := r.session(SessionSpec{
			Address: addr(fmt.Sprintf("10.50.0.%d", 10+i)),
			Routes:  []netip.Prefix{prefix(fmt.Sprintf("10.60.%d.0/24", i))},
		})
		all = append(all, c)
	}
	for i, c := range all {
		for k := range uint16(5) {
			c.ping(fmt.Sprintf("10.50.0.%d", 10+i), realHost, k, 100)
			c.ping(fmt.Sprintf("10.60.%d.77", i), realHost, k, 100)
		}
	}
	// A static address outside the pool has a route of its own.
	s := r.session(SessionSpec{Address: addr("10.77.0.5")})
	s.ping("10.77.0.5", realHost, 1, 10)
	used := 0
	for i, st := range l.d.ShardStats() {
		if st.WrongShard != 0 {
			t.Errorf("shard %d: %d on the wrong shard", i, st.WrongShard)
		}
		if st.TUNInPackets > 0 && st.WireInPackets > 0 {
			used++
		}
		if st.CPUTime <= 0 || st.CPU < 0 {
			t.Errorf("shard %d: CPU %d, %v", i, st.CPU, st.CPUTime)
		}
	}
	if used != 2 {
		t.Errorf("%d shards carried traffic", used)
	}
	for _, c := range append(all, s) {
		c.call.Close()
	}
	if routes := sh(t, "ip", "-n", r.ns, "route", "show", "dev", "vpn0"); strings.TrimSpace(routes) != "10.50.0.0/24 proto static scope link" {
		t.Errorf("routes left over:\n%s", routes)
	}
}

// TestRealClientToClient goes through the kernel's forwarding and back into the device.
func TestRealClientToClient(t *testing.T) {
	for _, allowed := range []bool{true, false} {
		t.Run(fmt.Sprint(allowed), func(t *testing.T) {
			l := newRealLab(t, 2)
			r := l.network("acme", func(s *NetworkSpec) { s.ClientToClient = allowed })
			a, b := r.session(SessionSpec{Address: addr("10.50.0.7")}), r.session(SessionSpec{Address: addr("10.50.0.8")})
			a.send(a.data(echo("10.50.0.7", "10.50.0.8", 5, 50, true)))
			if !allowed {
				a.waitDrop(DropClientToClient)
				return
			}
			if p := b.inner(); p[20] != 8 || binary.BigEndian.Uint16(p[26:]) != 5 {
				t.Errorf("the other got % x", p)
			}
		})
	}
}

// TestRealTenants: two tenants with the same addresses do not meet.
func TestRealTenants(t *testing.T) {
	l := newRealLab(t, 2)
	ra, rb := l.network("acme", nil), l.network("bolt", nil)
	a, b := ra.session(SessionSpec{Address: addr("10.50.0.7")}), rb.session(SessionSpec{Address: addr("10.50.0.7")})
	sh(t, "ip", "-n", rb.host, "address", "add", "10.99.0.3/24", "dev", "h0") // only behind bolt
	for i := range uint16(5) {
		a.ping("10.50.0.7", realHost, i, 100)
		b.ping("10.50.0.7", realHost, i, 200)
	}
	b.ping("10.50.0.7", "10.99.0.3", 9, 10)
	a.send(a.data(echo("10.50.0.7", "10.99.0.3", 9, 10, true)))
	if p, ok := a.next(300 * time.Millisecond); ok && p[20] == 0 {
		t.Errorf("acme reached a host of bolt: % x", p)
	}
	ka, kb := a.call.Counters(), b.call.Counters()
	if ka.InPackets != 6 || kb.InPackets != 6 || ka.InBytes == kb.InBytes {
		t.Errorf("counted %d and %d", ka.InPackets, kb.InPackets)
	}
}

// TestRealMasquerade: the host has no way back to the clients.
func TestRealMasquerade(t *testing.T) {
	l := newRealLab(t, 2)
	r := l.network("acme", func(s *NetworkSpec) { s.Masquerade = true })
	sh(t, "ip", "-n", r.host, "route", "del", "default")
	c := r.session(SessionSpec{Address: addr("10.50.0.7")})
	c.ping("10.50.0.7", realHost, 1, 10)
	spec := acme
	spec.Namespace = r.ns
	if err := r.n.Update(spec); err != nil {
		t.Fatal(err)
	}
	c.send(c.data(echo("10.50.0.7", realHost, 2, 10, true)))
	if p, ok := c.next(300 * time.Millisecond); ok {
		t.Errorf("an answer without masquerading: % x", p)
	}
}

// TestRealCloseUnderTraffic closes calls and networks while packets fly both ways.
func TestRealCloseUnderTraffic(t *testing.T) {
	l := newRealLab(t, 2)
	r := l.network("acme", nil)
	quit := make(chan struct{})
	var wg sync.WaitGroup
	flood := exec.Command("ip", in(r.host, "ping", "-n", "-q", "-f", "-W", "1", "10.50.0.7")[1:]...)
	if err := flood.Start(); err != nil {
		t.Fatal(err)
	}
	raw := l.rawGRE(l.client, unix.IPPROTO_GRE)
	wg.Go(func() { // any call ID, so that some hit
		c := newClient(t, 0, 1)
		for id := uint16(0); ; id++ {
			select {
			case <-quit:
				return
			default:
			}
			p := c.frame(ppp.ProtocolIPv4, echo("10.50.0.7", realHost, id, 100, true))
			binary.BigEndian.PutUint16(p[6:], id)
			_ = unix.Sendto(raw, p, 0, &unix.SockaddrInet4{Addr: addr(realServer).As4()})
		}
	})
	for range 20 {
		c := r.session(SessionSpec{Address: addr("10.50.0.7")})
		p := c.inner() // the flood reaches it
		c.send(c.data(echo("10.50.0.7", realHost, 1, len(p)%100, true)))
		if k := c.call.Close(); k.OutPackets == 0 {
			t.Error("closed without having carried anything")
		}
		if len(c.sink.frames) != 0 {
			t.Error("something was delivered")
		}
	}
	// And the network under a live session.
	c := r.session(SessionSpec{Address: addr("10.50.0.7")})
	c.inner()
	if err := r.n.Close(); err != nil {
		t.Error(err)
	}
	_ = flood.Process.Kill()
	_ = flood.Wait()
	close(quit)
	wg.Wait()
	c.call.Close()
	for i, s := range l.d.ShardStats() {
		if s.Calls != 0 {
			t.Errorf("shard %d has %d calls", i, s.Calls)
		}
	}
}

// TestRealDeviceDeleted: an operator deletes the device and then the namespace. The shards must neither stop nor spin.
func TestRealDeviceDeleted(t *testing.T) {
	l := newRealLab(t, 2)
	r := l.network("acme", nil)
	c := r.session(SessionSpec{Address: addr("10.50.0.7")})
	c.ping("10.50.0.7", realHost, 1, 10)
	sh(t, "ip", "-n", r.ns, "link", "del", "vpn0")
	select {
	case <-r.n.Lost():
	case <-time.After(patience):
		t.Fatal("nobody noticed")
	}
	c.send(c.data(echo("10.50.0.7", realHost, 2, 10, true)))
	c.waitDrop(DropTUNGone)
	before := l.d.ShardStats()
	time.Sleep(300 * time.Millisecond) // the measurement itself
	for i, s := range l.d.ShardStats() {
		if used := s.CPUTime - before[i].CPUTime; used > 100*time.Millisecond {
			t.Errorf("shard %d used %v of 300 ms for nothing", i, used)
		}
	}
	// The namespace's name goes too; then everything can be made again.
	sh(t, "ip", "netns", "del", r.ns)
	if err := r.n.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	again, err := l.d.OpenNetwork(NetworkSpec{Tenant: "acme", Namespace: r.ns, Device: "vpn0", Gateways: acme.Gateways, Routes: acme.Routes})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.call.Attach(again, SessionSpec{Address: addr("10.50.0.7"), RequireMPPE: true}); err != nil {
		t.Fatal(err)
	}
	c.call.SetOpen(true)
	c.call.Counters()
	c.ping("10.50.0.7", "10.50.0.1", 3, 10)
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// TestRealForgery: one packet to every call ID with a far sequence number. The session lives, its traffic goes on, and
// what the forgeries cost the shard is small.
func TestRealForgery(t *testing.T) {
	l := newRealLab(t, 2)
	r := l.network("acme", nil)
	c := r.session(SessionSpec{Address: addr("10.50.0.7")})
	c.ping("10.50.0.7", realHost, 1, 10)
	forger := newClient(t, 0, 1).withMPPE(keyDown, keyUp)
	p := forger.data(echo("10.50.0.7", realHost, 1, 100, true))
	before := l.d.ShardStats()
	start := time.Now()
	for id := range 1 << 16 {
		binary.BigEndian.PutUint16(p[6:], uint16(id))
		binary.BigEndian.PutUint32(p[8:], 1<<30+uint32(id)*7919)
		c.send(p)
		if id%8192 == 0 {
			c.ping("10.50.0.7", realHost, uint16(id/8192), 10)
		}
	}
	took := time.Since(start)
	c.ping("10.50.0.7", realHost, 99, 1000)
	after := l.d.ShardStats()
	var cost time.Duration
	var unknown uint64
	for i := range after {
		cost += after[i].CPUTime - before[i].CPUTime
		unknown += after[i].Drops[DropGREUnknownCall]
	}
	t.Logf("65536 forgeries in %v cost the shards %v, %v each; %d unknown calls counted", took, cost, cost/(1<<16), unknown)
	if unknown < 1<<16-1000 {
		t.Errorf("only %d unknown calls counted", unknown)
	}
	if cost > took/20 {
		t.Errorf("the forgeries took %v of %v, more than 5 %%", cost, took)
	}
}
