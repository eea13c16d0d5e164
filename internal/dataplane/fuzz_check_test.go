package dataplane

import (
	"encoding/binary"

	"concentrator/internal/dataplane/capture"
	"concentrator/internal/dataplane/gre"
	"concentrator/internal/dataplane/policy"
)

// tally is what all shards together have done, and have in hand.
type tally struct {
	in, drops, events uint64
	innerIn, innerOut uint64
	held, shaped      int
}

// sum takes the tally, and notes of each session what it may still do without a packet that comes now.
func (w *fuzzWorld) sum() (t tally) {
	t.events = w.events
	for _, s := range w.d.shards {
		t.in += s.stats.WireInPackets + s.stats.TUNInPackets
		for d, n := range s.stats.Drops {
			switch Drop(d) {
			case DropWireSend: // has been counted as sent
			case DropTUNOversize, DropTUNOffload: // has not been counted as read
			default:
				t.drops += n
			}
		}
		t.held += heldBufs - s.held.Free()
		t.shaped += shapedBufs - s.shaped.Free()
	}
	for _, s := range w.sessions {
		k := s.call.call.counters
		t.innerIn += k.InPackets
		t.innerOut += k.OutPackets
	}
	return t
}

// remember notes how sessions stand before a round.
func (w *fuzzWorld) remember() {
	for _, s := range w.sessions {
		c := s.call.call
		s.before, s.due = c.counters, 0
		if c.up != nil {
			s.due += uint64(c.up.Queued())
		}
		if c.gre != nil {
			if _, holds := c.gre.Deadline(); holds {
				s.due += gre.Window
			}
		}
	}
}

// turn makes a round and checks it. It returns how many packets came through to networks or to sinks.
func (w *fuzzWorld) turn() (through uint64) {
	w.remember()
	before := w.sum()
	w.round()
	w.drainNetworks()
	after := w.sum()
	w.checkSum(before, after)
	for _, s := range w.sessions {
		now := s.call.call.counters
		if more := now.InPackets - s.before.InPackets; !s.mayData && more > s.due {
			w.t.Fatalf("session %d: %d packets in, which its client has not sent", s.at, more)
		}
		if s.gone() && now != s.before {
			w.t.Fatalf("session %d is gone and counts: %+v, was %+v", s.at, now, s.before)
		}
		s.mayData, s.mayControl = false, false
	}
	w.checkShards()
	w.silent, w.inflight = 0, 0
	return after.innerIn - before.innerIn + after.events - before.events
}

// checkSum: what came has come through, was dropped with a reason, or waits.
func (w *fuzzWorld) checkSum(before, after tally) {
	came := after.in - before.in
	kept := int64(after.held-before.held) + int64(after.shaped-before.shaped)
	went := int64(after.drops-before.drops+after.events-before.events) +
		int64(after.innerIn-before.innerIn+after.innerOut-before.innerOut) + kept
	if int64(came) > went+int64(w.silent) {
		w.t.Fatalf("%d packets came; only %d are accounted for, and %d may vanish: %+v, then %+v",
			came, went, w.silent, before, after)
	}
	if after.innerOut == before.innerOut && went > int64(came) && !w.answers() {
		w.t.Fatalf("%d packets came; %d are accounted for: %+v, then %+v", came, went, before, after)
	}
}

// answers says whether a packet may count twice: one that is answered, whose answer then finds no room, or one that was too long
// for a session, whose pieces are all dropped.
func (w *fuzzWorld) answers() bool {
	for _, s := range w.sessions {
		if c := s.call.call; c.inform.answer != nil || c.net != nil && c.mtu < 1400 {
			return true
		}
	}
	for _, n := range w.nets {
		if n.closed || n.dev.hangUp {
			return true // what tells that a packet is too big can't be written
		}
	}
	return false
}

// fuzzCaps are the capacities of what a shard works on: they never grow.
type fuzzCaps struct{ lent, items, opens, espItems, espOpens, outs, seals, espOuts, espSeals int }

func capsOf(s *shard) fuzzCaps {
	return fuzzCaps{
		cap(s.lent), cap(s.items), cap(s.opens), cap(s.espItems), cap(s.espOpens), cap(s.outs), cap(s.seals), cap(s.espOuts),
		cap(s.espSeals),
	}
}

// checkShards: between rounds nothing is in hand but what waits, and nothing grows.
func (w *fuzzWorld) checkShards() {
	for i, s := range w.d.shards {
		if now := capsOf(s); now != w.caps[i] {
			w.t.Fatalf("shard %d has taken more memory: %+v, was %+v", i, now, w.caps[i])
		}
		inHand := len(s.lent) + len(s.items) + len(s.opens) + len(s.espItems) + len(s.espOpens) + len(s.outs) + len(s.seals) +
			len(s.espOuts) + len(s.espSeals) + len(s.tunOuts) + len(s.dirty) + s.used
		if inHand != 0 || s.spare.Free() != spareBufs || s.flushing {
			w.t.Fatalf("shard %d has %d things in hand and %d of %d spare buffers", i, inHand, s.spare.Free(), spareBufs)
		}
		queued, calls, pptp := 0, 0, 0
		for _, x := range w.sessions {
			c := x.call.call
			if x.gone() || x.call.shard != s {
				continue
			}
			calls++
			if c.gre != nil {
				pptp++
			}
			for _, by := range []*policy.Shaper{c.up, c.down} {
				if by != nil {
					queued += by.Queued()
				}
			}
		}
		if got := shapedBufs - s.shaped.Free(); got != queued {
			w.t.Fatalf("shard %d: %d buffers are lent to queues that hold %d packets", i, got, queued)
		}
		if got := heldBufs - s.held.Free(); got > pptp*gre.Window {
			w.t.Fatalf("shard %d: %d calls hold %d packets", i, pptp, got)
		}
		if calls != s.stats.Calls || len(s.timed) > calls || len(s.shaping) > len(w.sessions) {
			w.t.Fatalf("shard %d: %d calls, counted %d; %d timed, %d shaped", i, calls, s.stats.Calls, len(s.timed), len(s.shaping))
		}
	}
}

// end closes what is open, and checks that nothing is left.
func (w *fuzzWorld) end() {
	w.turn()
	w.do(func() {
		for _, s := range w.sessions {
			s.close()
		}
		for _, p := range w.peers {
			p.close()
		}
		w.closeListener()
		for _, n := range w.nets {
			n.close()
		}
	})
	w.drainTaps()
	w.wait(10 * 1e9)
	w.round()
	w.checkShards()
	for i, s := range w.d.shards {
		w.checkEmpty(i, s)
	}
	if n := w.d.calls + len(w.d.raw) + len(w.d.datagrams) + len(w.d.spaces) + len(w.d.networks); n != 0 {
		w.t.Fatalf("the control side has %d things left", n)
	}
	if len(w.o.sockets) != 0 || w.o.devices != 0 {
		w.t.Fatalf("%d sockets and %d devices are open", len(w.o.sockets), w.o.devices)
	}
	w.running = false
}

// checkEmpty: a shard has nothing of any session, peer, network or face.
func (w *fuzzWorld) checkEmpty(i int, s *shard) {
	if s.held.Free() != heldBufs || s.shaped.Free() != shapedBufs || s.stats.Calls != 0 {
		w.t.Fatalf("shard %d: %d of %d and %d of %d buffers, %d calls", i,
			s.held.Free(), heldBufs, s.shaped.Free(), shapedBufs, s.stats.Calls)
	}
	calls, sas := 0, 0
	for _, a := range s.sas {
		if a != nil {
			sas++
		}
	}
	for _, c := range s.calls {
		if c != nil {
			calls++
		}
	}
	for what, n := range map[string]int{
		"faces": len(s.faces), "networks": len(s.networks), "tables": len(s.tables), "timed": len(s.timed),
		"shaping": len(s.shaping), "control taps": len(s.controlTaps), "calls": calls, "SAs": sas,
		"sources": len(s.sources) - 1 - len(s.freeSlots),
	} {
		if n != 0 {
			w.t.Fatalf("shard %d has %d %s left", i, n, what)
		}
	}
	if w.d.load[i] != 0 || w.d.ids[i].n != w.calls.n || w.d.tunnelIDs[i].n != w.tunnels.n || w.d.spis[i].n != spisPerShard {
		w.t.Fatalf("shard %d: load %d, %d call, %d tunnel IDs and %d SPIs are free",
			i, w.d.load[i], w.d.ids[i].n, w.d.tunnelIDs[i].n, w.d.spis[i].n)
	}
}

// drainTaps reads what captures have taken: whole packets that begin with an IPv4 header.
func (w *fuzzWorld) drainTaps() {
	for _, s := range w.sessions {
		for _, t := range s.taps {
			if !t.Done() {
				w.t.Fatalf("a capture of session %d goes on", s.at)
			}
			var room [capture.RecordHeaderLen + capture.MaxSnap]byte
			for b := t.Read(room[:0]); len(b) > 0; b = t.Read(room[:0]) {
				for len(b) > 0 {
					n := int(binary.LittleEndian.Uint32(b[8:]))
					if b[capture.RecordHeaderLen]>>4 != 4 {
						w.t.Fatalf("captured: % x", b[:capture.RecordHeaderLen+n])
					}
					b = b[capture.RecordHeaderLen+n:]
				}
			}
		}
	}
}
