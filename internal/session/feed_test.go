package session

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func every(string) bool { return true }

// told spells changes.
func told[T any](changes []Change[T]) (out []string) {
	for _, c := range changes {
		sign := "+"
		if c.Value == nil {
			sign = "-"
		}
		out = append(out, sign+c.Name)
	}
	return out
}

// rest reads all changes after a revision.
func rest[T any](t *testing.T, f *Feed[T], after int64) (out []Change[T]) {
	t.Helper()
	for {
		batch, later, err := f.Read(after)
		if err != nil {
			t.Fatal(err)
		}
		if later != nil {
			return out
		}
		out = append(out, batch...)
		after = out[len(out)-1].Revision
	}
}

func TestFeedSnapshotThenChanges(t *testing.T) {
	f := NewFeed[int](nil)
	f.Put("b", 1)
	f.Put("a", 2)
	f.Put("b", 3)
	f.Put("x", 4)
	f.Remove("x")
	f.Remove("never")
	snapshot, at := f.Snapshot(every)
	if got, want := told(snapshot), []string{"+a", "+b"}; !slices.Equal(got, want) || *snapshot[1].Value != 3 {
		t.Errorf("the snapshot is %q, want %q as they are now", got, want)
	}
	if got := rest(t, f, at); got != nil {
		t.Errorf("%q again behind the snapshot", told(got))
	}
	f.Remove("a")
	f.Put("c", 5)
	if got, want := told(rest(t, f, at)), []string{"-a", "+c"}; !slices.Equal(got, want) {
		t.Errorf("then %q, want %q", got, want)
	}
	if some, _ := f.Snapshot(func(name string) bool { return name == "c" }); !slices.Equal(told(some), []string{"+c"}) {
		t.Errorf("a part of it is %q", told(some))
	}
}

func TestFeedUpdateSyncAmend(t *testing.T) {
	f := NewFeed[int](nil)
	f.Update("a", 1, same[int])
	f.Update("a", 1, same[int])
	f.Update("a", 2, same[int])
	f.Sync(map[string]int{"b": 1, "c": 1, "a": 2}, same[int])
	f.Sync(map[string]int{"b": 1, "c": 2}, same[int])
	f.Amend(func(v *int) *int {
		if *v == 2 {
			return new(3)
		}
		return nil
	})
	want := []string{"+a", "+a", "+b", "+c", "-a", "+c", "+c"}
	if got := rest(t, f, 0); !slices.Equal(told(got), want) || *got[6].Value != 3 {
		t.Errorf("got %q, want %q", told(got), want)
	}
}

func TestFeedResumes(t *testing.T) {
	f := NewFeed[int](nil)
	for i := range 3 * feedBatch {
		f.Put(fmt.Sprint(i), i)
	}
	for _, after := range []int64{0, 1, feedBatch, 2*feedBatch + 5, 3 * feedBatch} {
		for i, c := range rest(t, f, after) {
			if want := after + int64(i); c.Revision != want+1 || *c.Value != int(want) {
				t.Fatalf("behind %d, change %d has the revision %d and the value %d", after, i, c.Revision, *c.Value)
			}
		}
	}
}

func TestFeedExpires(t *testing.T) {
	f := NewFeed[int](nil)
	for i := range feedChanges + 10 {
		f.Put("a", i)
	}
	for after, want := range map[int64]error{
		-1: ErrExpired, 0: ErrExpired, 9: ErrExpired, 10: nil, feedChanges + 10: nil, feedChanges + 11: ErrExpired,
	} {
		if _, _, err := f.Read(after); !errors.Is(err, want) {
			t.Errorf("behind %d: %v, want %v", after, err, want)
		}
	}
	if got := rest(t, f, 10); len(got) != feedChanges || *got[0].Value != 10 {
		t.Errorf("%d changes are kept, the first is %d", len(got), *got[0].Value)
	}
	if other := NewFeed[int](nil); other.Epoch() == f.Epoch() {
		t.Error("two feeds have one epoch")
	}
}

func TestLogKeepsTheLast(t *testing.T) {
	f := NewLog[int](3)
	for range 5 {
		f.Add(func(revision int64) (string, int) { return fmt.Sprint("n", revision), int(revision) })
	}
	snapshot, at := f.Snapshot(every)
	if got, want := told(snapshot), []string{"+n3", "+n4", "+n5"}; !slices.Equal(got, want) || at != 5 {
		t.Errorf("at %d there is %q, want %q", at, got, want)
	}
	var newest []int
	f.newest(func(v *int) bool {
		newest = append(newest, *v)
		return len(newest) < 2
	})
	if !slices.Equal(newest, []int{5, 4}) {
		t.Errorf("the newest are %v", newest)
	}
}

// Who follows makes a feed look; nobody else does, and the looking ends with the last.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64
		f := NewFeed[int](func() { looks.Add(1) })
		sleep := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		sleep(10 * lookEvery)
		if looks.Load() != 0 {
			t.Errorf("looked %d times for nobody", looks.Load())
		}
		first, second := f.Follow(), f.Follow()
		if looks.Load() != 1 {
			t.Errorf("%d looks for two who begin at once", looks.Load())
		}
		sleep(5*lookEvery + lookEvery/2)
		first()
		first()
		sleep(5 * lookEvery)
		second()
		if looks.Load() != 11 {
			t.Errorf("%d looks in ten and a half seconds", looks.Load())
		}
		sleep(10 * lookEvery)
		if looks.Load() != 11 {
			t.Errorf("looked %d times for those who left", looks.Load()-11)
		}
		f.Follow()()
		if looks.Load() != 12 {
			t.Errorf("%d looks, want one more for a new one", looks.Load())
		}
	})
}

// Readers see each change once and in order while many publish, whoever is slow.
func TestFeedUnderLoad(t *testing.T) {
	const writers, each = 8, 500
	f := NewFeed[int](nil)
	var readers, publishers sync.WaitGroup
	stalled, _, _ := f.Read(0)
	for range 20 {
		readers.Go(func() {
			last := make(map[string]int)
			for at := int64(0); at < writers*each; {
				batch, later, err := f.Read(at)
				if err != nil {
					t.Error(err)
					return
				}
				for _, c := range batch {
					if c.Revision != at+1 || *c.Value != last[c.Name] {
						t.Errorf("after %d came %d, %s is %d after %d", at, c.Revision, c.Name, *c.Value, last[c.Name])
						return
					}
					at = c.Revision
					last[c.Name]++
				}
				if later != nil {
					<-later
				}
			}
		})
	}
	for w := range writers {
		publishers.Go(func() {
			for i := range each {
				f.Put(fmt.Sprint("w", w), i)
			}
		})
	}
	publishers.Wait()
	readers.Wait()
	if stalled != nil {
		t.Error("there was something before the first change")
	}
}
