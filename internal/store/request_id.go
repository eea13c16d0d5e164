package store

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Bounds of what is remembered of request IDs. When there are too many, the oldest are forgotten first.
const (
	RequestLifetime      = time.Hour
	maxRequests          = 20_000
	maxRequestsOfCaller  = 5_000
	maxRequestsForgotten = 8 // by one commit, which adds one
)

// ErrRequestReused is returned for a request ID under which its caller has sent another request.
var ErrRequestReused = errors.New("request ID was used for another request")

// RequestIDs remembers, for an hour and across restarts, which resource was made by which request, so that a request that is
// sent again, because its answer was lost, is not done again. It is safe for concurrent use.
type RequestIDs struct {
	store *Store

	mu    sync.Mutex
	byKey map[string]*rememberedRequest
	order []*rememberedRequest // the oldest first; may hold some that byKey no longer has
	count map[string]int       // by caller
}

// rememberedRequest is what is kept under the key of a request ID.
type rememberedRequest struct {
	Time   time.Time `json:"time"`
	Caller string    `json:"caller"`
	// Digest is an HMAC of the request under its own ID, which is not stored: so it does not help to guess the secrets that
	// the request held.
	Digest   []byte `json:"digest"`
	Resource string `json:"resource"`

	key    string
	modRev int64
}

const requestPrefix = "q/"

func requestKey(caller, id string) string {
	h := sha256.New()
	for _, s := range []string{caller, id} {
		_, _ = fmt.Fprintf(h, "%d %s", len(s), s) // a hash takes everything
	}
	return requestPrefix + hex.EncodeToString(h.Sum(nil))
}

func requestDigest(id string, request []byte) []byte {
	h := hmac.New(sha256.New, []byte(id))
	h.Write(request)
	return h.Sum(nil)
}

// LoadRequestIDs reads what is remembered.
func LoadRequestIDs(s *Store) (*RequestIDs, error) {
	r := &RequestIDs{store: s, byKey: map[string]*rememberedRequest{}, count: map[string]int{}}
	from := Range{Start: requestPrefix, End: PrefixEnd(requestPrefix)}
	for more := true; more; {
		var items []Item
		var err error
		if items, _, more, err = s.kv.List(context.Background(), from); err != nil {
			return nil, fmt.Errorf("list request IDs: %w", err)
		}
		for _, item := range items {
			q := &rememberedRequest{key: item.Key, modRev: item.ModRev}
			if err := json.Unmarshal(item.Value, q); err != nil {
				return nil, fmt.Errorf("%w: key %q: %w", ErrCorrupt, item.Key, err)
			}
			r.byKey[q.key] = q
			r.order = append(r.order, q)
			r.count[q.Caller]++
			from.Start = item.Key + "\x00"
		}
	}
	slices.SortFunc(r.order, func(a, b *rememberedRequest) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.key, b.key))
	})
	return r, nil
}

// Find returns the name of what a caller's request of this ID has made; "" if it is not known. It returns ErrRequestReused
// if the request of this ID was not the one in request.
func (r *RequestIDs) Find(caller, id string, request []byte) (resource string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.byKey[requestKey(caller, id)]
	switch {
	case q == nil || r.expired(q):
		return "", nil
	case !hmac.Equal(q.Digest, requestDigest(id, request)):
		return "", ErrRequestReused
	}
	return q.Resource, nil
}

func (r *RequestIDs) expired(q *rememberedRequest) bool {
	return r.store.now().Sub(q.Time) >= RequestLifetime
}

// With remembers, in the commit that makes resource, that the request of this ID has made it. The commit fails with ErrConflict
// if another one under the same ID came first.
func (r *RequestIDs) With(caller, id string, request []byte, resource string) Also {
	return &remembering{ids: r, made: &rememberedRequest{
		Caller: caller, Digest: requestDigest(id, request), Resource: resource, key: requestKey(caller, id),
	}}
}

// remembering is a request ID on its way into the store. It holds the lock of ids from begin to end.
type remembering struct {
	ids       *RequestIDs
	made      *rememberedRequest
	forgotten []*rememberedRequest
}

func (m *remembering) begin(context.Context, *Store) ([]Guard, []Op, error) {
	m.made.Time = m.ids.store.now()
	value, err := json.Marshal(m.made)
	if err != nil {
		return nil, nil, fmt.Errorf("encode: %w", err)
	}
	m.ids.mu.Lock()
	var was int64
	if q := m.ids.byKey[m.made.key]; q != nil {
		was = q.modRev
	}
	m.forgotten = m.ids.surplus(m.made)
	ops := []Op{{Key: m.made.key, Value: value}}
	for _, q := range m.forgotten {
		ops = append(ops, Op{Key: q.key, Delete: true})
	}
	return []Guard{{Key: m.made.key, ModRev: was}}, ops, nil
}

func (m *remembering) end(rev int64, done bool) {
	defer m.ids.mu.Unlock()
	if !done {
		return
	}
	for _, q := range m.forgotten {
		m.ids.drop(q)
	}
	m.ids.drop(m.ids.byKey[m.made.key])
	m.made.modRev = rev
	m.ids.byKey[m.made.key] = m.made
	m.ids.order = append(m.ids.order, m.made)
	m.ids.count[m.made.Caller]++
	if len(m.ids.order) > 2*maxRequests {
		m.ids.order = slices.DeleteFunc(m.ids.order, func(q *rememberedRequest) bool { return m.ids.byKey[q.key] != q })
	}
}

// drop forgets q, unless it is nil.
func (r *RequestIDs) drop(q *rememberedRequest) {
	if q == nil {
		return
	}
	delete(r.byKey, q.key)
	if r.count[q.Caller]--; r.count[q.Caller] == 0 {
		delete(r.count, q.Caller)
	}
}

// surplus returns what goes when next comes: what is over its time, and the oldest of what is too much.
func (r *RequestIDs) surplus(next *rememberedRequest) []*rememberedRequest {
	for len(r.order) > 0 && r.byKey[r.order[0].key] != r.order[0] {
		r.order = r.order[1:]
	}
	ofCaller, all := r.count[next.Caller], len(r.byKey)
	var list []*rememberedRequest
	for _, q := range r.order {
		over := r.expired(q) || all >= maxRequests || q.Caller == next.Caller && ofCaller >= maxRequestsOfCaller
		if len(list) == maxRequestsForgotten || !over && ofCaller < maxRequestsOfCaller {
			break
		}
		if !over || q.key == next.key || r.byKey[q.key] != q {
			continue
		}
		list = append(list, q)
		all--
		if q.Caller == next.Caller {
			ofCaller--
		}
	}
	return list
}
