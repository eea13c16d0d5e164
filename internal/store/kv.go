package store

import (
	"context"
	"errors"
	"fmt"
)

// Bounds of the contract; the same for every engine, and within what etcd takes by default.
const (
	MaxOps   = 100       // operations, and also guards, in one commit
	MaxKey   = 1024      // octets of a key
	MaxValue = 512 << 10 // octets of a value
	MaxPage  = 1000      // items in one List
)

// Errors of a KV, and of the functions built on it.
var (
	// ErrNotFound is returned when a key or a resource, or the tenant it would stand under, does not exist.
	ErrNotFound = errors.New("not found")
	// ErrCompacted is returned by a watch when the changes it asks for are no longer, or not yet, in the log: list
	// again and watch from there.
	ErrCompacted = errors.New("store: revision is not in the change log, list again")
	// ErrInvalidCommit is returned for a commit that breaks the bounds of the contract. Nothing of it was done.
	ErrInvalidCommit = errors.New("store: invalid commit")
	// ErrClosed is returned by every call after Close.
	ErrClosed = errors.New("store: closed")
	// ErrLocked is returned by an engine's Open when another process has the same state open.
	ErrLocked = errors.New("in use by another process")
	// ErrNotWritten is returned by a commit that the disk did not take. It is not made, as a rule; one of which only the last
	// step failed is made all the same, and seen by others with the next commit.
	ErrNotWritten = errors.New("the state can't be written")
	// ErrCorrupt is returned by an engine's Open, or by a read, when the stored bytes can't be right.
	ErrCorrupt = errors.New("store: corrupt")
	// ErrSchemaTooNew is returned when a newer version of the program wrote the state.
	ErrSchemaTooNew = errors.New("store: written by a newer version")
)

// Item is one key as a commit left it.
type Item struct {
	Key    string
	Value  []byte // the caller's own
	ModRev int64  // revision of the last commit that put it
}

// Range is the keys from Start up to but not including End. An empty End has no bound.
type Range struct {
	Start, End string
	Limit      int // items at most; 0 means MaxPage, and so does more than that
}

// Guard is a condition on one key: its revision is ModRev, or with 0, it does not exist.
type Guard struct {
	Key    string
	ModRev int64
}

// Op puts or deletes one key.
type Op struct {
	Key    string
	Value  []byte // borrowed until Commit returns
	Delete bool
}

// Event is one key changed by the commit of revision Rev.
type Event struct {
	Rev     int64
	Key     string
	Value   []byte // what was put, the receiver's own; nil when deleted
	Deleted bool
}

// KV is an ordered map from keys to values with one revision for the whole map. Every commit that changes something
// raises the revision by one; a new map begins at revision 1. All methods are safe for concurrent use.
type KV interface {
	// Epoch names this history of revisions: two maps with the same epoch and revision hold the same.
	Epoch() string
	// Revision is the revision of the last commit.
	Revision(ctx context.Context) (int64, error)
	// Get returns one key, or ErrNotFound.
	Get(ctx context.Context, key string) (Item, error)
	// List returns a page in the order of the keys' octets, the revision it shows, and whether there is more behind
	// it. A page may be shorter than its limit and yet have more behind it.
	List(ctx context.Context, r Range) (items []Item, rev int64, more bool, err error)
	// Commit does all ops if every guard holds, or nothing. It returns ok=false and no error when a guard does not
	// hold. The revision is that of the commit; of the map as it is when nothing was done. A commit without ops, or
	// with nothing but deletions of absent keys, does not raise the revision; a put always does. When it returns
	// without an error, the change survives the death of the process, and a power cut.
	//
	// If ctx ends before the commit has begun, nothing is done and ctx's error is returned; later it is not looked at.
	Commit(ctx context.Context, guards []Guard, ops []Op) (rev int64, ok bool, err error)
	// Watch calls fn with the changes of keys that begin with prefix, in order, beginning with the first commit
	// after revision `after` (0: from now on). The changes of one commit always come in one call. A slow fn holds up
	// nobody and loses nothing but, when the log was trimmed meanwhile, the watch: ErrCompacted. Watch blocks until
	// ctx ends (its error), fn fails (fn's error) or the KV is closed (ErrClosed).
	Watch(ctx context.Context, prefix string, after int64, fn func([]Event) error) error
	// Changes is one step of a watch for who does not want to be called: the changes of keys that begin with prefix by the
	// commits after a revision, whole commits only and as many as one step goes over, and the revision up to which these are
	// all. later is closed when another step may find more, or Close was called. ErrCompacted as for Watch; a revision that
	// is still to come is that too.
	Changes(ctx context.Context, prefix string, after int64) (events []Event, upto int64, later <-chan struct{}, err error)
	// Close ends all watches and waits for commits under way.
	Close() error
}

// CheckCommit holds a commit against the bounds of the contract. Engines call it first; its error is ErrInvalidCommit.
func CheckCommit(guards []Guard, ops []Op) error {
	if len(ops) > MaxOps || len(guards) > MaxOps {
		return fmt.Errorf("%w: %d operations and %d guards, at most %d each", ErrInvalidCommit, len(ops), len(guards), MaxOps)
	}
	for _, g := range guards {
		if err := checkKey(g.Key); err != nil {
			return err
		}
		if g.ModRev < 0 {
			return fmt.Errorf("%w: guard on key %q with revision %d", ErrInvalidCommit, g.Key, g.ModRev)
		}
	}
	seen := make(map[string]bool, len(ops))
	for _, op := range ops {
		if err := checkKey(op.Key); err != nil {
			return err
		}
		if seen[op.Key] {
			return fmt.Errorf("%w: key %q twice", ErrInvalidCommit, op.Key)
		}
		seen[op.Key] = true
		if len(op.Value) > MaxValue {
			return fmt.Errorf("%w: value of key %q has %d octets, at most %d", ErrInvalidCommit, op.Key, len(op.Value), MaxValue)
		}
		if op.Delete && op.Value != nil {
			return fmt.Errorf("%w: deletion of key %q with a value", ErrInvalidCommit, op.Key)
		}
	}
	return nil
}

func checkKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return fmt.Errorf("%w: a key must be 1 to %d octets long, not %d", ErrInvalidCommit, MaxKey, len(key))
	}
	return nil
}

// PrefixEnd is the End of the range of all keys that begin with prefix; empty when there is no bound.
func PrefixEnd(prefix string) string {
	b := []byte(prefix)
	for len(b) > 0 {
		if last := len(b) - 1; b[last] < 0xff {
			b[last]++
			return string(b)
		}
		b = b[:len(b)-1]
	}
	return ""
}
