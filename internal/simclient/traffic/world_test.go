package traffic

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/l2tpdata"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/esphdr"
	"concentrator/internal/wire/l2tp"
	wireppp "concentrator/internal/wire/ppp"
)

// IDs of the L2TP sessions in tests, as each end gave them.
const (
	clientTunnel, clientSession = 7, 9
	serverTunnel, serverSession = 11, 13
	natt                        = 4500
)

// end is one end of a session in tests: L2TP, in ESP in UDP if there are SAs.
type end struct {
	in              *esp.Inbound
	out             *esp.Outbound
	tunnel, session uint16 // of the other end
}

// newEnds makes both ends of a session.
func newEnds(t testing.TB, secure bool) (client, server *end) {
	t.Helper()
	client = &end{tunnel: serverTunnel, session: serverSession}
	server = &end{tunnel: clientTunnel, session: clientSession}
	if !secure {
		return client, server
	}
	sa := func(spi uint32) (*esp.Inbound, *esp.Outbound) {
		p := esp.Params{
			SPI: spi, Encryption: esphdr.AESCBC, Key: bytes.Repeat([]byte{byte(spi)}, 16),
			Integrity: esphdr.HMACSHA1_96, AuthKey: bytes.Repeat([]byte{byte(spi)}, 20),
		}
		in, err := esp.NewInbound(p)
		if err != nil {
			t.Fatal(err)
		}
		out, err := esp.NewOutbound(p)
		if err != nil {
			t.Fatal(err)
		}
		return in, out
	}
	client.in, server.out = sa(0x1001)
	server.in, client.out = sa(0x2002)
	return client, server
}

// wrap puts all but ESP around the PPP frame content in b.
func (e *end) wrap(b *pktbuf.Buf, protocol uint16) bool {
	var head [4]byte
	h := wireppp.AppendHeader(head[:0], protocol, false, false)
	copy(b.Prepend(len(h)), h)
	return l2tpdata.Prepend(b, e.tunnel, e.session, nil) && (e.out == nil || l2tpdata.PrependUDP(b, l2tp.Port))
}

// strip undoes it; the result is a PPP frame.
func (e *end) strip(b *pktbuf.Buf) bool {
	if e.in != nil {
		if _, v := l2tpdata.StripUDP(b, false, [4]byte{}, [4]byte{}); v != l2tpdata.OK {
			return false
		}
	}
	_, v := l2tpdata.Strip(b)
	return v == l2tpdata.OK
}

// testLink is the client's end as a Link.
type testLink struct {
	*end
	mu       sync.Mutex
	controls [][]byte
}

func (k *testLink) Pack(o *Outgoing) bool {
	o.SA = k.out
	copy(o.Buf.Prepend(4), []byte{0xff, 3, 0, 0x21})
	return l2tpdata.Prepend(o.Buf, k.tunnel, k.session, nil) && (k.out == nil || l2tpdata.PrependUDP(o.Buf, l2tp.Port))
}

func (*testLink) Finish(*Outgoing) bool { return true }

func (k *testLink) Unpack(in *Incoming, _ time.Time) {
	in.Kind = KindData
	switch p := in.Buf.Bytes(); {
	case k.in != nil && esphdr.Classify(p) == esphdr.KindESP:
		in.SA = k.in
	case k.in != nil, p[0]&0x80 != 0:
		in.Kind = KindRaw
	}
}

func (k *testLink) Opened(in *Incoming, _ time.Time) {
	in.Kind = KindDropped
	if in.SA != nil && in.ESP != esp.OK || !k.strip(in.Buf) {
		return
	}
	protocol, info, err := wireppp.ParseFrame(in.Buf.Bytes())
	switch {
	case err != nil:
	case protocol == wireppp.ProtocolIPv4:
		in.Buf.TrimFront(in.Buf.Len() - len(info))
		in.Kind = KindData
	default:
		in.Kind = KindControl
	}
}

func (*testLink) Owed(*pktbuf.Buf, time.Time) bool { return false }

func (k *testLink) Control(_ Kind, b []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.controls = append(k.controls, bytes.Clone(b))
}

// world is clients, a server that may do harm, and a responder, all on the loopback. A session's inner address is one of the
// loopback's too, where the server has a socket.
type world struct {
	t         testing.TB
	server    *net.UDPConn
	responder *Responder
	paths     []Path
	links     []*testLink
	ends      []*end
	clients   map[netip.AddrPort]int
	inner     []*net.UDPConn
	locks     []sync.Mutex // of ends

	mu   sync.Mutex
	raws [][]byte // what was given back
	// up and down are asked for each packet, in the order in which they come in each session, how often to send it on; -1:
	// behind the next one.
	up, down func(session, n int) int
}

var worlds atomic.Int32

func newWorld(t testing.TB, sessions int, secure bool) *world {
	w := &world{t: t, clients: map[netip.AddrPort]int{}, locks: make([]sync.Mutex, sessions)}
	once := func(int, int) int { return 1 }
	w.up, w.down = once, once
	var err error
	w.server, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	_ = w.server.SetReadBuffer(4 << 20)
	at := w.server.LocalAddr().(*net.UDPAddr).AddrPort()
	if w.responder, err = NewResponder("", netip.MustParseAddrPort("127.0.0.1:0")); err != nil {
		t.Skipf("namespaces can't be used: %v", err)
	}
	gate, number := &Gate{}, byte(worlds.Add(1))
	for i := range sessions {
		client, server := newEnds(t, secure)
		fd, from := udp(t, "127.0.0.1:0")
		address := netip.AddrFrom4([4]byte{127, 77, number, byte(1 + i)})
		inner, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, clientPort)))
		if err != nil {
			t.Fatal(err)
		}
		_ = inner.SetReadBuffer(4 << 20)
		link := &testLink{end: client}
		w.links, w.ends, w.inner, w.clients[from] = append(w.links, link), append(w.ends, server), append(w.inner, inner), i
		w.paths = append(w.paths, Path{
			Protocol: tenant.ProtocolL2TP, Address: address, MTU: 1400, Link: link, Gate: gate,
			Socket: Socket{FD: fd, Remote: at},
			Receive: func(port uint16, b []byte) {
				w.mu.Lock()
				defer w.mu.Unlock()
				if port != at.Port() {
					t.Errorf("from port %d", port)
				}
				w.raws = append(w.raws, b)
			},
		})
	}
	return w
}

// serve runs the server until the test ends.
func (w *world) serve() {
	var threads sync.WaitGroup
	threads.Go(w.serveUp)
	for i := range w.inner {
		threads.Go(func() { w.serveDown(i) })
	}
	w.t.Cleanup(func() {
		_ = w.server.Close()
		for _, c := range w.inner {
			_ = c.Close()
		}
		threads.Wait()
		_ = w.responder.Close()
	})
}

// harm sends a packet as often as it should.
type harm struct {
	count int
	held  []byte
}

func (h *harm) pass(times int, p []byte, send func(p []byte)) {
	h.count++
	if times < 0 {
		h.held = bytes.Clone(p)
		return
	}
	for range times {
		send(p)
	}
	if h.held != nil && times > 0 {
		send(h.held)
		h.held = nil
	}
}

func (w *world) serveUp() {
	harms := make([]harm, len(w.ends))
	var b pktbuf.Buf
	p := make([]byte, 4096)
	to := net.UDPAddrFromAddrPort(w.responder.Address())
	for {
		n, from, err := w.server.ReadFromUDPAddrPort(p)
		if err != nil {
			return
		}
		i, known := w.clients[from]
		if !known || !b.SetBytes(p[:n]) {
			w.t.Errorf("%d octets from %v", n, from)
			continue
		}
		e := w.ends[i]
		if e.in != nil {
			if next, v := e.in.Open(&b); v != esp.OK || next != protoUDP {
				w.t.Errorf("session %d: ESP: %v", i, v)
				continue
			}
		}
		if !e.strip(&b) {
			w.t.Errorf("session %d: not L2TP", i)
			continue
		}
		protocol, ip, err := wireppp.ParseFrame(b.Bytes())
		if err != nil || protocol != wireppp.ProtocolIPv4 || slowSum(ip[:20]) != 0 || len(ip) != int(binary.BigEndian.Uint16(ip[2:])) {
			w.t.Errorf("session %d: protocol %x, %v", i, protocol, err)
			continue
		}
		harms[i].pass(w.up(i, harms[i].count), ip[28:], func(p []byte) { _, _ = w.inner[i].WriteToUDP(p, to) })
	}
}

func (w *world) serveDown(i int) {
	var h harm
	p := make([]byte, 4096)
	for {
		n, from, err := w.inner[i].ReadFromUDPAddrPort(p)
		if err != nil {
			return
		}
		if from != w.responder.Address() {
			w.t.Errorf("from %v", from)
		}
		ip := make([]byte, 28+n)
		newTemplate(len(ip), netip.AddrPortFrom(w.paths[i].Address, clientPort)).put(ip, from.Addr().As4(), 0, stamp{})
		binary.BigEndian.PutUint16(ip[20:], from.Port())
		copy(ip[28:], p[:n])
		h.pass(w.down(i, h.count), ip, func(p []byte) { w.send(i, wireppp.ProtocolIPv4, p) })
	}
}

// send sends a PPP frame to a client.
func (w *world) send(i int, protocol uint16, info []byte) {
	w.locks[i].Lock()
	defer w.locks[i].Unlock()
	var b pktbuf.Buf
	e := w.ends[i]
	if !b.SetBytes(info) || !e.wrap(&b, protocol) || e.out != nil && e.out.Seal(&b, protoUDP) != esp.OK {
		w.t.Errorf("session %d: can't send", i)
		return
	}
	w.sendRaw(i, b.Bytes())
}

// sendRaw sends a datagram to a client.
func (w *world) sendRaw(i int, p []byte) {
	for at, k := range w.clients {
		if k == i {
			_, _ = w.server.WriteToUDPAddrPort(p, at)
		}
	}
}

// run runs traffic.
func (w *world) run(cfg Config) *Report {
	w.t.Helper()
	cfg.Paths, cfg.Responder = w.paths, w.responder
	r, err := Run(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func streams(r *Report) map[string]*Stream {
	all := map[string]*Stream{}
	if r.Up != nil {
		all["up"] = r.Up
	}
	if r.Down != nil {
		all["down"] = r.Down
	}
	return all
}

// TestAllArrives: in all directions, in clear and in ESP, by rate and by window, what was sent arrives.
func TestAllArrives(t *testing.T) {
	const packets = 3000
	for _, secure := range []bool{false, true} {
		w := newWorld(t, 5, secure)
		w.serve()
		for _, direction := range []Direction{Up, Down, Both, Echo} {
			for _, pps := range []float64{0, 20_000} {
				t.Run(fmt.Sprintf("%v, ESP %v, rate %v", direction, secure, pps), func(t *testing.T) {
					r := w.run(Config{
						Direction: direction, Size: imix, PPS: pps, Packets: packets, Duration: 20 * time.Second, UpWindow: 100, DownWindow: 100,
					})
					if len(streams(r)) != map[Direction]int{Up: 1, Down: 1, Both: 2, Echo: 2}[direction] || r.Sessions != 5 {
						t.Errorf("%+v", *r)
					}
					for name, s := range streams(r) {
						if s.Sent != packets || s.Received != packets || s.Lost+s.Reordered+s.Duplicates+s.Unsent != 0 || r.Foreign != 0 {
							t.Errorf("%s: %+v", name, *s)
						}
						if mean := float64(s.Bytes) / packets; mean < 340 || mean > 350 {
							t.Errorf("%s: packets of %.1f octets, want 346", name, mean)
						}
						if s.PPS <= 0 || s.BitsPerSecond <= 0 || s.P50Ms <= 0 || s.P99Ms < s.P50Ms || s.P999Ms < s.P99Ms || s.MaxMs < s.P999Ms {
							t.Errorf("%s: %+v", name, *s)
						}
					}
					if r.OwnCPUS <= 0 || r.ClientCPUS <= 0 || r.ResponderCPUS <= 0 || r.ClientCPUS+r.ResponderCPUS > r.OwnCPUS*1.05+0.01 {
						t.Errorf("processor time: %+v", *r)
					}
				})
			}
		}
	}
}

// TestHarm: what the server loses, doubles and exchanges is found, each in its direction.
func TestHarm(t *testing.T) {
	const packets, sessions = 3000, 3
	w := newWorld(t, sessions, true)
	var mu sync.Mutex
	var lost, twice, late [2]uint64
	at := func(direction int) func(session, n int) int {
		return func(_, n int) int {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case n > 950: // the last ones of each session pass, so that all is seen
			case n%(50-20*direction) == 7:
				lost[direction]++
				return 0
			case n%61 == 3:
				twice[direction]++
				return 2
			case n%97 == 5:
				late[direction]++
				return -1
			}
			return 1
		}
	}
	w.up, w.down = at(0), at(1)
	w.serve()
	r := w.run(Config{Direction: Both, Size: Size{200}, PPS: 10_000, Packets: packets, Duration: 20 * time.Second})
	mu.Lock()
	defer mu.Unlock()
	for i, s := range []*Stream{r.Up, r.Down} {
		if s.Sent != packets || s.Lost != lost[i] || s.Duplicates != twice[i] || s.Reordered != late[i] || s.Received != packets-lost[i] {
			t.Errorf("%+v; want %d lost, %d twice, %d late", *s, lost[i], twice[i], late[i])
		}
		if lost[i] == 0 || twice[i] == 0 || late[i] == 0 {
			t.Error("the server was harmless")
		}
		if got, want := s.LossRatio(), float64(lost[i])/packets; got != want {
			t.Errorf("loss of %g, want %g", got, want)
		}
	}
	if r.Lost != lost[0]+lost[1] {
		t.Errorf("%d lost in all", r.Lost)
	}
}

// TestGivenBack: what is no data goes back to the clients while traffic runs.
func TestGivenBack(t *testing.T) {
	w := newWorld(t, 2, true)
	w.serve()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range 20 {
			time.Sleep(5 * time.Millisecond)
			w.send(1, wireppp.ProtocolLCP, []byte{9, byte(n), 0, 8, 1, 2, 3, 4})
			w.sendRaw(1, []byte{0, 0, 0, 0, byte(n)})                 // IKE
			w.sendRaw(1, bytes.Repeat([]byte{0, 0, 0, 0, 1}, 3000/5)) // longer than any packet buffer
			w.sendRaw(1, []byte{0, 0, 0x10, 1, 0, 0, 0, 1, 2, 3, 4})  // ESP that is none
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // a little longer than it
		<-done
		time.Sleep(50 * time.Millisecond)
		cancel()
	}()
	cfg := Config{Paths: w.paths, Responder: w.responder, Direction: Both, Size: Size{100}, PPS: 5000, Duration: time.Minute}
	r, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if r.Up.Lost+r.Down.Lost != 0 || r.Foreign != 20 {
		t.Errorf("%+v %+v, foreign %d", *r.Up, *r.Down, r.Foreign)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.links[0].controls) != 0 || len(w.links[1].controls) != 20 {
		t.Fatalf("%d and %d control frames", len(w.links[0].controls), len(w.links[1].controls))
	}
	for n, c := range w.links[1].controls {
		if want := []byte{0xff, 3, 0xc0, 0x21, 9, byte(n), 0, 8, 1, 2, 3, 4}; !bytes.Equal(c, want) {
			t.Errorf("control frame % x, want % x", c, want)
		}
	}
	short, long := 0, 0
	for _, p := range w.raws {
		switch len(p) {
		case 5:
			if p[4] != byte(short) {
				t.Errorf("given back: % x", p)
			}
			short++
		case 3000:
			long++
		}
	}
	if short != 20 || long != 20 || len(w.raws) != 40 {
		t.Errorf("%d short and %d long of %d given back", short, long, len(w.raws))
	}
}

// TestSocketsGivenBack: behind a run, datagrams come one by one again.
func TestSocketsGivenBack(t *testing.T) {
	w := newWorld(t, 1, false)
	w.serve()
	w.run(Config{Direction: Up, Size: Size{100}, Packets: 10, Duration: time.Second})
	from, _ := udp(t, "127.0.0.1:0")
	s := newSender()
	var to [1]netip.AddrPort
	for at := range w.clients {
		to[0] = at
	}
	name := sockaddr(to[0])
	for range 8 {
		s.add(from, true, &name, make([]byte, 100), 0)
	}
	s.flush()
	r := newTrainReader()
	if n, err := r.read(w.paths[0].Socket.FD); n != 8 || err != nil {
		t.Errorf("%d messages for 8 datagrams; %v", n, err)
	}
}

// TestStops: by itself when the time is over, when all is sent, and when it is told to.
func TestStops(t *testing.T) {
	w := newWorld(t, 2, false)
	w.serve()
	for name, cfg := range map[string]Config{
		"time":    {Duration: 200 * time.Millisecond, PPS: 1000},
		"packets": {Duration: time.Minute, PPS: 1000, Packets: 200},
	} {
		began := time.Now()
		cfg.Direction, cfg.Size = Both, Size{64}
		if r := w.run(cfg); time.Since(began) > 10*time.Second || r.DurationS < 0.15 || r.DurationS > 5 {
			t.Errorf("%s: %v, %+v", name, time.Since(began), *r)
		}
	}
	// Of a silent server, what is under way is lost.
	w = newWorld(t, 2, false)
	w.up = func(int, int) int { return 0 }
	w.serve()
	r := w.run(Config{Direction: Up, Size: Size{64}, Duration: 100 * time.Millisecond, UpWindow: 50, Quiet: 50 * time.Millisecond})
	if r.Up.Sent != 50 || r.Up.Received != 0 || r.Lost != 50 {
		t.Errorf("%+v", *r.Up)
	}
}
