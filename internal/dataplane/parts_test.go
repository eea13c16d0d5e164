package dataplane

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"sync"
	"testing"

	"concentrator/internal/dataplane/pktbuf"
)

func TestDropNames(t *testing.T) {
	seen := map[string]Drop{}
	for d := range Drop(NumDrops) {
		if d.String() == "" {
			t.Errorf("drop %d has no name", d)
		}
		if other, twice := seen[d.String()]; twice {
			t.Errorf("%d and %d are both %q", d, other, d)
		}
		seen[d.String()] = d
	}
	if got := Drop(255).String(); got != "Drop(255)" {
		t.Errorf("beyond the last: %q", got)
	}
	c := DropCounts{DropTooBig: 3}
	if m := c.Map(); len(m) != 1 || m["too_big"] != 3 {
		t.Errorf("map is %v", m)
	}
}

func TestInboxKeepsOrder(t *testing.T) {
	b, err := newBell()
	if err != nil {
		t.Fatal(err)
	}
	in := inbox{bell: b}
	var got []int
	for i := range 5 {
		in.push(func(*shard) { got = append(got, i) })
	}
	for c := in.take(); c != nil; c = c.next {
		c.run(nil)
	}
	for i, g := range got {
		if g != i {
			t.Fatalf("ran in the order %v", got)
		}
	}
	if len(got) != 5 || in.take() != nil {
		t.Errorf("ran %v", got)
	}
}

// TestInboxOfMany: each of several goroutines sees its own commands in order, and none is lost.
func TestInboxOfMany(t *testing.T) {
	b, err := newBell()
	if err != nil {
		t.Fatal(err)
	}
	in := inbox{bell: b}
	const writers, each = 4, 1000
	var last [writers]int
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := 1; i <= each; i++ {
				in.push(func(*shard) {
					if last[w] != i-1 {
						t.Errorf("writer %d: %d after %d", w, i, last[w])
					}
					last[w] = i
				})
			}
		})
	}
	for n := 0; n < writers*each; {
		for c := in.take(); c != nil; c = c.next {
			c.run(nil)
			n++
		}
		runtime.Gosched()
	}
	wg.Wait()
}

func TestRing(t *testing.T) {
	r := newRing()
	if r.take(func(*ringItem) {}) || r.waiting() {
		t.Error("an empty ring gives something")
	}
	if r.put(false, 1, make([]byte, pktbuf.MaxRead+1)) {
		t.Error("takes more than fits")
	}
	for lap := range 3 {
		for i := range ringSlots {
			if !r.put(true, uint32(i), []byte{byte(lap), byte(i)}) {
				t.Fatalf("full after %d", i)
			}
		}
		if r.put(true, 0, []byte{1}) {
			t.Fatal("takes more than it has slots")
		}
		for i := range ringSlots {
			if !r.take(func(it *ringItem) {
				if it.source != uint32(i) || it.size != 2 || it.data[0] != byte(lap) || it.data[1] != byte(i) || !it.inner {
					t.Errorf("lap %d, item %d is %d %v", lap, i, it.source, it.data[:it.size])
				}
			}) {
				t.Fatalf("empty after %d", i)
			}
		}
	}
}

func TestRingOfMany(t *testing.T) {
	r := newRing()
	const writers, each = 4, 5000
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := uint32(1); i <= each; {
				if r.put(false, uint32(w), binary.BigEndian.AppendUint32(nil, i)) {
					i++
				} else {
					runtime.Gosched()
				}
			}
		})
	}
	var last [writers]uint32
	for n := 0; n < writers*each; {
		if !r.take(func(it *ringItem) {
			i := binary.BigEndian.Uint32(it.data[:it.size])
			if i != last[it.source]+1 {
				t.Errorf("writer %d: %d after %d", it.source, i, last[it.source])
			}
			last[it.source] = i
			n++
		}) {
			runtime.Gosched()
		}
	}
	wg.Wait()
}

func TestIDQueue(t *testing.T) {
	for _, shard := range []int{0, 5} {
		q := newIDQueue(shard)
		want := idsPerShard
		if shard == 0 {
			want-- // 0 is nobody's
		}
		if q.n != want {
			t.Fatalf("shard %d has %d IDs, want %d", shard, q.n, want)
		}
		seen := map[uint16]bool{}
		var first []uint16
		for range want {
			id, ok := q.take()
			if !ok || id == 0 || seen[id] || int(id&0xf) != shard {
				t.Fatalf("ID %#x, %v", id, ok)
			}
			seen[id] = true
			first = append(first, id)
		}
		if _, ok := q.take(); ok {
			t.Error("more than there are")
		}
		for _, id := range first[:3] {
			q.put(id)
		}
		for _, want := range first[:3] {
			if id, _ := q.take(); id != want {
				t.Errorf("ID %#x, want %#x, the longest unused", id, want)
			}
		}
	}
}

func TestPrefixes(t *testing.T) {
	var p prefixes
	host, wide, all := &entry{shard: 1}, &entry{shard: 2}, &entry{shard: 3}
	p.set(prefix("10.50.0.7/32"), host)
	p.set(prefix("10.50.0.99/16"), wide)
	at := func(s string) *entry { return p.lookup(hostOrder(netip.MustParseAddr(s))) }
	if at("10.50.0.7") != host || at("10.50.0.8") != wide || at("10.51.0.7") != nil {
		t.Error("longest prefix is not found")
	}
	p.set(prefix("0.0.0.0/0"), all)
	if at("10.51.0.7") != all || at("255.255.255.255") != all || at("10.50.0.7") != host {
		t.Error("with a default route")
	}
	p.unset(prefix("10.50.0.7/32"))
	p.unset(prefix("10.50.0.7/32"))
	if at("10.50.0.7") != wide {
		t.Error("after unset")
	}
	n := &network{}
	wide.net = n
	p.unsetNetwork(n)
	if at("10.50.0.7") != all || p.lengths != 1 {
		t.Errorf("after unsetNetwork: lengths %b", p.lengths)
	}
}
