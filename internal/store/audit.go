package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// AuditEvent is one entry of the audit trail: a call of the API that changed something, or that was refused. The store sets
// Sequence, Time, PreviousHash and Hash. It must hold no secret.
type AuditEvent struct {
	Sequence      int64           `json:"sequence"` // from 1, without a gap
	Time          time.Time       `json:"time"`
	Tenant        string          `json:"tenant,omitempty"` // whose it is, tenants/{tenant}; empty: the instance's
	Caller        string          `json:"caller,omitempty"`
	Role          string          `json:"role,omitempty"`
	Address       string          `json:"address,omitempty"`
	Method        string          `json:"method,omitempty"`
	Resource      string          `json:"resource,omitempty"`
	Code          string          `json:"code,omitempty"`
	Reason        string          `json:"reason,omitempty"`
	Detail        string          `json:"detail,omitempty"`
	RequestID     string          `json:"requestId,omitempty"`
	Before        json.RawMessage `json:"before,omitempty"` // the resource, as JSON
	After         json.RawMessage `json:"after,omitempty"`
	ChangedFields []string        `json:"changedFields,omitempty"`
	Count         int             `json:"count,omitempty"` // calls that it stands for
	PreviousHash  Fingerprint     `json:"previousHash"`    // all zeros: it is the first of all
	Hash          Fingerprint     `json:"-"`               // SHA-256 of all of the above, as stored
}

// Bounds of the audit trail.
const (
	// DefaultAuditBytes is how large the trail may become, in octets.
	DefaultAuditBytes = 64 << 20
	// maxAuditEvent is how large one event may be. What is larger is kept without Before and After.
	maxAuditEvent = 128 << 10
	// auditTrim is how many events one commit drops at most.
	auditTrim = 64
)

const (
	auditPrefix  = "a/e/" // an event is at its sequence in 16 digits
	auditHeadKey = "a/head"
)

func auditKey(sequence int64) string { return fmt.Sprintf("%s%016d", auditPrefix, sequence) }

// auditSequence is the reverse of auditKey; false for a key that it does not make.
func auditSequence(key string) (int64, bool) {
	digits := strings.TrimPrefix(key, auditPrefix)
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil && n > 0 && key == auditKey(n)
}

// auditHead says where the trail begins and ends. Each commit that appends an event is guarded by it and replaces it, so the
// events are one chain whoever writes them.
type auditHead struct {
	First int64       `json:"first"` // the oldest event that there is; last+1: there is none
	Base  Fingerprint `json:"base"`  // hash of the event before it; zeros: there never was one
	Last  int64       `json:"last"`  // 0: none
	Hash  Fingerprint `json:"hash"`  // of the last event
	Bytes int64       `json:"bytes"` // of all events' values
}

// trail is what the Store knows of the audit trail. Its lock is held from the making of an event to the end of its commit.
type trail struct {
	mu       sync.Mutex
	known    bool // head and rev are those of the store
	head     auditHead
	rev      int64 // of the head's key; 0: there is none
	maxBytes int64 // 0: DefaultAuditBytes
}

// LimitAudit sets how large the audit trail may become, in octets; when it is larger, the oldest events go. 0 means
// DefaultAuditBytes.
func (s *Store) LimitAudit(octets int64) {
	s.trail.mu.Lock()
	defer s.trail.mu.Unlock()
	s.trail.maxBytes = octets
}

// WithAudit puts e into the audit trail in the same commit. When the write has been done, e.Sequence is set and written is
// called, which must not use the store; else neither. A nil written is not called.
func WithAudit(e *AuditEvent, written func()) Also { return &audited{event: e, written: written} }

// Audit puts e into the audit trail, in a commit of its own. When it returns without an error, it survives the death of the
// process.
func (s *Store) Audit(ctx context.Context, e *AuditEvent) error {
	for range tries {
		_, ok, err := s.commit(ctx, nil, nil, []Also{WithAudit(e, nil)})
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		if ok {
			return nil
		}
	}
	return fmt.Errorf("audit: %w", ErrConflict)
}

// audited is an event on its way into the trail.
type audited struct {
	event   *AuditEvent
	written func()

	trail *trail
	next  auditHead
	made  AuditEvent
}

func (a *audited) begin(ctx context.Context, s *Store) (guards []Guard, ops []Op, err error) {
	t := &s.trail
	t.mu.Lock()
	defer func() {
		if err != nil {
			t.mu.Unlock()
		}
	}()
	if !t.known {
		if t.head, t.rev, err = s.auditHead(ctx); err != nil {
			return nil, nil, err
		}
		t.known = true
	}
	a.trail, a.made = t, *a.event
	a.made.Sequence, a.made.Time, a.made.PreviousHash = t.head.Last+1, s.now(), t.head.Hash
	value, err := a.made.seal()
	if err != nil {
		return nil, nil, err
	}
	a.next = t.head
	a.next.Last, a.next.Hash = a.made.Sequence, a.made.Hash
	a.next.Bytes += int64(len(value))
	ops = []Op{{Key: auditKey(a.made.Sequence), Value: value}}
	dropped, err := s.trimAudit(ctx, &a.next, t.maxBytes)
	if err != nil {
		return nil, nil, err
	}
	head, err := json.Marshal(a.next)
	if err != nil {
		return nil, nil, fmt.Errorf("encode: %w", err)
	}
	ops = append(append(ops, dropped...), Op{Key: auditHeadKey, Value: head})
	return []Guard{{Key: auditHeadKey, ModRev: t.rev}}, ops, nil
}

func (a *audited) end(rev int64, done bool) {
	a.trail.known = done // else another instance may have been faster
	if done {
		a.trail.head, a.trail.rev = a.next, rev
		*a.event = a.made
		if a.written != nil {
			a.written()
		}
	}
	a.trail.mu.Unlock()
}

// seal makes what is stored of an event, its hash and then the JSON that the hash is of, and sets the hash.
func (e *AuditEvent) seal() ([]byte, error) {
	body, err := json.Marshal(e)
	if err == nil && len(body) > maxAuditEvent {
		e.Before, e.After = nil, nil
		body, err = json.Marshal(e)
	}
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if len(body) > maxAuditEvent {
		return nil, fmt.Errorf("audit event: %w: %d octets, at most %d", ErrTooLarge, len(body), maxAuditEvent)
	}
	e.Hash = sha256.Sum256(body)
	return append(e.Hash[:], body...), nil
}

// openAudit is the reverse of seal. It does not compare the hash with what it is of.
func openAudit(value []byte) (e AuditEvent, body []byte, err error) {
	if len(value) < len(e.Hash) {
		return e, nil, fmt.Errorf("%w: audit event of %d octets", ErrCorrupt, len(value))
	}
	copy(e.Hash[:], value)
	body = value[len(e.Hash):]
	if err := json.Unmarshal(body, &e); err != nil {
		return e, body, fmt.Errorf("%w: audit event: %w", ErrCorrupt, err)
	}
	return e, body, nil
}

// auditHead reads the head; a trail that was never begun has an empty one, at revision 0.
func (s *Store) auditHead(ctx context.Context) (auditHead, int64, error) {
	h := auditHead{First: 1}
	item, err := s.kv.Get(ctx, auditHeadKey)
	switch {
	case errors.Is(err, ErrNotFound):
		return h, 0, nil
	case err != nil:
		return h, 0, fmt.Errorf("head of the audit trail: %w", err)
	}
	if err := json.Unmarshal(item.Value, &h); err != nil || h.First < 1 || h.Last < h.First-1 {
		return h, 0, fmt.Errorf("%w: head of the audit trail", ErrCorrupt)
	}
	return h, item.ModRev, nil
}

// trimAudit returns the operations that drop the oldest events when the trail is too large, and takes them off the head. It
// drops more than it must, an eighth of the bound: not one with each commit.
func (s *Store) trimAudit(ctx context.Context, h *auditHead, maxBytes int64) ([]Op, error) {
	if maxBytes <= 0 {
		maxBytes = DefaultAuditBytes
	}
	if h.Bytes <= maxBytes {
		return nil, nil
	}
	// The event that is about to be written always stays.
	items, _, _, err := s.kv.List(ctx, Range{Start: auditKey(h.First), End: auditKey(h.Last), Limit: auditTrim})
	if err != nil {
		return nil, fmt.Errorf("audit trail: %w", err)
	}
	// Whatever somebody did to these rows, they go: what can't be read must not keep the others for ever.
	var ops []Op
	for _, item := range items {
		if h.Bytes <= maxBytes-maxBytes/8 {
			break
		}
		if sequence, ok := auditSequence(item.Key); ok {
			h.First = sequence + 1
			h.Base = Fingerprint{}
			copy(h.Base[:], item.Value)
		}
		h.Bytes = max(h.Bytes-int64(len(item.Value)), 0)
		ops = append(ops, Op{Key: item.Key, Delete: true})
	}
	return ops, nil
}
