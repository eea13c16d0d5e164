package ikev1

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"concentrator/internal/corpus"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// FuzzPeerEvents plays what becomes of peers that are in: packets that come, limits that are reached, rekeys by either side,
// ports that change, peers that turn out to be one, ends from either side and deaths, among messages that are lost, mangled,
// repeated and forged. Each octet pair is one step. Peers check how they are called; in the end another client gets in, and
// then nothing is left.
func FuzzPeerEvents(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte{2, 0, 1, 70, 3, 0, 0, 20, 5, 9, 1, 200})                      // traffic, rekeys by time, a limit, another port
	f.Add([]byte{8, 1, 0, 50, 6, 0, 0, 50, 2, 0, 3, 1, 1, 30, 7, 0, 1, 3})     // comes again by another port, becomes one, ends
	f.Add([]byte{9, 7, 3, 0, 0, 90, 10, 3, 3, 1, 11, 2, 13, 0, 1, 255, 4, 0})  // losses, a mangled rekey, a repetition, death
	f.Add([]byte{12, 0, 3, 0, 3, 1, 1, 20, 12, 0, 15, 1, 15, 2, 14, 7, 1, 60}) // no room, forged messages
	f.Fuzz(func(t *testing.T, steps []byte) {
		if len(steps) > 80 {
			return
		}
		run(t, func(t *testing.T, w *world) { playPeers(t, w, steps) })
	})
}

// hand is what FuzzPeerEvents does to the network.
type hand struct {
	lose   int
	mangle int // the place of the octet in the next message, from 1
	last   []byte
	from   netip.AddrPort
	to     netip.AddrPort
}

func playPeers(t *testing.T, w *world, steps []byte) {
	server, client := pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret")
	server.ESPLifetime, server.IKELifetime = time.Minute, 3*time.Minute
	client.ESPLifetime, client.IKELifetime = 12*time.Hour, 12*time.Hour
	watched := Config{Log: corpus.Log(t)}
	s := w.host(serverAddr, policyOf(server), watched)
	cl := w.behind("203.0.113.9", "10.0.0.2", policyOf(client), watched)
	cl.initiate(linux("10.0.0.2", "secret"))
	settle(2 * time.Second)
	var h hand
	fence.Lock()
	w.tap = func(from, to netip.AddrPort, msg []byte) bool {
		h.last, h.from, h.to = bytes.Clone(msg), from, to
		if h.lose > 0 {
			h.lose--
			return false
		}
		if h.mangle > 0 {
			msg[(h.mangle-1)%len(msg)] ^= 0x55
			h.mangle = 0
		}
		return true
	}
	fence.Unlock()
	for ; len(steps) >= 2; steps = steps[2:] {
		op, arg := steps[0], steps[1]
		switch op % 16 {
		case 0:
			settle(time.Duration(arg) * 100 * time.Millisecond)
		case 1:
			settle(time.Duration(arg) * time.Second)
		case 2: // packets, each way
			for _, a := range s.living() {
				for _, b := range cl.living() {
					_, _ = carries(a, b), carries(b, a)
				}
			}
		case 3, 4: // a limit is reached
			at := []*host{s, cl}[arg%2]
			for _, p := range at.living() {
				if _, out := p.state(); out != nil {
					at.e.Limit(p, out.InboundSPI, op%16 == 4)
				}
			}
		case 5:
			for _, p := range s.living() {
				s.e.Moved(p, netip.AddrPortFrom(netip.MustParseAddr("203.0.113.9"), 20001+uint16(arg%4)))
			}
		case 6:
			settle(0)
			mergeFirst(s)
		case 7:
			at := []*host{s, cl}[arg%2]
			for _, p := range at.living() {
				at.e.Drop(p, tenant.ReasonAdminDisconnect)
			}
		case 8: // the client begins anew, perhaps after its NAT has forgotten it
			w.mu.Lock()
			if arg%2 == 1 {
				cl.nat.ports, cl.nat.back = map[netip.AddrPort]uint16{}, map[uint16]netip.AddrPort{}
			}
			w.mu.Unlock()
			if len(cl.all) < 4 {
				cl.initiate(linux("10.0.0.2", "secret"))
			}
		case 9, 10:
			w.mu.Lock()
			if op%16 == 9 {
				h.lose = int(arg % 16)
			} else {
				h.mangle = int(arg) + 1
			}
			w.mu.Unlock()
		case 11: // the last message again, from another port
			w.mu.Lock()
			from, to, msg := h.from, h.to, bytes.Clone(h.last)
			w.mu.Unlock()
			if msg != nil {
				w.deliver(netip.AddrPortFrom(from.Addr(), from.Port()+uint16(arg%2)), to, msg)
			}
		case 12: // the data plane has no room, until it has
			for _, p := range s.living() {
				p.mu.Lock()
				p.failAdd = !p.failAdd
				p.mu.Unlock()
			}
		case 13: // silence
			s.mu.Lock()
			s.idle = time.Duration(arg) * time.Minute
			s.mu.Unlock()
		case 14: // what the data plane says too late
			for _, p := range s.all {
				s.e.Used(p, uint32(arg))
				s.e.Limit(p, uint32(arg), arg%2 == 0)
			}
		case 15: // a message in clear in the SA's name
			forged(s, arg)
		}
	}
	fence.Lock()
	w.mu.Lock()
	w.tap = nil
	w.mu.Unlock()
	fence.Unlock()
	for _, p := range s.living() {
		p.mu.Lock()
		p.failAdd = false
		p.mu.Unlock()
	}
	again := w.host("192.0.2.8", policyOf(client), Config{})
	again.initiate(linux("192.0.2.8", "secret"))
	settle(2 * time.Second)
	if _, out := again.only().state(); out == nil {
		t.Error("another client does not get in")
	}
	// All are told to go; then even what was under way is over.
	for range 2 {
		for _, at := range []*host{s, cl, again} {
			for _, p := range at.living() {
				at.e.Drop(p, tenant.ReasonAdminDisconnect)
			}
		}
		settle(5 * time.Minute)
	}
	for _, at := range []*host{s, cl, again} {
		if st := at.e.Stats(); st.HalfOpen+st.Handshakes+st.Peers+st.SAs > 0 {
			t.Errorf("left at %v: %+v", at.addr, st)
		}
		at.e.mu.Lock()
		if n := len(at.e.initiators) + len(at.e.ours) + len(at.e.routes); n > 0 {
			t.Errorf("left in the tables of %v: %d", at.addr, n)
		}
		at.e.mu.Unlock()
		for _, r := range at.refused() {
			if r.Reason == "" || r.Detail == "" || r.Stage == "" {
				t.Errorf("%+v", r)
			}
		}
	}
	w.shutdown(again, cl, s)
}

// living lists the peers that have not heard Empty, in the order in which they came.
func (h *host) living() (all []*fakePeer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.all {
		if p.ended() == "" {
			all = append(all, p)
		}
	}
	return all
}

// mergeFirst merges the newest of two peers into the oldest, SPIs and all, as the data plane and the session do it.
func mergeFirst(s *host) {
	all := s.living()
	if len(all) < 2 {
		return
	}
	from, into := all[len(all)-1], all[0]
	from.mu.Lock()
	into.mu.Lock()
	for spi, state := range from.spis {
		into.spis[spi] = state
	}
	for spi, c := range from.children {
		into.children[spi] = c
	}
	from.spis, from.children = map[uint32]string{}, map[uint32]*Child{}
	into.mu.Unlock()
	from.mu.Unlock()
	s.e.Merge(from, into)
	settle(0)
}

// forged gives the server messages with the cookies of its SAs that prove nothing.
func forged(s *host, arg byte) {
	s.mu.Lock()
	sas := s.sas
	s.mu.Unlock()
	for _, sa := range sas {
		head := wireike.Header{
			Initiator: sa.ID.Initiator, Responder: sa.ID.Responder, MessageID: uint32(arg),
			Exchange: []wireike.ExchangeType{wireike.ExchangeInformational, wireike.ExchangeQuick, wireike.ExchangeMain}[arg%3],
		}
		b := wireike.NewBuilder(head)
		b.Add(wireike.PayloadDelete, wireike.AppendDelete(nil, wireike.ProtocolISAKMP, append(head.Initiator[:], head.Responder[:]...)))
		msg := b.Bytes()
		if arg >= 128 { // as if encrypted
			msg[19] |= wireike.FlagEncryption
			msg = append(msg, make([]byte, (16-(len(msg)-wireike.HeaderLen)%16)%16)...)
			binary.BigEndian.PutUint32(msg[24:], uint32(len(msg)))
		}
		s.e.Receive(sa.Path, msg)
	}
}
