package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// requestKV is as much of a KV as request IDs need.
type requestKV struct{ *memory }

func (k requestKV) Commit(ctx context.Context, guards []Guard, ops []Op) (int64, bool, error) {
	if err := CheckCommit(guards, ops); err != nil {
		return 0, false, err
	}
	rev, ok, err := k.memory.Commit(ctx, guards, ops)
	for _, op := range ops {
		if ok && op.Delete {
			delete(k.items, op.Key)
		}
	}
	return rev, ok, err
}

func (k requestKV) List(context.Context, Range) (items []Item, rev int64, more bool, err error) {
	for _, item := range k.items {
		items = append(items, item)
	}
	return items, k.rev, false, nil
}

// requests are request IDs over a KV in memory, with a clock that the test sets.
type requests struct {
	*RequestIDs
	t   *testing.T
	now time.Time
	kv  requestKV
}

func newRequests(t *testing.T) *requests {
	r := &requests{t: t, now: time.Unix(1_900_000_000, 0).UTC(), kv: requestKV{&memory{items: map[string]Item{}}}}
	r.load()
	return r
}

// load does what a restart does.
func (r *requests) load() {
	r.t.Helper()
	var err error
	if r.RequestIDs, err = LoadRequestIDs(&Store{kv: r.kv, now: func() time.Time { return r.now }}); err != nil {
		r.t.Fatal(err)
	}
}

// remember does what the commit of a create does.
func (r *requests) remember(caller, id, request, resource string) {
	r.t.Helper()
	_, ok, err := r.store.commit(r.t.Context(), nil, nil, []Also{r.With(caller, id, []byte(request), resource)})
	if err != nil || !ok {
		r.t.Fatalf("commit: %v, %v", ok, err)
	}
}

func (r *requests) want(caller, id, request, resource string) {
	r.t.Helper()
	if name, err := r.Find(caller, id, []byte(request)); name != resource || err != nil {
		r.t.Errorf("%s %s: %q, %v; want %q", caller, id, name, err, resource)
	}
}

func TestRequestIDs(t *testing.T) {
	r := newRequests(t)
	r.want("a", "1", "body", "")
	r.remember("a", "1", "body", "tenants/x")
	for _, restart := range []bool{false, true} {
		if restart {
			r.load()
		}
		r.want("a", "1", "body", "tenants/x")
		r.want("b", "1", "body", "") // another caller's
		r.want("a", "2", "body", "")
		if _, err := r.Find("a", "1", []byte("another body")); !errors.Is(err, ErrRequestReused) {
			t.Errorf("another body: %v, want ErrRequestReused", err)
		}
	}
	r.now = r.now.Add(RequestLifetime - 1)
	r.want("a", "1", "body", "tenants/x")
	r.now = r.now.Add(1)
	r.want("a", "1", "body", "")
	r.remember("a", "1", "another body", "tenants/y") // the ID is free again
	r.want("a", "1", "another body", "tenants/y")
	r.now = r.now.Add(RequestLifetime)
	r.remember("a", "2", "body", "tenants/z") // and takes what is over with it
	if len(r.kv.items) != 1 || len(r.byKey) != 1 {
		t.Errorf("%d stored and %d known, want 1", len(r.kv.items), len(r.byKey))
	}
}

// What is stored gives away neither the ID nor the request.
func TestRequestIDsAreNotStoredInClear(t *testing.T) {
	r := newRequests(t)
	r.remember("a", "0b6c32cf", "hush-password", "tenants/x")
	for _, item := range r.kv.items {
		if text := item.Key + string(item.Value); strings.Contains(text, "0b6c32cf") || strings.Contains(text, "hush") {
			t.Errorf("stored: %s", text)
		}
	}
}

// A commit that is not done is not remembered, and leaves no lock behind.
func TestRequestIDsOfWhatWasNotDone(t *testing.T) {
	r := newRequests(t)
	_, ok, err := r.store.commit(t.Context(), []Guard{{Key: "x", ModRev: 7}}, nil, []Also{r.With("a", "1", []byte("body"), "tenants/x")})
	if ok || err != nil {
		t.Fatalf("commit: %v, %v", ok, err)
	}
	r.want("a", "1", "body", "")
	r.remember("a", "1", "body", "tenants/x")
}

func TestRequestIDsAreBounded(t *testing.T) {
	r := newRequests(t)
	r.remember("other", "1", "body", "tenants/x")
	for i := range maxRequestsOfCaller + 5 {
		r.now = r.now.Add(time.Millisecond)
		r.remember("a", fmt.Sprint(i), "body", fmt.Sprint("tenants/t", i))
	}
	if len(r.kv.items) != maxRequestsOfCaller+1 || len(r.byKey) != maxRequestsOfCaller+1 {
		t.Errorf("%d stored and %d known, want %d", len(r.kv.items), len(r.byKey), maxRequestsOfCaller+1)
	}
	r.want("a", "4", "body", "") // the oldest went first
	r.want("a", "5", "body", "tenants/t5")
	r.want("other", "1", "body", "tenants/x") // and no other caller's
	for i := 0; len(r.byKey) < maxRequests; i++ {
		r.remember(fmt.Sprint("c", i%10), fmt.Sprint(i), "body", "tenants/x")
	}
	r.want("other", "1", "body", "tenants/x")
	r.remember("last", "1", "body", "tenants/x")
	r.want("other", "1", "body", "")
	if len(r.kv.items) != maxRequests || len(r.byKey) != maxRequests || len(r.order) > 2*maxRequests {
		t.Errorf("%d stored, %d known, %d in order, want %d", len(r.kv.items), len(r.byKey), len(r.order), maxRequests)
	}
}
