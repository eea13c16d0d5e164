package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"concentrator/internal/store"
)

// steps calls Changes until nothing more is there, and returns what came and how far it went.
func steps(t *testing.T, kv store.KV, prefix string, after int64) (events []store.Event, upto int64) {
	t.Helper()
	for {
		batch, next, later, err := kv.Changes(t.Context(), prefix, after)
		if err != nil {
			t.Fatalf("changes of %q after %d: %v", prefix, after, err)
		}
		if next < after {
			t.Fatalf("changes of %q after %d go to %d", prefix, after, next)
		}
		events, after = append(events, batch...), next
		select {
		case <-later:
		default:
			return events, after
		}
	}
}

// Steps give what a watch gives, whole commits, and say how far they looked past what is not asked for.
func testChanges(t *testing.T, kv store.KV) {
	commit(t, kv, put("r/a", "1"))                                    // 2
	commit(t, kv, put("x/a", "other"))                                // 3
	commit(t, kv, put("r/b", ""), store.Op{Key: "r/a", Delete: true}) // 4
	commit(t, kv, put("x/b", "other"))                                // 5
	for after, want := range map[int64]string{1: "2 r/a=1;4 r/b=;4 -r/a;", 2: "4 r/b=;4 -r/a;", 4: "", 5: ""} {
		events, upto := steps(t, kv, "r/", after)
		if got := format(events); got != want || upto != 5 {
			t.Errorf("after %d: %s up to %d, want %s up to 5", after, got, upto, want)
		}
	}
	for _, after := range []int64{-1, 0, 6, 1 << 40} {
		if _, _, _, err := kv.Changes(t.Context(), "", after); !errors.Is(err, store.ErrCompacted) {
			t.Errorf("after %d: %v, want ErrCompacted", after, err)
		}
	}
	for i := range 1500 {
		commit(t, kv, put("r/k", fmt.Sprint(i)), put("r/l", fmt.Sprint(i)))
	}
	if _, _, _, err := kv.Changes(t.Context(), "", 5); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("what is no longer in the log: %v, want ErrCompacted", err)
	}
	rev := revision(t, kv)
	events, upto := steps(t, kv, "r/l", rev-40)
	if len(events) != 40 || upto != rev || events[39].Rev != rev {
		t.Errorf("%d changes up to %d, want 40 up to %d", len(events), upto, rev)
	}
}

// later wakes who waits, by a commit and by Close.
func testChangesLater(t *testing.T, kv store.KV) {
	wait := func(what string, later <-chan struct{}) {
		t.Helper()
		select {
		case <-later:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s woke nobody", what)
		}
	}
	_, upto, later, err := kv.Changes(t.Context(), "r/", revision(t, kv))
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-later:
		t.Fatal("nothing has happened yet")
	default:
	}
	commit(t, kv, put("x", "beside the prefix"))
	wait("a commit", later)
	events, upto2, later, err := kv.Changes(t.Context(), "r/", upto)
	if err != nil || len(events) != 0 || upto2 != upto+1 {
		t.Fatalf("%d changes up to %d, %v, want none up to %d", len(events), upto2, err, upto+1)
	}
	if err := kv.Close(); err != nil {
		t.Fatal(err)
	}
	wait("Close", later)
	if _, _, _, err := kv.Changes(t.Context(), "r/", upto2); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after Close: %v, want ErrClosed", err)
	}
}
