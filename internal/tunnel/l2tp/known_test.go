package l2tp

import (
	"bytes"
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	wire "concentrator/internal/wire/l2tp"
)

// What ends tunnels and calls counts from the tunnel's own peer and in its turn: with another number, another tunnel, from
// another peer, or with half a header, it is nothing. What is out of the window is forgotten, so it can't come into its
// turn later.
func TestKnownForgedEnds(t *testing.T) {
	stop := &wire.StopCCN{AssignedTunnelID: 1, Result: wire.Result{Code: wire.StopResultGeneralRequest}}
	cdn := &wire.CDN{AssignedSessionID: 5, Result: wire.Result{Code: wire.CallResultAdministrative}}
	bubble(t, Config{}, func(w *world, p *peer) {
		r := w.established(p)
		r.say(0, &wire.ICRQ{AssignedSessionID: 5})
		r.say(0x101, &wire.ICCN{})
		w.events()
		r.sent()
		next := r.ns
		for ns := range uint32(1 << 16) {
			ahead := uint16(ns) - next
			if ahead < receiveWindow {
				continue // in its turn, or kept until then: that is what a peer may say
			}
			r.inject(1701, wire.Header{TunnelID: 16, Ns: uint16(ns)}, stop)
			r.inject(1701, wire.Header{TunnelID: 16, SessionID: 0x101, Ns: uint16(ns)}, cdn)
			if ns%16 == 0 {
				synctest.Wait() // or the inbox is full
			}
		}
		other := w.newPeer("203.0.113.2:4500")
		for _, q := range []*peer{other, p} {
			tunnel := uint16(16)
			if q == p {
				tunnel = 17
			}
			for ns := range uint16(receiveWindow) {
				q.inject(1701, wire.Header{TunnelID: tunnel, Ns: next + ns}, stop)
				q.inject(1701, wire.Header{TunnelID: tunnel, SessionID: 0x101, Ns: next + ns}, cdn)
			}
		}
		whole := wire.Append(nil, wire.Header{TunnelID: 16, Ns: next}, stop, nil)
		for n := range whole {
			w.receive(p, 1701, bytes.Clone(whole[:n]))
		}
		for _, flags := range []uint16{0x8802, 0xc002, 0xca02, 0xc803, 0xc801} { // no L, no S, an O, another version
			b := bytes.Clone(whole)
			binary.BigEndian.PutUint16(b, flags)
			w.receive(p, 1701, b)
		}
		// A peer that does not know our ID yet may stop without it; this one has shown that it does.
		r.inject(1701, wire.Header{Ns: next}, stop)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		w.expect()
		if st := w.server.Stats(); st.Open != 1 {
			t.Errorf("%+v", st)
		}
		// The tunnel still knows its own numbers.
		r.say(0, &wire.ICRQ{AssignedSessionID: 6})
		w.expect("call 6: 0")
		r.say(0x101, cdn)
		w.expect("closed 0x101 USER_REQUEST")
	})
}

// Texts as long as an AVP holds, in every message that has some: they are cut for whom they are told, and nothing else.
func TestKnownLongTexts(t *testing.T) {
	long := string(bytes.Repeat([]byte{'9'}, wire.MaxAVPValue))
	bubble(t, Config{}, func(w *world, p *peer) {
		r := w.established(p)
		r.say(0, &wire.ICRQ{AssignedSessionID: 5, CalledNumber: long, CallingNumber: long, SubAddress: long})
		got := w.requests[0]
		if len(got.CalledNumber) != maxText || len(got.CallingNumber) != maxText {
			t.Errorf("numbers of %d and %d octets", len(got.CalledNumber), len(got.CallingNumber))
		}
		r.say(0x101, &wire.ICCN{PrivateGroupID: []byte(long), LastSentLCP: []byte(long)})
		r.say(0x101, &wire.CDN{
			AssignedSessionID: 5, Result: wire.Result{Code: wire.CallResultGeneralError, Error: 6, Message: long[:1000]},
		})
		if got := w.events(); len(got) != 3 || got[1] != "connected 0x101" {
			t.Errorf("events %q", got)
		}
		if st := w.server.Stats(); st.Open != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// Who forges addresses gets one answer sent for each message, whatever he says next without our tunnel ID, which he never saw.
func TestKnownAmplification(t *testing.T) {
	stop := &wire.StopCCN{AssignedTunnelID: 1, Result: wire.Result{Code: wire.StopResultGeneralRequest}}
	for _, ns := range []uint16{0, 1, 2, 500, 0xffff} { // a copy, its turn, early, and out of the window
		bubble(t, Config{}, func(w *world, p *peer) {
			p.plain = true
			answers := 0
			p.toward = func(uint16, []byte) { p.set(func() { answers++ }) }
			p.inject(1701, wire.Header{}, request(1))
			time.Sleep(100 * time.Millisecond)
			p.inject(1701, wire.Header{Ns: ns}, stop)
			time.Sleep(time.Minute)
			synctest.Wait()
			if answers > 2 {
				t.Errorf("Ns %d: %d answers to two messages", ns, answers)
			}
			w.events()
		})
	}
}
