package ippool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/corpus"
)

// memory is a Storage that holds callers to its contract.
type memory struct {
	t       *testing.T
	mu      sync.Mutex
	values  map[string]string
	commits int
	fails   error  // what Commit returns, having done nothing
	before  func() // called by Commit
}

func newMemory(t *testing.T) *memory { return &memory{t: t, values: make(map[string]string)} }

func (m *memory) Load(fn func(key string, value []byte) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(m.values)) {
		if err := fn(k, []byte(m.values[k])); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Commit(puts []Item, deletes []string) error {
	if m.before != nil {
		m.before()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(puts)+len(deletes) > MaxCommit || len(puts)+len(deletes) == 0 {
		m.t.Errorf("%d puts and %d deletes in one commit", len(puts), len(deletes))
	}
	if m.fails != nil {
		return m.fails
	}
	m.commits++
	for _, p := range puts {
		if len(p.Value) > MaxValue {
			m.t.Errorf("%s: %d octets", p.Key, len(p.Value))
		}
		m.values[p.Key] = string(p.Value)
	}
	for _, k := range deletes {
		if _, ok := m.values[k]; !ok {
			m.t.Errorf("deletes %s, which is not there", k)
		}
		delete(m.values, k)
	}
	return nil
}

// run makes the Pools of one run of the daemon.
func run(t *testing.T, s Storage, spec Spec) *Pools {
	t.Helper()
	ps := New()
	if err := ps.Load(s); err != nil {
		t.Fatal(err)
	}
	configure(t, ps, poolName, spec)
	return ps
}

func save(t *testing.T, ps *Pools, s Storage) {
	t.Helper()
	if err := ps.Save(s); err != nil {
		t.Fatal(err)
	}
}

// Held or released, an address is its user's again after a restart; and after a crash that lost nothing but a moment.
func TestRestart(t *testing.T) {
	m := newMemory(t)
	spec := Spec{Ranges: []string{"10.8.0.0/22"}}
	ps := run(t, m, spec)
	had := make(map[string]netip.Addr)
	for i := range 700 {
		user := fmt.Sprintf("user\xff%d", i) // octets as they come
		had[user] = mustLease(t, ps, user, "s")
		if i%3 == 0 {
			ps.Release(poolName, had[user], "s")
		}
	}
	save(t, ps, m)
	late := mustLease(t, ps, "late", "s") // not saved: the crash takes it

	ps = run(t, m, spec)
	if u := ps.Usage(poolName); u.Leased != 0 {
		t.Errorf("%d leased without a session", u.Leased)
	}
	if a := mustLease(t, ps, "new", "s"); a != late {
		t.Errorf("a new user got %s, want %s: the first that nobody had", a, late)
	}
	for user, want := range had {
		if a := mustLease(t, ps, user, "s"); a != want {
			t.Errorf("%q got %s, had %s", user, a, want)
		}
	}
	// A third run, in which nothing was saved, is as the second.
	ps = run(t, m, spec)
	for user, want := range had {
		if a := mustLease(t, ps, user, "s"); a != want {
			t.Fatalf("%q got %s, had %s", user, a, want)
		}
	}
}

// Quarantine goes on over a restart; for an address that was held it begins then.
func TestRestartInQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		spec := Spec{Ranges: []string{"10.8.0.0-10.8.0.2"}, Quarantine: time.Hour}
		ps := run(t, m, spec)
		a, b := mustLease(t, ps, "alice", "s1"), mustLease(t, ps, "bob", "s2")
		ps.Release(poolName, a, "s1")
		save(t, ps, m)
		time.Sleep(50 * time.Minute)
		ps = run(t, m, spec)
		save(t, ps, m)
		if _, err := ps.Lease(poolName, "carol", "s"); !errors.Is(err, ErrExhausted) {
			t.Errorf("carol got an address out of quarantine: %v", err)
		}
		time.Sleep(10 * time.Minute)
		if got := mustLease(t, ps, "carol", "s"); got != a {
			t.Errorf("carol got %s, want %s", got, a)
		}
		time.Sleep(49 * time.Minute)
		if l, err := ps.LeaseOf(poolName, b); err != nil || time.Until(l.Until) != time.Minute {
			t.Errorf("bob's: %+v, %v, at %s", l, err, time.Now())
		}
		// Again, from what was saved: that bob's was released at the start.
		ps = run(t, m, spec)
		time.Sleep(time.Minute)
		if got := mustLease(t, ps, "dave", "s"); got != a { // alice's was free longer; carol's lease was not saved
			t.Errorf("dave got %s, want %s", got, a)
		}
		if got := mustLease(t, ps, "erin", "s"); got != b {
			t.Errorf("erin got %s, want %s", got, b)
		}
	})
}

// A clock that was ahead when the addresses were released keeps nobody's from others for longer than the quarantine.
func TestRestartAfterAWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		spec := Spec{Ranges: []string{"10.8.0.0-10.8.0.1"}, Quarantine: time.Minute}
		value := encodeBlock([]released{{toNumber(netip.MustParseAddr("10.8.0.1")), "alice", time.Now().Add(1000 * time.Hour)}})
		m.values[poolName+"/10.8.0.0"] = string(value)
		ps := run(t, m, spec)
		time.Sleep(time.Minute)
		mustLease(t, ps, "bob", "s")
	})
}

func TestSaveWritesWhatChanged(t *testing.T) {
	m := newMemory(t)
	ps := run(t, m, Spec{Ranges: []string{"10.8.0.0/16"}})
	save(t, ps, m)
	if m.commits != 0 {
		t.Errorf("%d commits of nothing", m.commits)
	}
	for i := range 1000 {
		mustLease(t, ps, fmt.Sprint("u", i), fmt.Sprint("s", i))
	}
	save(t, ps, m)
	if m.commits != 1 || len(m.values) != 4 {
		t.Errorf("%d commits, %d values for 1000 log-ins, want 1 and 4", m.commits, len(m.values))
	}
	save(t, ps, m)
	if m.commits != 1 {
		t.Error("a commit without a change")
	}
	// What is forgotten is deleted.
	for i := range 1000 {
		a := toAddr(toNumber(netip.MustParseAddr("10.8.0.2")) + uint32(i))
		ps.Release(poolName, a, fmt.Sprint("s", i))
		if _, err := ps.Forget(poolName, a); err != nil {
			t.Fatal(err)
		}
	}
	save(t, ps, m)
	if len(m.values) != 0 {
		t.Errorf("left: %v", m.values)
	}
	// Many blocks are many commits.
	for i := range 200 {
		a := netip.AddrFrom4([4]byte{10, 8, byte(i), 9})
		if err := ps.LeaseStatic(poolName, a, "u", fmt.Sprint("s", i)); err != nil {
			t.Fatal(err)
		}
	}
	m.commits = 0
	save(t, ps, m)
	if len(m.values) != 200 || m.commits != 4 {
		t.Errorf("%d values by %d commits, want 200 by 4", len(m.values), m.commits)
	}
	ps.Remove(poolName)
	save(t, ps, m)
	if len(m.values) != 0 {
		t.Errorf("%d values of a pool that is gone", len(m.values))
	}
}

// Without a Storage nothing is noted for one.
func TestNothingIsNotedWithoutStorage(t *testing.T) {
	ps := pools(t, small(9))
	ps.Release(poolName, mustLease(t, ps, "alice", "s"), "s")
	if len(ps.books.dirty) != 0 {
		t.Errorf("%d blocks wait for nobody", len(ps.books.dirty))
	}
	save(t, ps, newMemory(t))
}

func TestSaveAfterAFailure(t *testing.T) {
	m := newMemory(t)
	spec := Spec{Ranges: []string{"10.8.0.0/16"}}
	ps := run(t, m, spec)
	for i := range 200 { // more than a commit
		if err := ps.LeaseStatic(poolName, netip.AddrFrom4([4]byte{10, 8, byte(i), 9}), fmt.Sprint("u", i), "s"); err != nil {
			t.Fatal(err)
		}
	}
	m.fails = errors.New("disk full")
	if err := ps.Save(m); !errors.Is(err, m.fails) {
		t.Fatalf("Save: %v", err)
	}
	m.fails = nil
	save(t, ps, m)
	ps = run(t, m, spec)
	for i := range 200 {
		want := netip.AddrFrom4([4]byte{10, 8, byte(i), 9})
		if a := mustLease(t, ps, fmt.Sprint("u", i), "s"); a != want {
			t.Errorf("u%d got %s, had %s", i, a, want)
		}
	}
}

// What changes while it is being written is written by the next Save; a pool that is removed then leaves nothing.
func TestChangesDuringSave(t *testing.T) {
	m := newMemory(t)
	spec := small(9)
	ps := run(t, m, spec)
	mustLease(t, ps, "alice", "s")
	var bob netip.Addr
	m.before = func() { m.before = nil; bob = mustLease(t, ps, "bob", "s") }
	save(t, ps, m)
	save(t, ps, m)
	if a := mustLease(t, run(t, m, spec), "bob", "s"); a != bob {
		t.Errorf("bob got %s, had %s", a, bob)
	}
	m = newMemory(t) // where nothing of the pool is yet
	ps = run(t, m, spec)
	mustLease(t, ps, "carol", "s")
	m.before = func() { m.before = nil; ps.Remove(poolName) }
	save(t, ps, m)
	if len(m.values) != 1 {
		t.Errorf("%d values: the pool was not removed while they were written", len(m.values))
	}
	save(t, ps, m)
	if len(m.values) != 0 {
		t.Errorf("left: %v", m.values)
	}
}

// What can't be read costs its users their addresses, and nothing else.
func TestLoadJunk(t *testing.T) {
	m := newMemory(t)
	spec := Spec{Ranges: []string{"10.8.0.0/16"}}
	ps := run(t, m, spec)
	var had []netip.Addr
	for i := range 300 {
		had = append(had, mustLease(t, ps, fmt.Sprint("u", i), "s"))
	}
	save(t, ps, m)
	m.values[poolName+"/10.8.0.0"] = m.values[poolName+"/10.8.0.0"][:50] // torn
	good := m.values[poolName+"/10.8.1.0"]
	for i := range 100 {
		m.values[fmt.Sprint("junk", i)] = good
	}
	for _, key := range []string{poolName + "/10.8.1.7", poolName + "/::1", poolName + "/", "/10.8.1.0", "10.8.1.0"} {
		m.values[key] = good
	}
	ps = New()
	err := ps.Load(m)
	if err == nil || !strings.Contains(err.Error(), "106 values") {
		t.Errorf("Load: %v", err)
	}
	configure(t, ps, poolName, spec)
	for i, want := range had {
		if want.As4()[2] == 1 {
			if a := mustLease(t, ps, fmt.Sprint("u", i), "s"); a != want {
				t.Errorf("u%d got %s, had %s", i, a, want)
			}
		}
	}
	save(t, ps, m)
	if keys := slices.Sorted(maps.Keys(m.values)); fmt.Sprint(keys) != "["+poolName+"/10.8.1.0]" {
		t.Errorf("left: %v", keys)
	}
}

// A Storage that fails altogether is a start without history.
func TestLoadFails(t *testing.T) {
	broken := errors.New("no such disk")
	ps := New()
	if err := ps.Load(failing{broken}); !errors.Is(err, broken) {
		t.Errorf("Load: %v", err)
	}
	configure(t, ps, poolName, small(9))
	mustLease(t, ps, "alice", "s")
}

type failing struct{ err error }

func (f failing) Load(func(string, []byte) error) error { return f.err }
func (f failing) Commit([]Item, []string) error         { return f.err }

// A pool that was resized or removed while the daemon was down.
func TestRestartWithOtherPools(t *testing.T) {
	m := newMemory(t)
	const gone = "tenants/acme/pools/gone"
	ps := run(t, m, Spec{Ranges: []string{"10.8.0.0/20"}})
	configure(t, ps, gone, Spec{Ranges: []string{"10.9.0.0/24"}})
	far := netip.MustParseAddr("10.8.5.9")
	if err := ps.LeaseStatic(poolName, far, "far", "s"); err != nil {
		t.Fatal(err)
	}
	ps.Release(poolName, far, "s")
	var had []netip.Addr
	for i := range 20 {
		had = append(had, mustLease(t, ps, fmt.Sprint("u", i), "s"))
		if _, err := ps.Lease(gone, "x", "s"); err != nil {
			t.Fatal(err)
		}
	}
	save(t, ps, m)
	next := Spec{Ranges: []string{"10.8.0.0-10.8.0.10"}} // .1 to .10
	ps = run(t, m, next)
	ps.Retain(func(pool string) bool { return pool == poolName })
	save(t, ps, m)
	if keys := slices.Sorted(maps.Keys(m.values)); fmt.Sprint(keys) != "["+poolName+"/10.8.0.0]" {
		t.Errorf("left: %v", keys)
	}
	for i, want := range had[:9] {
		if a := mustLease(t, ps, fmt.Sprint("u", i), "s"); a != want {
			t.Errorf("u%d got %s, had %s", i, a, want)
		}
	}
	mustLease(t, ps, "u15", "s")
	if _, err := ps.Lease(poolName, "u16", "s"); !errors.Is(err, ErrExhausted) {
		t.Errorf("%v, want ErrExhausted", err)
	}
	save(t, ps, m)
	if strings.Contains(m.values[poolName+"/10.8.0.0"], `"host":20`) {
		t.Error("an address outside is still kept")
	}
}

// An address that is taken back while it is held is its user's no more, even if the daemon dies before the session ends.
func TestRestartAfterForget(t *testing.T) {
	m := newMemory(t)
	spec := small(9)
	ps := run(t, m, spec)
	a, b := mustLease(t, ps, "alice", "s1"), mustLease(t, ps, "bob", "s2")
	save(t, ps, m)
	if _, err := ps.Forget(poolName, a); err != nil {
		t.Fatal(err)
	}
	save(t, ps, m)
	ps = run(t, m, spec)
	if l, err := ps.LeaseOf(poolName, a); !errors.Is(err, ErrNoLease) {
		t.Errorf("still known: %+v", l)
	}
	if got := mustLease(t, ps, "bob", "s"); got != b {
		t.Errorf("bob got %s, had %s", got, b)
	}
}

func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		spec := small(99)
		ps := run(t, m, spec)
		ctx, cancel := context.WithCancel(t.Context())
		var failures []time.Duration
		start := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			ps.Keep(ctx, m, func(error) { failures = append(failures, time.Since(start)) })
		}()
		for i := range 50 { // 100 log-ins a second are one commit
			mustLease(t, ps, fmt.Sprint("u", i), "s")
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(saveEvery)
		synctest.Wait()
		if m.commits != 1 {
			t.Errorf("%d commits, want 1", m.commits)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if m.commits != 1 {
			t.Errorf("%d commits of nothing", m.commits-1)
		}
		m.mu.Lock()
		m.fails = errors.New("disk full")
		m.mu.Unlock()
		start = time.Now()
		mustLease(t, ps, "late", "s")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := len(failures); n < 10 || n > 16 || failures[1]-failures[0] != 2*saveEvery {
			t.Errorf("tried at %v", failures)
		}
		m.mu.Lock()
		m.fails = nil
		m.mu.Unlock()
		time.Sleep(saveRetry)
		last := mustLease(t, ps, "last", "s")
		cancel()
		<-done
		if a := mustLease(t, run(t, m, spec), "last", "s"); a != last {
			t.Errorf("what came just before the end is lost: %s, had %s", a, last)
		}
	})
}

// Whatever happens, and wherever it is cut off, the next run knows what the last Save knew.
func TestRandomRestarts(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	m := newMemory(t)
	gateway := netip.MustParseAddr("192.0.2.1") // that no lease can stand against
	specs := []Spec{
		{Ranges: []string{"10.8.0.128-10.8.1.127"}, Gateway: gateway},
		{Ranges: []string{"10.8.0.0/23"}, Gateway: gateway, Exclude: []string{"10.8.1.0/28"}},
	}
	ps := run(t, m, specs[0])
	held := map[netip.Addr]string{}
	for i := range 20000 {
		owner := fmt.Sprint("s", i)
		switch what := rnd.IntN(1000); {
		case what < 500:
			if a, err := ps.Lease(poolName, fmt.Sprint("u", rnd.IntN(400)), owner); err == nil {
				held[a] = owner
			}
		case what < 980:
			for a, owner := range held {
				ps.Release(poolName, a, owner)
				delete(held, a)
				break
			}
		case what < 985:
			configure(t, ps, poolName, specs[rnd.IntN(2)])
		case what < 990:
			ps.Remove(poolName)
			configure(t, ps, poolName, specs[rnd.IntN(2)])
		default:
			save(t, ps, m)
			known := make(map[string]string) // what will be remembered
			list, _ := ps.Leases(poolName, netip.Addr{}, 1<<20)
			spec := ps.scopes["tenants/acme"].pools[poolName].spec
			for _, l := range list {
				if contains(spec.usable, toNumber(l.Address)) {
					known[l.Address.String()] = l.User
				}
			}
			if rnd.IntN(2) == 0 {
				mustTry(ps, rnd.IntN(20)) // and more that is lost
				next := New()
				if err := next.Load(m); err != nil {
					t.Fatal(err)
				}
				ps, held = next, map[netip.Addr]string{}
				configure(t, ps, poolName, Spec{Ranges: []string{"10.8.0.0-10.8.1.255"}, Gateway: gateway})
				got := make(map[string]string)
				list, _ := ps.Leases(poolName, netip.Addr{}, 1<<20)
				for _, l := range list {
					got[l.Address.String()] = l.User
				}
				if !maps.Equal(known, got) {
					t.Fatalf("step %d: the next run knows %d of %d", i, len(got), len(known))
				}
				configure(t, ps, poolName, specs[0])
			}
		}
	}
}

// mustTry leases n addresses.
func mustTry(ps *Pools, n int) {
	for i := range n {
		_, _ = ps.Lease(poolName, fmt.Sprint("lost", i), "lost") // a full pool is fine
	}
}

// Values of the longest names stay in the bound; what is longer is not kept.
func TestRecordBounds(t *testing.T) {
	var list []released
	for i := range uint32(256) {
		list = append(list, released{i, strings.Repeat("\xff", maxUser), time.Unix(1<<40, 0)})
	}
	value := encodeBlock(list)
	if len(value) > MaxValue {
		t.Errorf("%d octets, at most %d", len(value), MaxValue)
	}
	if got, err := decodeBlock(block{}, value); err != nil || len(got) != 256 {
		t.Errorf("%d of 256, %v", len(got), err)
	}
	if value := encodeBlock([]released{{1, strings.Repeat("x", maxUser+1), time.Time{}}}); value != nil {
		t.Errorf("kept %s", value)
	}
}

var badRecords = []string{
	``, `{`, `null`, `[]`, `{"v":2,"leases":[]}`, `{"leases":[{"host":1}]}`, `{"v":1,"leases":[{"host":256}]}`,
	`{"v":1,"leases":[{"host":1},{"host":1}]}`, `{"v":1,"leases":[{"host":-1}]}`, `{"v":1,"leases":[{"host":1,"released":-1}]}`,
	`{"v":1,"leases":[{"host":1,"user":"?"}]}`,
	`{"v":1,"leases":[{"host":1,"user":"` + strings.Repeat("QUFB", maxUser/3+1) + `"}]}`,
	`{"v":1,"leases":[` + strings.Repeat(" ", MaxValue) + `]}`,
}

func TestDecodeRefuses(t *testing.T) {
	for _, text := range badRecords {
		if list, err := decodeBlock(block{}, []byte(text)); err == nil {
			t.Errorf("%.80s: %v", text, list)
		}
	}
}

// FuzzDecodeBlock: what is taken is within its block, each address once, and is the same when written and read again.
func FuzzDecodeBlock(f *testing.F) {
	corpus.Add(f)
	for _, text := range badRecords {
		f.Add([]byte(text))
	}
	f.Add(encodeBlock([]released{{0x0a080007, "alice", time.Unix(1<<31, 0)}, {0x0a080009, "b\xffb", time.Time{}}}))
	f.Fuzz(func(t *testing.T, value []byte) {
		b := blockOf(poolName, 0x0a080000)
		list, err := decodeBlock(b, value)
		if err != nil {
			return
		}
		seen := make(map[uint32]bool)
		for _, r := range list {
			if seen[r.addr] || blockOf(poolName, r.addr) != b || len(r.user) > maxUser {
				t.Fatalf("%v of %s", r, value)
			}
			seen[r.addr] = true
		}
		if len(list) == 0 {
			return
		}
		again, err := decodeBlock(b, encodeBlock(list))
		if err != nil || !slices.EqualFunc(list, again, func(a, b released) bool {
			return a.addr == b.addr && a.user == b.user && a.at.Equal(b.at)
		}) {
			t.Fatalf("%v became %v, %v", list, again, err)
		}
	})
}

// BenchmarkRestart is what a start costs: 50 tenants with 254 addresses each, loaded and configured.
func BenchmarkRestart(b *testing.B) {
	m := &memory{values: make(map[string]string)}
	names := make([]string, 50)
	for i := range names {
		names[i] = fmt.Sprintf("tenants/t%d/pools/main", i)
		var list []released
		for a := range uint32(254) {
			list = append(list, released{0x0a080001 + a, fmt.Sprint("user", a), time.Time{}})
		}
		m.values[names[i]+"/10.8.0.0"] = string(encodeBlock(list))
	}
	for b.Loop() {
		ps := New()
		if err := ps.Load(m); err != nil {
			b.Fatal(err)
		}
		for _, name := range names {
			if err := ps.Configure(name, Spec{Ranges: []string{"10.8.0.0-10.8.0.254"}}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
