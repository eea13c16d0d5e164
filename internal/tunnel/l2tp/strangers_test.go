package l2tp

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	lac "concentrator/internal/simclient/l2tp"
	wire "concentrator/internal/wire/l2tp"
)

// TestStrangers: of SCCRQs outside IPsec so many are looked at, those that come twice, and all from where somebody has logged in.
func TestStrangers(t *testing.T) {
	bubble(t, Config{MaxTunnels: 10_000}, func(w *world, p *peer) {
		p.plain = true
		_, call := w.open(p, 1701, lac.Xl2tpd("h", 1))
		w.call(call.PeerID()).Authenticated()
		synctest.Wait()
		from := func(i int) *peer {
			q := w.newPeer(fmt.Sprintf("100.64.%d.%d:1701", i/250, i%250+1))
			q.plain = true
			return q
		}
		const flood = 2 * strangersBurst
		var late [8]*peer // the last of them
		for i := range flood {
			q := from(i)
			q.inject(1701, wire.Header{}, request(1))
			late[i%len(late)] = q
		}
		last := late[(flood-1)%len(late)]
		synctest.Wait()
		w.events()
		st := w.server.Stats()
		if n := st.TurnedAway; n < flood-strangersBurst || n > flood-strangersBurst+1 { // the first client was a stranger too
			t.Errorf("%d SCCRQs of %d were not looked at: %+v", n, flood, st)
		}
		if got := last.sent(); len(got) != 0 {
			t.Errorf("a stranger got %v", types(got))
		}
		p.sent()
		p.inject(1701, wire.Header{}, request(7))
		synctest.Wait()
		if got := types(p.sent()); len(got) != 1 || got[0] != wire.TypeSCCRP {
			t.Errorf("who has logged in gets %v", got)
		}
		time.Sleep(time.Millisecond)
		last.inject(1701, wire.Header{}, request(1))
		synctest.Wait()
		if got := last.sent(); len(got) != 0 {
			t.Errorf("a copy got %v", types(got))
		}
		// A flood goes on, so that there is no room but for who comes again.
		time.Sleep(time.Second)
		for i := range flood {
			from(flood+i).inject(1701, wire.Header{}, request(1))
		}
		// What is remembered of one is overwritten by another now and then.
		const most = len(late) * 5 / 8
		answered := 0
		for _, q := range late {
			q.inject(1701, wire.Header{}, request(1))
			synctest.Wait()
			if got := types(q.sent()); len(got) == 1 && got[0] == wire.TypeSCCRP {
				answered++
			}
		}
		if answered < most {
			t.Errorf("of %d who come again %d are answered, want %d at least", len(late), answered, most)
		}
	})
}

// TestStrangersOfOneSource: a source that has its share half open gets few answers.
func TestStrangersOfOneSource(t *testing.T) {
	bubble(t, Config{MaxHalfOpenPerSource: 8}, func(w *world, p *peer) {
		answers := 0
		for i := range 1000 {
			q := w.newPeer(fmt.Sprintf("203.0.113.9:%d", 2000+i))
			q.plain = true
			q.inject(1701, wire.Header{}, request(1))
			synctest.Wait()
			answers += len(q.sent())
		}
		w.events()
		if want := 8 + refusalsBurst; answers != want {
			t.Errorf("%d answers to one source, want %d", answers, want)
		}
	})
}
