package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"concentrator/internal/store"
)

// Contract tests an engine. The function open gives an empty KV whose log goes back between 64 and 1000 commits, and
// closes it after the test.
func Contract(t *testing.T, open func(t *testing.T) store.KV) {
	for _, tt := range []struct {
		name string
		test func(t *testing.T, kv store.KV)
	}{
		{"GetAfterPut", testGetAfterPut},
		{"Guards", testGuards},
		{"NoOp", testNoOp},
		{"Bounds", testBounds},
		{"List", testList},
		{"ListStopsAtBytes", testListStopsAtBytes},
		{"OwnMemory", testOwnMemory},
		{"Race", testRace},
		{"WatchResumes", testWatchResumes},
		{"WatchFromNow", testWatchFromNow},
		{"WatchKeepsCommitsWhole", testWatchKeepsCommitsWhole},
		{"WatchCompacted", testWatchCompacted},
		{"SlowWatch", testSlowWatch},
		{"WatchEnds", testWatchEnds},
		{"Changes", testChanges},
		{"ChangesLater", testChangesLater},
		{"Cancelled", testCancelled},
		{"Closed", testClosed},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, open(t)) })
	}
}

func put(key, value string) store.Op { return store.Op{Key: key, Value: []byte(value)} }

// commit must succeed.
func commit(t *testing.T, kv store.KV, ops ...store.Op) int64 {
	t.Helper()
	rev, ok, err := kv.Commit(t.Context(), nil, ops)
	if err != nil || !ok {
		t.Fatalf("Commit = %d, %t, %v", rev, ok, err)
	}
	return rev
}

func revision(t *testing.T, kv store.KV) int64 {
	t.Helper()
	rev, err := kv.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func testGetAfterPut(t *testing.T, kv store.KV) {
	if _, err := kv.Get(t.Context(), "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of an absent key: %v, want ErrNotFound", err)
	}
	if rev := revision(t, kv); rev != 1 {
		t.Errorf("an empty map has revision %d, want 1", rev)
	}
	if kv.Epoch() == "" {
		t.Error("no epoch")
	}
	first := commit(t, kv, put("a", "1"), put("empty", ""))
	second := commit(t, kv, put("a", "1"))
	if first != 2 || second != 3 {
		t.Errorf("revisions %d and %d, want 2 and 3: a put raises it even when the value is the same", first, second)
	}
	item, err := kv.Get(t.Context(), "a")
	if err != nil || string(item.Value) != "1" || item.ModRev != second || item.Key != "a" {
		t.Errorf("Get = %+v, %v", item, err)
	}
	if item, err := kv.Get(t.Context(), "empty"); err != nil || len(item.Value) != 0 || item.ModRev != first {
		t.Errorf("Get of an empty value = %+v, %v", item, err)
	}
	commit(t, kv, store.Op{Key: "a", Delete: true})
	if _, err := kv.Get(t.Context(), "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of a deleted key: %v, want ErrNotFound", err)
	}
}

func testGuards(t *testing.T, kv store.KV) {
	a := commit(t, kv, put("a", "1"))
	b := commit(t, kv, put("b", "1"))
	for _, tt := range []struct {
		name   string
		guards []store.Guard
		ok     bool
	}{
		{"right revisions", []store.Guard{{Key: "a", ModRev: a}, {Key: "b", ModRev: b}}, true},
		{"revision of another key", []store.Guard{{Key: "a", ModRev: b}}, false},
		{"one of two wrong", []store.Guard{{Key: "a", ModRev: a}, {Key: "b", ModRev: a}}, false},
		{"absent, and it is", []store.Guard{{Key: "c"}}, true},
		{"absent, but it is there", []store.Guard{{Key: "a"}}, false},
		{"there, but it is absent", []store.Guard{{Key: "c", ModRev: 1}}, false},
	} {
		before := revision(t, kv)
		rev, ok, err := kv.Commit(t.Context(), tt.guards, []store.Op{put("x", tt.name), put("y", tt.name)})
		if err != nil || ok != tt.ok {
			t.Errorf("%s: ok = %t, %v, want %t", tt.name, ok, err, tt.ok)
		}
		if !ok && (rev != before || revision(t, kv) != before) {
			t.Errorf("%s: a commit that was not done changed the revision", tt.name)
		}
		for _, key := range []string{"x", "y"} {
			item, err := kv.Get(t.Context(), key)
			if done := err == nil && string(item.Value) == tt.name; done != tt.ok {
				t.Errorf("%s: put of %s done = %t, want %t", tt.name, key, done, tt.ok)
			}
		}
	}
}

func testNoOp(t *testing.T, kv store.KV) {
	before := commit(t, kv, put("a", "1"))
	for _, ops := range [][]store.Op{nil, {{Key: "absent", Delete: true}}} {
		if rev := commit(t, kv, ops...); rev != before || revision(t, kv) != before {
			t.Errorf("a commit of %v raised the revision from %d to %d", ops, before, rev)
		}
	}
	if _, ok, err := kv.Commit(t.Context(), []store.Guard{{Key: "a"}}, nil); ok || err != nil {
		t.Errorf("guard without operations: ok = %t, %v, want false", ok, err)
	}
	commit(t, kv, store.Op{Key: "absent", Delete: true}, put("b", "1"))
	events := collect(t, kv, "", before, 1)
	if len(events) != 1 || events[0].Key != "b" {
		t.Errorf("events %v, want only the put: the deletion did nothing", events)
	}
}

func testBounds(t *testing.T, kv store.KV) {
	many := make([]store.Op, store.MaxOps+1)
	guards := make([]store.Guard, store.MaxOps+1)
	for i := range many {
		many[i] = put(fmt.Sprint("k", i), "")
		guards[i] = store.Guard{Key: fmt.Sprint("k", i)}
	}
	big := strings.Repeat("x", store.MaxValue+1)
	long := strings.Repeat("k", store.MaxKey+1)
	for _, tt := range []struct {
		name   string
		guards []store.Guard
		ops    []store.Op
		bad    bool
	}{
		{"100 operations", nil, many[:store.MaxOps], false},
		{"101 operations", nil, many, true},
		{"101 guards", guards, many[:1], true},
		{"value of 512 KiB", nil, []store.Op{put("v", big[1:])}, false},
		{"value of 512 KiB and 1", nil, []store.Op{put("v", big)}, true},
		{"key of 1024", nil, []store.Op{put(long[1:], "")}, false},
		{"key of 1025", nil, []store.Op{put(long, "")}, true},
		{"no key", nil, []store.Op{put("", "")}, true},
		{"guard without a key", []store.Guard{{}}, []store.Op{put("a", "")}, true},
		{"guard on a negative revision", []store.Guard{{Key: "a", ModRev: -1}}, []store.Op{put("a", "")}, true},
		{"key twice", nil, []store.Op{put("a", "1"), put("b", "1"), put("a", "2")}, true},
		{"key put and deleted", nil, []store.Op{put("a", "1"), {Key: "a", Delete: true}}, true},
		{"deletion with a value", nil, []store.Op{{Key: "a", Value: []byte("1"), Delete: true}}, true},
	} {
		before := revision(t, kv)
		_, ok, err := kv.Commit(t.Context(), tt.guards, tt.ops)
		if bad := errors.Is(err, store.ErrInvalidCommit); bad != tt.bad || ok == tt.bad {
			t.Errorf("%s: ok = %t, %v; want refused = %t", tt.name, ok, err, tt.bad)
		}
		if tt.bad && revision(t, kv) != before {
			t.Errorf("%s: was refused and changed something", tt.name)
		}
	}
}

func testList(t *testing.T, kv store.KV) {
	rev := commit(t, kv, put("a", "1"), put("a/1", "2"), put("a/2", "3"), put("a/\xff", "4"), put("b", "5"))
	for _, tt := range []struct {
		name string
		r    store.Range
		want []string
		more bool
	}{
		{"all", store.Range{}, []string{"a", "a/1", "a/2", "a/\xff", "b"}, false},
		{"prefix", store.Range{Start: "a/", End: store.PrefixEnd("a/")}, []string{"a/1", "a/2", "a/\xff"}, false},
		{"end is not in it", store.Range{Start: "a/1", End: "a/2"}, []string{"a/1"}, false},
		{"limit", store.Range{Start: "a/", Limit: 2}, []string{"a/1", "a/2"}, true},
		{"limit that fits", store.Range{Start: "a/", End: "b", Limit: 3}, []string{"a/1", "a/2", "a/\xff"}, false},
		{"nothing", store.Range{Start: "c"}, nil, false},
		{"end before start", store.Range{Start: "b", End: "a"}, nil, false},
	} {
		items, at, more, err := kv.List(t.Context(), tt.r)
		var got []string
		for _, item := range items {
			got = append(got, item.Key)
			if item.ModRev != rev {
				t.Errorf("%s: %s has revision %d, want %d", tt.name, item.Key, item.ModRev, rev)
			}
		}
		if err != nil || at != rev || more != tt.more || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q at %d, more = %t, %v; want %q, %t", tt.name, got, at, more, err, tt.want, tt.more)
		}
	}
	if _, _, _, err := kv.List(t.Context(), store.Range{Limit: -1}); err == nil {
		t.Error("a negative limit was taken")
	}
}

// A page ends long before a reader's memory does, and always has something in it.
func testListStopsAtBytes(t *testing.T, kv store.KV) {
	value := strings.Repeat("v", store.MaxValue)
	const keys = 40
	for i := range keys {
		commit(t, kv, put(fmt.Sprintf("k%02d", i), value))
	}
	seen, pages := 0, 0
	r := store.Range{}
	for more := true; more; pages++ {
		var items []store.Item
		var err error
		items, _, more, err = kv.List(t.Context(), r)
		if err != nil || len(items) == 0 {
			t.Fatalf("page of %d items, %v", len(items), err)
		}
		seen += len(items)
		r.Start = items[len(items)-1].Key + "\x00"
	}
	if seen != keys || pages < 2 {
		t.Errorf("%d keys on %d pages, want %d on several", seen, pages, keys)
	}
}

func testOwnMemory(t *testing.T, kv store.KV) {
	value := []byte("before")
	commit(t, kv, store.Op{Key: "a", Value: value})
	copy(value, "AFTER!")
	item, err := kv.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	copy(item.Value, "AFTER!")
	items, _, _, err := kv.List(t.Context(), store.Range{})
	if err != nil {
		t.Fatal(err)
	}
	copy(items[0].Value, "AFTER!")
	if item, err = kv.Get(t.Context(), "a"); err != nil || string(item.Value) != "before" {
		t.Errorf("value is %q, %v: the map shares memory with its callers", item.Value, err)
	}
}

// Writers race for the same keys; each key is won once, and no revision is given twice.
func testRace(t *testing.T, kv store.KV) {
	const writers, keys = 8, 50
	var mu sync.Mutex
	won := make(map[string]int)
	revs := make(map[int64]bool)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range keys {
				key := fmt.Sprint("address", i)
				rev, ok, err := kv.Commit(t.Context(), []store.Guard{{Key: key}}, []store.Op{put(key, fmt.Sprint(w))})
				if err != nil {
					t.Error(err)
				}
				if ok {
					mu.Lock()
					won[key]++
					if revs[rev] {
						t.Errorf("revision %d came twice", rev)
					}
					revs[rev] = true
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	for key, n := range won {
		if n != 1 {
			t.Errorf("%s was won %d times", key, n)
		}
	}
	if rev := revision(t, kv); len(won) != keys || rev != 1+keys {
		t.Errorf("%d keys won, revision %d; want %d and %d", len(won), rev, keys, 1+keys)
	}
}

var errEnough = errors.New("enough")

// collect watches until it has n events.
func collect(t *testing.T, kv store.KV, prefix string, after int64, n int) (events []store.Event) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := kv.Watch(ctx, prefix, after, func(batch []store.Event) error {
		if events = append(events, batch...); len(events) >= n {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("watch of %q after %d ended with %v and %d of %d events", prefix, after, err, len(events), n)
	}
	return events
}

func format(events []store.Event) string {
	var b bytes.Buffer
	for _, e := range events {
		if e.Deleted {
			fmt.Fprintf(&b, "%d -%s;", e.Rev, e.Key)
		} else {
			fmt.Fprintf(&b, "%d %s=%s;", e.Rev, e.Key, e.Value)
		}
	}
	return b.String()
}

func testWatchResumes(t *testing.T, kv store.KV) {
	commit(t, kv, put("r/a", "1"))                                           // 2
	commit(t, kv, put("x/a", "other"))                                       // 3
	commit(t, kv, put("r/b", ""), store.Op{Key: "r/a", Delete: true})        // 4
	commit(t, kv, put("r/b", "2"), put("s", "beside the prefix, not in it")) // 5
	for _, tt := range []struct {
		after int64
		n     int
		want  string
	}{
		{1, 4, "2 r/a=1;4 r/b=;4 -r/a;5 r/b=2;"},
		{2, 3, "4 r/b=;4 -r/a;5 r/b=2;"},
		{3, 3, "4 r/b=;4 -r/a;5 r/b=2;"},
		{4, 1, "5 r/b=2;"},
	} {
		if got := format(collect(t, kv, "r/", tt.after, tt.n)); got != tt.want {
			t.Errorf("after %d: %s, want %s", tt.after, got, tt.want)
		}
	}
}

func testWatchFromNow(t *testing.T, kv store.KV) {
	commit(t, kv, put("old", "1"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan store.Event, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- kv.Watch(ctx, "", 0, func(events []store.Event) error {
			for _, e := range events {
				got <- e
			}
			return nil
		})
	}()
	// The watch begins at some moment: put until it sees one.
	for i := 0; ; i++ {
		commit(t, kv, put("new", fmt.Sprint(i)))
		select {
		case e := <-got:
			if e.Key != "new" {
				t.Errorf("from now on, but got %s", e.Key)
			}
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("watch ended with %v, want context.Canceled", err)
			}
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func testWatchKeepsCommitsWhole(t *testing.T, kv store.KV) {
	ops := make([]store.Op, 10)
	for rev := range 40 {
		for i := range ops {
			ops[i] = put(fmt.Sprint("k", i), fmt.Sprint(rev))
		}
		commit(t, kv, ops...)
	}
	seen := 0
	err := kv.Watch(t.Context(), "", 1, func(events []store.Event) error {
		if len(events)%len(ops) != 0 {
			return fmt.Errorf("%d events in one call, commits have %d", len(events), len(ops))
		}
		if seen += len(events); seen == 40*len(ops) {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Error(err)
	}
}

func testWatchCompacted(t *testing.T, kv store.KV) {
	never := func([]store.Event) error { return errors.New("got events") }
	for _, after := range []int64{-1, 2, 1 << 40} {
		if err := kv.Watch(t.Context(), "", after, never); !errors.Is(err, store.ErrCompacted) {
			t.Errorf("watch of an empty map after %d: %v, want ErrCompacted", after, err)
		}
	}
	for i := range 1500 {
		commit(t, kv, put("k", fmt.Sprint(i)))
	}
	if err := kv.Watch(t.Context(), "", 1, never); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("watch after 1500 commits: %v, want ErrCompacted", err)
	}
	// What ErrCompacted asks for: list, and go on from there.
	_, rev, _, err := kv.List(t.Context(), store.Range{})
	if err != nil {
		t.Fatal(err)
	}
	commit(t, kv, put("k", "last"))
	if got, want := format(collect(t, kv, "", rev, 1)), fmt.Sprintf("%d k=last;", rev+1); got != want {
		t.Errorf("after relist: %s, want %s", got, want)
	}
}

// A watch that stands still holds up no writer, and finds all that it missed, as long as the log reaches back.
func testSlowWatch(t *testing.T, kv store.KV) {
	const n = 60
	started, release := make(chan struct{}), make(chan struct{})
	var events []store.Event
	ended := make(chan error, 1)
	go func() {
		ended <- kv.Watch(t.Context(), "", 1, func(batch []store.Event) error {
			if events == nil {
				close(started)
				<-release
			}
			if events = append(events, batch...); len(events) == n {
				return errEnough
			}
			return nil
		})
	}()
	commit(t, kv, put("k0", ""))
	<-started
	for i := 1; i < n; i++ {
		commit(t, kv, put(fmt.Sprint("k", i), "")) // must not wait for the watch
	}
	close(release)
	if err := <-ended; !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	for i, e := range events {
		if e.Key != fmt.Sprint("k", i) || e.Rev != int64(2+i) {
			t.Fatalf("event %d is %s at %d", i, e.Key, e.Rev)
		}
	}
}

func testWatchEnds(t *testing.T, kv store.KV) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	rev := commit(t, kv, put("a", "1"))
	seen := make(chan struct{})
	go func() {
		ended <- kv.Watch(ctx, "", rev-1, func([]store.Event) error { close(seen); return nil })
	}()
	<-seen
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled watch: %v", err)
	}
	seen = make(chan struct{})
	go func() {
		ended <- kv.Watch(t.Context(), "", rev-1, func([]store.Event) error { close(seen); return nil })
	}()
	<-seen
	if err := kv.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, store.ErrClosed) {
		t.Errorf("watch of a closed map: %v, want ErrClosed", err)
	}
}

func testCancelled(t *testing.T, kv store.KV) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := kv.Commit(ctx, nil, []store.Op{put("a", "1")}); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit: %v, want context.Canceled", err)
	}
	if rev := revision(t, kv); rev != 1 {
		t.Errorf("revision %d: a cancelled commit was done", rev)
	}
	if _, err := kv.Get(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %v, want context.Canceled", err)
	}
}

func testClosed(t *testing.T, kv store.KV) {
	commit(t, kv, put("a", "1"))
	for range 2 {
		if err := kv.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, errGet := kv.Get(t.Context(), "a")
	_, _, _, errList := kv.List(t.Context(), store.Range{})
	_, _, errCommit := kv.Commit(t.Context(), nil, []store.Op{put("a", "2")})
	errWatch := kv.Watch(t.Context(), "", 0, func([]store.Event) error { return nil })
	_, errRevision := kv.Revision(t.Context())
	for call, err := range map[string]error{
		"Get": errGet, "List": errList, "Commit": errCommit, "Watch": errWatch, "Revision": errRevision,
	} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", call, err)
		}
	}
}
