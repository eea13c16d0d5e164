package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"concentrator/internal/secret"
)

// Errors of the typed layer, beside ErrNotFound and ErrInvalidName.
var (
	// ErrExists is returned by Create when the name is taken.
	ErrExists = errors.New("already exists")
	// ErrConflict is returned by Update and Delete when the etag is not the stored record's, or when others kept
	// changing it under an update without one.
	ErrConflict = errors.New("changed by another")
	// ErrNotEmpty is returned by Delete for a tenant that has resources under it other than operations that ended.
	ErrNotEmpty = errors.New("has resources under it")
	// ErrTooLarge is returned for a record that is more than MaxValue octets when encoded.
	ErrTooLarge = errors.New("record is too large")
)

// tries bounds how often a write without an etag is begun anew because another writer came between.
const tries = 16

// Store reads and writes typed records. It is safe for concurrent use.
type Store struct {
	kv     KV
	sealer *secret.Sealer
	now    func() time.Time
	shared shared
	trail  trail
}

// New makes a Store over a migrated kv, which stays the caller's to close. Open does all that comes before.
func New(kv KV, sealer *secret.Sealer) *Store {
	return &Store{kv: &noted{KV: kv}, sealer: sealer, now: func() time.Time { return time.Now().UTC() }}
}

// Epoch names the history that this store's revisions and etags belong to.
func (s *Store) Epoch() string { return s.kv.Epoch() }

// Revision is the revision of the last change. Take it before List; a Watch from it then misses nothing.
func (s *Store) Revision() (int64, error) { return s.kv.Revision(context.Background()) }

func (s *Store) etag(modRev int64) string {
	return s.kv.Epoch() + "-" + strconv.FormatInt(modRev, 36)
}

// Create stores a new record under r.Name and sets the rest of r's Meta. It returns ErrExists when the name is taken
// and ErrNotFound when the tenant that it would stand under does not exist. What also holds goes into the same commit.
func Create[T Record](s *Store, r *T, also ...Also) error {
	rec := any(r).(record)
	k, name := rec.kind(), rec.meta().Name
	if err := CheckName(k, name); err != nil {
		return err
	}
	old := *rec.meta()
	now := s.now()
	*rec.meta() = Meta{Name: name, CreateTime: now, UpdateTime: now}
	rev, err := s.create(rec, also)
	if err != nil {
		*rec.meta() = old
		return fmt.Errorf("create %s: %w", name, err)
	}
	rec.meta().Etag = s.etag(rev)
	return nil
}

func (s *Store) create(rec record, also []Also) (int64, error) {
	ctx := context.Background()
	name := rec.meta().Name
	key := recordKey(rec.kind(), name)
	for range tries {
		value, guards, err := s.encode(rec)
		if err != nil {
			return 0, err
		}
		guards = append(guards, Guard{Key: key})
		ops := []Op{{Key: key, Value: value}}
		if parent := TenantOf(name); parent != "" {
			item, err := s.kv.Get(ctx, recordKey(KindTenant, parent))
			if err != nil {
				return 0, fmt.Errorf("%s: %w", parent, err)
			}
			guards = append(guards, Guard{Key: item.Key, ModRev: item.ModRev})
			ops = append(ops, Op{Key: childKey(parent), Value: []byte{}})
		}
		rev, ok, err := s.commit(ctx, guards, ops, also)
		if err != nil || ok {
			return rev, err
		}
		switch _, err := s.kv.Get(ctx, key); {
		case err == nil:
			return 0, ErrExists
		case !errors.Is(err, ErrNotFound):
			return 0, err
		}
		if err := s.sealer.Refresh(); err != nil {
			return 0, err
		}
	}
	return 0, ErrConflict
}

// Get returns the record of a name, or ErrNotFound.
func Get[T Record](s *Store, name string) (*T, error) {
	r, _, err := get[T](s, name)
	return r, err
}

func get[T Record](s *Store, name string) (*T, Item, error) {
	k := KindOf[T]()
	if err := CheckName(k, name); err != nil {
		return nil, Item{}, err
	}
	item, err := s.kv.Get(context.Background(), recordKey(k, name))
	if err != nil {
		return nil, Item{}, fmt.Errorf("%s: %w", name, err)
	}
	r, item, err := read[T](s, name, item)
	if err != nil {
		return nil, Item{}, err
	}
	return r, item, nil
}

// List returns the records under parent in the order of their names, from the first whose name comes after `after`,
// at most limit of them (0 or less: all), and whether there are more. The parent is "tenants/{tenant}", or
// "tenants/-" for those of all tenants; for tenants and listeners it is empty, and for a kind that may stand under no
// tenant it then means those that do. A tenant that does not exist has none.
func List[T Record](s *Store, parent, after string, limit int) ([]*T, bool, error) {
	k := KindOf[T]()
	start, err := keysBelow(k, parent)
	if err != nil {
		return nil, false, err
	}
	r := Range{Start: start, End: PrefixEnd(start)}
	if from := recordKey(k, after) + "\x00"; from > r.Start {
		r.Start = from
	}
	var page []*T
	for {
		if limit > 0 {
			r.Limit = limit - len(page)
		}
		items, _, more, err := s.kv.List(context.Background(), r)
		if err != nil {
			return nil, false, fmt.Errorf("list %s of %q: %w", k, parent, err)
		}
		for _, item := range items {
			_, name, ok := splitKey(item.Key)
			if !ok {
				return nil, false, fmt.Errorf("%w: key %q", ErrCorrupt, item.Key)
			}
			v, _, err := read[T](s, name, item)
			if errors.Is(err, ErrNotFound) {
				continue // deleted after the page was read
			}
			if err != nil {
				return nil, false, err
			}
			page = append(page, v)
		}
		if !more || limit > 0 && len(page) >= limit {
			return page, more, nil
		}
		r.Start = items[len(items)-1].Key + "\x00"
	}
}

// Update replaces the record of r.Name by r, secrets included, and sets the rest of r's Meta. With an Etag in r it
// returns ErrConflict when the stored record has another; an empty one checks nothing. A record that is stored just so
// already is not written again, and keeps its Etag. What also holds goes into the same commit, if there is one.
func Update[T Record](s *Store, r *T, also ...Also) error {
	rec := any(r).(record)
	want := *rec.meta()
	for range tries {
		stored, item, err := get[T](s, want.Name)
		if err != nil {
			return fmt.Errorf("update: %w", err)
		}
		was := any(stored).(record)
		if want.Etag != "" && want.Etag != was.meta().Etag {
			return fmt.Errorf("update %s: %w", want.Name, ErrConflict)
		}
		*rec.meta() = *was.meta()
		if same(rec, was) {
			return nil
		}
		rec.meta().UpdateTime = s.now()
		value, guards, err := s.encode(rec)
		if err != nil {
			*rec.meta() = want
			return fmt.Errorf("update %s: %w", want.Name, err)
		}
		rev, ok, err := s.commit(context.Background(),
			append(guards, Guard{Key: item.Key, ModRev: item.ModRev}), []Op{{Key: item.Key, Value: value}}, also)
		if ok && err == nil {
			rec.meta().Etag = s.etag(rev)
			return nil
		}
		*rec.meta() = want
		if err == nil {
			err = s.sealer.Refresh()
		}
		if err != nil {
			return fmt.Errorf("update %s: %w", want.Name, err)
		}
	}
	return fmt.Errorf("update %s: %w", want.Name, ErrConflict)
}

// Same says whether an Update that puts a in b's place would change anything.
func Same[T Record](a, b *T) bool { return same(any(a).(record), any(b).(record)) }

// same says whether two records would be stored alike, ciphertexts apart.
func same(a, b record) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	if errX != nil || errY != nil || !bytes.Equal(x, y) {
		return false
	}
	sa, sb := a.secretSlots(nil), b.secretSlots(nil)
	if len(sa) != len(sb) {
		return false
	}
	for i := range sa {
		if sa[i].field != sb[i].field || !bytes.Equal(*sa[i].value, *sb[i].value) {
			return false
		}
	}
	return true
}

// Delete removes the record of a name; with an etag only if it is the stored record's (ErrConflict). A tenant must
// have nothing under it (ErrNotEmpty) but operations that ended, which go with it.
func Delete[T Record](s *Store, name, etag string, also ...Also) error {
	ctx := context.Background()
	k := KindOf[T]()
	if err := CheckName(k, name); err != nil {
		return err
	}
	key := recordKey(k, name)
	for range tries {
		item, err := s.kv.Get(ctx, key)
		if err != nil {
			return fmt.Errorf("delete %s: %w", name, err)
		}
		if etag != "" && etag != s.etagOf(item) {
			return fmt.Errorf("delete %s: %w", name, ErrConflict)
		}
		guards := []Guard{{Key: key, ModRev: item.ModRev}}
		ops := []Op{{Key: key, Delete: true}}
		if k == KindTenant {
			// The mark first: what is made under the tenant after this moment fails the guard.
			mark, err := s.kv.Get(ctx, childKey(name))
			if err != nil && !errors.Is(err, ErrNotFound) {
				return fmt.Errorf("delete %s: %w", name, err)
			}
			if child, err := s.firstChild(ctx, name); err != nil {
				return fmt.Errorf("delete %s: %w", name, err)
			} else if child != "" {
				return fmt.Errorf("delete %s: %w, such as %s", name, ErrNotEmpty, child)
			}
			if err := s.deleteChildren(ctx, name, true); err != nil {
				return fmt.Errorf("delete %s: %w", name, err)
			}
			guards = append(guards, Guard{Key: childKey(name), ModRev: mark.ModRev})
			ops = append(ops, Op{Key: childKey(name), Delete: true})
		}
		_, ok, err := s.commit(ctx, guards, ops, also)
		if err != nil {
			return fmt.Errorf("delete %s: %w", name, err)
		}
		if ok {
			return nil
		}
	}
	return fmt.Errorf("delete %s: %w", name, ErrConflict)
}

// firstChild returns the name of some resource under a tenant that keeps it from being deleted, or "".
func (s *Store) firstChild(ctx context.Context, tenantName string) (string, error) {
	operations, _, err := List[Operation](s, tenantName, "", 0)
	if err != nil {
		return "", err
	}
	for _, o := range operations {
		if o.State == OperationRunning { // it would go on, and in a tenant that is then made under this name
			return o.Name, nil
		}
	}
	for _, c := range collections {
		if !c.inTenant || c.history {
			continue
		}
		prefix := recordKey(c.kind, tenantName) + "/"
		items, _, _, err := s.kv.List(ctx, Range{Start: prefix, End: PrefixEnd(prefix), Limit: 1})
		if err != nil {
			return "", err
		}
		if len(items) > 0 {
			return strings.TrimPrefix(items[0].Key, recordPrefix+c.collection+"/"), nil
		}
	}
	return "", nil
}

// DeleteChildren removes everything under a tenant, users before what they refer to. It is not one commit: what is
// made meanwhile may stay, and Delete of the tenant then says so.
func (s *Store) DeleteChildren(tenantName string) error {
	if err := CheckName(KindTenant, tenantName); err != nil {
		return err
	}
	return s.deleteChildren(context.Background(), tenantName, false)
}

// deleteChildren is DeleteChildren, or only of what goes with the tenant.
func (s *Store) deleteChildren(ctx context.Context, tenantName string, history bool) error {
	for _, c := range collections {
		if !c.inTenant || history && !c.history {
			continue
		}
		prefix := recordKey(c.kind, tenantName) + "/"
		for more := true; more; {
			var items []Item
			var err error
			items, _, more, err = s.kv.List(ctx, Range{Start: prefix, End: PrefixEnd(prefix), Limit: MaxOps})
			if err != nil {
				return fmt.Errorf("delete %s of %s: %w", c.collection, tenantName, err)
			}
			ops := make([]Op, len(items))
			for i, item := range items {
				ops[i] = Op{Key: item.Key, Delete: true}
			}
			if _, _, err := s.kv.Commit(ctx, nil, ops); err != nil {
				return fmt.Errorf("delete %s of %s: %w", c.collection, tenantName, err)
			}
		}
	}
	return nil
}
