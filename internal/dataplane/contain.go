package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/dataplane/tun"
)

// A panic on a shard's thread is a fault of ours that somebody's packet, or a command, has found. It costs the batch that was
// under way and the session, or IPsec peer, that was worked for, and nobody else. Where the work was for many at once, as
// decryption is, nobody can be blamed: then the shard is careful for a while, which is to say that its batches are of one
// packet each, so that the next such panic has a name. One that has none even so ends all sessions of the shard.

const (
	// calm is how long after a panic the shard is careful, in nanoseconds of its time.
	calm = int64(time.Minute)
	// mostPanics, none of them calm after the one before, make what all sessions work with be made anew: it may be what is
	// broken.
	mostPanics = 3
)

// ErrPanic is returned for a command that has made its shard panic. What it was to do may be done in part.
var ErrPanic = errors.New("dataplane: a fault of our own")

// Why sessions end, for operators.
const (
	whyBlamed = "a fault of the server's own in the work for this session"
	whyAll    = "a fault of the server's own has ended all sessions of its shard"
)

// surely does what removes something, and once more if that met with somebody else's panic: the batch that was to blame is
// thrown away then.
func surely(do func() error) error {
	err := do()
	if errors.Is(err, ErrPanic) {
		err = do()
	}
	return err
}

// blame is for whom a shard works: a call, or an IPsec peer; nobody when both are nil.
type blame struct {
	call *call
	peer *peer
}

// String names them in logs.
func (b blame) String() string {
	switch {
	case b.call != nil:
		return "call " + strconv.Itoa(int(b.call.id))
	case b.peer != nil:
		return "IPsec peer " + netip.AddrPortFrom(netip.AddrFrom4(b.peer.remote), b.peer.port).String()
	}
	return "nobody"
}

// contain is deferred by loop: a panic goes no further.
func (s *shard) contain() {
	p := recover()
	if p == nil {
		return
	}
	stack := string(debug.Stack())
	s.tick()
	s.stats.Panics++
	s.stats.Drops[DropPanic] += uint64(s.used)
	var who blame
	s.guarded(func() { who = s.culprit() })
	named := who != blame{} || s.commanding
	sound := s.throwAway()
	if s.now-s.lastPanic > calm {
		s.panics = 0
	}
	s.panics++
	action := "a batch was thrown away"
	switch {
	case sound && who != blame{}:
		action, sound = "it was ended", s.condemn(who, whyBlamed)
	case s.commanding:
		action = "a command failed"
	}
	if !sound || s.careful && !named {
		action = "all sessions of the shard were ended"
		s.condemnAll()
		s.renew()
	} else if s.panics%mostPanics == 0 {
		action += ", and the shard begun anew"
		s.renew()
	}
	s.careful, s.commanding, s.lastPanic = true, false, s.now
	s.reports.put(report{shard: s.id, value: fmt.Sprint(p), stack: stack, whose: who.String(), action: action})
}

// culprit is for whom the shard worked. In the middle of what is done for a whole batch at once that is the only one who has
// anything in it, if there is just one.
func (s *shard) culprit() blame {
	if s.at != (blame{}) {
		return s.at
	}
	var who blame
	several := false
	note := func(b blame) {
		if l := b.call; l != nil && l.l2tp != nil && !l.l2tp.peer.plain {
			b = blame{peer: l.l2tp.peer} // as which it stands in the lists of ESP
		}
		several = several || who != (blame{}) && who != b
		who = b
	}
	for i := range s.items {
		note(blame{call: s.items[i].call})
	}
	for i := range s.espItems {
		note(blame{peer: s.espItems[i].sa.peer})
	}
	for i := range s.outs {
		note(blame{call: s.outs[i].call})
	}
	for i := range s.espOuts {
		note(blame{peer: s.espOuts[i].sa.peer})
	}
	for i := range s.tunOuts {
		note(blame{call: s.tunOuts[i].call})
	}
	if several {
		return blame{}
	}
	return who
}

// throwAway empties the batch and takes the buffers back. False says that not even that could be done.
func (s *shard) throwAway() (sound bool) {
	for _, f := range s.dirty {
		for _, c := range f.calls[:f.n] {
			s.drop(c, DropPanic)
		}
		clear(f.calls[:f.n])
		clear(f.pending[:f.n])
		f.n, f.dirty = 0, false
	}
	empty(&s.dirty)
	empty(&s.items)
	empty(&s.opens)
	empty(&s.espItems)
	empty(&s.espOpens)
	empty(&s.outs)
	empty(&s.seals)
	empty(&s.espOuts)
	empty(&s.espSeals)
	empty(&s.tunOuts)
	s.at, s.used, s.flushing = blame{}, 0, false
	lent := s.lent
	s.lent = s.lent[:0]
	return s.guarded(func() {
		s.coalescer.Reset()
		for _, l := range lent {
			l.of.Put(l.buf)
		}
		clear(lent)
	})
}

// empty makes a list empty and forgets what was in it.
func empty[T any](list *[]T) {
	clear(*list)
	*list = (*list)[:0]
}

// renew makes anew what all sessions of the shard work with.
func (s *shard) renew() {
	s.scratch, s.espScratch = mppe.NewScratch(), esp.NewScratch()
	s.coalescer, s.train = tun.NewCoalescer(), tun.NewTrain()
}

// condemn takes out whoever is blamed, and tells the control side. False says that its buffers can't be had back.
func (s *shard) condemn(who blame, why string) (sound bool) {
	if who.peer != nil {
		s.condemnPeer(who.peer.now(), why)
		return true
	}
	c := who.call
	c.timed, c.shaping = false, false
	is := func(o *call) bool { return o == c }
	s.timed, s.shaping = slices.DeleteFunc(s.timed, is), slices.DeleteFunc(s.shaping, is)
	sound = true
	if s.unlink(c) {
		sound = s.guarded(func() { s.giveBack(c) })
		s.guarded(func() { s.conclude(c) })
	}
	s.guarded(func() { c.sink.Broken(why) })
	return sound
}

// condemnPeer takes an IPsec peer out with its SAs. Its sessions end by the control side.
func (s *shard) condemnPeer(p *peer, why string) {
	p.removed, p.out, p.early = true, nil, nil
	for slot, a := range s.sas {
		if a != nil && a.peer == p {
			s.sas[slot] = nil
			s.guarded(a.close)
		}
	}
	s.guarded(func() { p.sink.Broken(why) })
}

// condemnAll ends all that the shard carries. Nobody has anything of the pools any more then: they are made anew.
func (s *shard) condemnAll() {
	for _, c := range s.calls {
		if c != nil {
			s.condemn(blame{call: c}, whyAll)
		}
	}
	for _, a := range s.sas {
		if a != nil && s.lookupSA(a.spi) == a { // not with a peer before it
			s.condemn(blame{peer: a.peer}, whyAll)
		}
	}
	clear(s.calls[:])
	clear(s.sas[:])
	s.stats.Calls = 0
	s.held, s.spare, s.shaped = pktbuf.NewPool(heldBufs), pktbuf.NewPool(spareBufs), pktbuf.NewPool(shapedBufs)
}

// guarded runs f and says whether it came to its end: what is broken may panic once more when it is touched.
func (s *shard) guarded(f func()) (done bool) {
	defer func() {
		if recover() != nil {
			s.stats.Panics++
		}
	}()
	f()
	return true
}
