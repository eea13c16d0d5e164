package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
)

var errEnough = errors.New("enough")

// collect runs a watch until it has seen n events.
func collect(t *testing.T, f *Feed, token string, list []Info, n int) []Event {
	t.Helper()
	var got []Event
	err := f.watch(t.Context(), token, inTenant(""), func() []Info { return list }, func(e Event) error {
		if got = append(got, e); len(got) == n {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("watch ended with %v after %d of %d events", err, len(got), n)
	}
	return got
}

func names(events []Event) (out []string) {
	for _, e := range events {
		switch {
		case e.SnapshotDone:
			out = append(out, "done")
		case e.Upsert != nil:
			out = append(out, "+"+e.Upsert.Name)
		default:
			out = append(out, "-"+e.Removed)
		}
	}
	return out
}

func session1(i int) Info { return Info{Name: fmt.Sprintf("tenants/acme/sessions/s%d", i)} }

func TestWatchSnapshotThenChanges(t *testing.T) {
	f := newFeed()
	f.upsert(session1(1)) // before the watch: only in its snapshot
	go func() {
		f.upsert(session1(2))
		f.remove(session1(1).Name)
	}()
	var got []Event
	done := make(chan struct{})
	go func() {
		defer close(done)
		got = collect(t, f, "", []Info{session1(1)}, 2)
	}()
	<-done
	if want := []string{"+tenants/acme/sessions/s1", "done"}; !slices.Equal(names(got), want) {
		t.Fatalf("got %q, want %q", names(got), want)
	}
}

func TestWatchResumes(t *testing.T) {
	f := newFeed()
	begin := collect(t, f, "", nil, 1)
	for i := range 5 {
		f.upsert(session1(i))
	}
	first := collect(t, f, begin[0].Revision, nil, 2)
	rest := collect(t, f, first[1].Revision, nil, 3)
	want := []string{}
	for i := range 5 {
		want = append(want, "+"+session1(i).Name)
	}
	if got := names(append(first, rest...)); !slices.Equal(got, want) {
		t.Errorf("got %q, want each change once and in order: %q", got, want)
	}
}

func TestWatchResumedInsideASnapshotBeginsAnew(t *testing.T) {
	f := newFeed()
	list := []Info{session1(1), session1(2)}
	cut := collect(t, f, "", list, 1)
	got := names(collect(t, f, cut[0].Revision, list, 3))
	if want := []string{"+" + list[0].Name, "+" + list[1].Name, "done"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want the whole snapshot: %q", got, want)
	}
}

func TestWatchExpires(t *testing.T) {
	f := newFeed()
	begin := collect(t, f, "", nil, 1)[0].Revision
	f.upsert(session1(0))
	early := collect(t, f, begin, nil, 1)[0].Revision
	for i := range feedEvents + 1 {
		f.upsert(session1(i))
	}
	never := func(Event) error { t.Error("an event came"); return errEnough }
	for name, token := range map[string]string{
		"too old": early, "other run": newFeed().token(1), "no token": "x", "future": f.token(f.next),
	} {
		if err := f.watch(t.Context(), token, inTenant(""), nil, never); !errors.Is(err, ErrExpired) {
			t.Errorf("%s: got %v, want ErrExpired", name, err)
		}
	}
}

func TestSlowWatcherIsCut(t *testing.T) {
	f := newFeed()
	err := f.watch(t.Context(), "", inTenant(""), func() []Info { return nil }, func(e Event) error {
		if e.SnapshotDone { // while the reader is here, more happens than is kept
			for i := range feedEvents + 1 {
				f.upsert(session1(i))
			}
		}
		return nil
	})
	if !errors.Is(err, ErrExpired) {
		t.Errorf("got %v, want ErrExpired", err)
	}
}

func TestWatchOfOneTenant(t *testing.T) {
	f := newFeed()
	ctx, cancel := context.WithCancel(t.Context())
	var got []Event
	err := f.watch(ctx, "", inTenant("tenants/acme"), func() []Info { return nil }, func(e Event) error {
		got = append(got, e)
		if e.SnapshotDone {
			f.upsert(Info{Name: "tenants/other/sessions/a"})
			f.upsert(Info{Name: "tenants/acme2/sessions/b"})
			f.upsert(session1(1))
		}
		if e.Upsert != nil {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || len(got) != 2 || got[1].Upsert.Name != session1(1).Name {
		t.Errorf("got %q and %v, want only the tenant's own session", names(got), err)
	}
}
