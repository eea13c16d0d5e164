//go:build interop

package flood

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netns"
	simpptp "concentrator/internal/simclient/pptp"
	"concentrator/internal/wire/gre"
	wirel2tp "concentrator/internal/wire/l2tp"
	wirelcp "concentrator/internal/wire/lcp"
	wireppp "concentrator/internal/wire/ppp"
)

// strangers is how many calls are up to LCP and no further, half of them by L2TP, each from an address of its own. With more of
// them each would stay below what is taken from one.
const strangers = 48

// Where they are among the attacker's addresses.
const (
	tunnellersAt = 200_000
	callersAt    = 210_000
)

// stranger is a call in which nobody logs in.
type stranger struct {
	agrees bool // comes to terms in LCP, and goes on from there; others never do

	mu    sync.Mutex
	carry func(frame []byte) error // nil: there is no call now
	n     int                      // frames of this call
	owed  []byte                   // what the daemon's first request gets, which may come before the call is known here
}

// begin is told that there is a call; nil: it is over.
func (s *stranger) begin(carry func(frame []byte) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.carry, s.n = carry, 0
	if carry != nil && s.owed != nil {
		_ = carry(s.owed) // lost, as on any line
	}
	s.owed = nil
}

// send sends the next frame, if there is a call.
func (s *stranger) send() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.carry == nil {
		return nil
	}
	s.n++
	return s.carry(s.frame(s.n - 1))
}

// take takes a frame of the daemon's.
func (s *stranger) take(frame []byte) error {
	protocol, info, err := wireppp.ParseFrame(frame)
	if err != nil || protocol != wireppp.ProtocolLCP {
		return nil //nolint:nilerr // not what is waited for
	}
	p, err := wireppp.ParsePacket(info)
	if err != nil || p.Code != wireppp.CodeConfigureRequest {
		return nil //nolint:nilerr // likewise
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.agrees {
		return nil
	}
	ack := lcp(wireppp.CodeConfigureAck, int(p.ID), p.Data)
	if s.carry == nil {
		s.owed = ack
		return nil
	}
	return s.carry(ack)
}

func lcp(code byte, id int, data []byte) []byte {
	b := wireppp.AppendHeader(nil, wireppp.ProtocolLCP, false, false)
	return wireppp.AppendPacket(b, code, byte(id), data)
}

// terminateEvery is how many frames there are from one Terminate-Request to the next, which ends the call of who has come to terms:
// often enough for some in the shortest flood.
const terminateEvery = 150

// frame is frame n of a call.
func (s *stranger) frame(n int) []byte {
	const (
		unknownCode, unknownOption = 200, 200
		unknownProtocol            = 0x8057 // IPv6's
	)
	number := binary.BigEndian.AppendUint32(nil, uint32(n)+1)
	switch {
	case s.agrees && n == 0:
		return lcp(wireppp.CodeConfigureRequest, n, wirelcp.AppendMagic(nil, 1))
	case n%terminateEvery == terminateEvery-1:
		return lcp(wireppp.CodeTerminateRequest, n, nil)
	}
	switch n % 4 {
	case 0:
		return lcp(wireppp.CodeCodeReject, n, append([]byte{unknownCode}, number...))
	case 1:
		return lcp(wirelcp.CodeProtocolReject, n, wirelcp.AppendProtocolReject(nil, unknownProtocol, number))
	case 2:
		return lcp(wirelcp.CodeEchoRequest, n, append(number, number...))
	}
	if s.agrees {
		return lcp(unknownCode, n, number)
	}
	options := wirelcp.AppendMagic(wirelcp.AppendMRU(nil, uint16(n)), uint32(n)+1)
	return lcp(wireppp.CodeConfigureRequest, n, wireppp.AppendOption(options, unknownOption, number...))
}

// unauthenticated makes calls, by PPTP and by L2TP, and sends in each of them what LCP has to answer or to look at.
func unauthenticated(t *testing.T, w *world) flooder {
	r := openRaw(t, w)
	l := &tunnellers{r: r, reader: openReader(t, w, unix.IPPROTO_UDP), all: map[netip.Addr]*tunneller{}}
	p := &callers{r: r, reader: openReader(t, w, unix.IPPROTO_GRE), all: map[netip.Addr]*stranger{}}
	var err error
	if p.part, err = netns.Open(w.lab.NS("atk")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.part.Close() })
	var all []*stranger
	for i := range strangers / 2 {
		s := &tunneller{stranger: stranger{agrees: i%2 == 0}, l: l, at: nth(netip.MustParsePrefix(villains), tunnellersAt+i)}
		l.all[s.at] = s
		c := &stranger{agrees: i%2 == 0}
		p.all[nth(netip.MustParsePrefix(villains), callersAt+i)] = c
		all = append(all, &s.stranger, c)
	}
	return func(ctx context.Context) (int, error) {
		var others sync.WaitGroup
		defer others.Wait()
		others.Go(func() { l.run(ctx) })
		others.Go(func() { p.run(ctx) })
		return steady(ctx, floodRate, func(i int) error { return all[i%len(all)].send() })
	}
}

// tunnellers come by L2TP.
type tunnellers struct {
	r      raw
	reader int
	all    map[netip.Addr]*tunneller
}

// tunneller is one of them, with a tunnel and a call in it. What follows l belongs to the goroutine of run.
type tunneller struct {
	stranger
	l  *tunnellers
	at netip.Addr

	to     netip.AddrPort // the daemon's port, which is another one from its first answer on (RFC 2661 section 8.1)
	tunnel uint16         // as the daemon numbers it
	ns, nr uint16
	calls  uint16
	last   []byte // what was asked last, and
	asked  time.Time
	up     bool
}

// run makes tunnels and calls until ctx ends.
func (l *tunnellers) run(ctx context.Context) {
	for ctx.Err() == nil {
		for _, s := range l.all {
			s.urge()
		}
		const look = 20 * time.Millisecond
		short, cancel := context.WithTimeout(ctx, look)
		_ = l.r.answer(short, l.reader, func(from, to netip.AddrPort, payload []byte) []byte {
			if s := l.all[to.Addr()]; s != nil {
				return s.message(from, payload)
			}
			return nil
		})
		cancel()
	}
}

// urge asks for a tunnel, or again for what was asked for.
func (s *tunneller) urge() {
	const patience = 100 * time.Millisecond
	if s.up || time.Since(s.asked) < patience {
		return
	}
	if s.last == nil {
		s.to, s.tunnel, s.ns, s.nr = target(wirel2tp.Port), 0, 1, 0
		s.last = s.udp(sccrq(1))
	}
	s.asked = time.Now()
	_ = s.l.r.send(s.last) // lost, as on any line
}

func (s *tunneller) udp(payload []byte) []byte {
	return udp(netip.AddrPortFrom(s.at, wirel2tp.Port), s.to, payload)
}

// control makes a control message, for the daemon's session unless that is 0.
func (s *tunneller) control(session uint16, m wirel2tp.Message) []byte {
	h := wirel2tp.Header{TunnelID: s.tunnel, SessionID: session, Ns: s.ns, Nr: s.nr}
	s.ns++
	return s.udp(wirel2tp.Append(nil, h, m, nil))
}

// call asks for the next call.
func (s *tunneller) call() []byte {
	s.calls++
	s.up = false
	s.begin(nil)
	s.last, s.asked = s.control(0, &wirel2tp.ICRQ{AssignedSessionID: s.calls, CallSerialNumber: uint32(s.calls)}), time.Now()
	return s.last
}

// message takes a datagram of the daemon's and returns the answer.
func (s *tunneller) message(from netip.AddrPort, payload []byte) []byte {
	h, body, err := wirel2tp.ParseHeader(payload)
	if err != nil {
		return nil
	}
	if !h.Control {
		_ = s.take(body)
		return nil
	}
	if len(body) == 0 {
		return nil
	}
	if h.Ns != s.nr {
		return s.udp(wirel2tp.AppendZLB(nil, wirel2tp.Header{TunnelID: s.tunnel, Ns: s.ns, Nr: s.nr}))
	}
	s.nr++
	m, _ := wirel2tp.Parse(body, nil)
	switch m := m.(type) {
	case *wirel2tp.SCCRP:
		s.to, s.tunnel = from, m.AssignedTunnelID
		_ = s.l.r.send(s.control(0, &wirel2tp.SCCCN{}))
		return s.call()
	case *wirel2tp.ICRP:
		s.up = true
		to := wirel2tp.Header{TunnelID: s.tunnel, SessionID: m.AssignedSessionID}
		s.begin(func(frame []byte) error {
			b, _ := to.AppendBinary(nil) // never fails
			return s.l.r.send(s.udp(append(b, frame...)))
		})
		return s.control(m.AssignedSessionID, &wirel2tp.ICCN{TxConnectSpeed: 1 << 20, FramingType: wirel2tp.FramingSync})
	case *wirel2tp.CDN:
		return s.call()
	case *wirel2tp.StopCCN:
		s.begin(nil)
		s.last, s.up = nil, false
	}
	return s.udp(wirel2tp.AppendZLB(nil, wirel2tp.Header{TunnelID: s.tunnel, Ns: s.ns, Nr: s.nr}))
}

// callers come by PPTP.
type callers struct {
	r      raw
	reader int
	part   *netns.Handle
	all    map[netip.Addr]*stranger
}

// run makes connections and calls until ctx ends.
func (p *callers) run(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	for at, s := range p.all {
		group.Go(func() {
			for ctx.Err() == nil {
				p.connect(ctx, at, s)
			}
		})
	}
	_ = p.r.read(ctx, p.reader, func(_, to netip.Addr, payload []byte) error {
		if s := p.all[to]; s != nil {
			if _, frame, err := gre.ParseHeader(payload); err == nil && len(frame) > 0 {
				return s.take(frame)
			}
		}
		return nil
	})
}

// connect makes a connection, and calls in it one after the other as long as they are taken.
func (p *callers) connect(ctx context.Context, at netip.Addr, s *stranger) {
	const pause = 20 * time.Millisecond
	defer time.Sleep(pause)
	var c net.Conn
	if err := p.part.Do(func() (err error) {
		c, err = dialAs(ctx, at, portPPTP)
		return err
	}); err != nil {
		return
	}
	client, err := simpptp.NewClient(ctx, c, simpptp.Config{Start: simpptp.WindowsStart()})
	if err != nil {
		return
	}
	defer client.Abort()
	for id := uint16(1); ctx.Err() == nil; id++ {
		call, err := client.Call(ctx, simpptp.WindowsCall(id, id, [16]byte{}))
		if err != nil {
			return
		}
		s.begin(p.carry(at, call.PeerID()))
		select {
		case <-call.Done():
		case <-client.Done():
		case <-ctx.Done():
		}
		s.begin(nil)
	}
}

// carry sends frames to a call.
func (p *callers) carry(at netip.Addr, call uint16) func(frame []byte) error {
	h := gre.Header{CallID: call, HasSeq: true}
	return func(frame []byte) error {
		h.PayloadLen = uint16(len(frame))
		packet := ipv4(at, target(0).Addr(), unix.IPPROTO_GRE, h.Len()+len(frame))
		h.Put(packet[ipLen:])
		copy(packet[ipLen+h.Len():], frame)
		h.Seq++
		return p.r.send(packet)
	}
}
