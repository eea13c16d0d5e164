package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"concentrator/internal/secret"
)

// recordVersion is the version of a stored record's form. A migration that changes the form of records raises it.
const recordVersion = 1

// envelope is what lies under a record's key.
type envelope struct {
	Version int               `json:"version"`
	Record  json.RawMessage   `json:"record"`
	Secrets map[string][]byte `json:"secrets,omitempty"` // field → ciphertext
	// Changed is the revision of the last commit that changed what the record says. 0: of the last that put it, which only
	// Reencrypt makes another one.
	Changed int64 `json:"changed,omitempty"`
}

// maxRecord is the length of an encoded record at most, in octets. It leaves room for what Reencrypt adds.
const maxRecord = MaxValue - 64

// changed is the revision that makes a record's etag, that of the item unless the envelope says otherwise.
func (e *envelope) changed(item Item) int64 { return cmp.Or(e.Changed, item.ModRev) }

// etagOf returns the etag of a record that need not be decoded for it.
func (s *Store) etagOf(item Item) string {
	var e envelope
	_ = json.Unmarshal(item.Value, &e) // of what can't be read, the item's revision is as good
	return s.etag(e.changed(item))
}

// encode makes what to put under a record's key, and what must hold when it is put: while the keyset has that revision,
// no key is on its way out that the record was sealed with.
func (s *Store) encode(r record) ([]byte, []Guard, error) {
	guard := s.keysetGuard()
	body, err := json.Marshal(r)
	if err != nil {
		return nil, nil, fmt.Errorf("encode: %w", err)
	}
	e := envelope{Version: recordVersion, Record: body}
	for _, slot := range r.secretSlots(nil) {
		if len(*slot.value) == 0 {
			continue
		}
		sealed, err := s.sealer.Seal(*slot.value, r.meta().Name, slot.field)
		if err != nil {
			return nil, nil, fmt.Errorf("seal %s: %w", slot.field, err)
		}
		if e.Secrets == nil {
			e.Secrets = make(map[string][]byte)
		}
		e.Secrets[slot.field] = sealed
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, nil, fmt.Errorf("encode: %w", err)
	}
	if len(b) > maxRecord {
		return nil, nil, fmt.Errorf("%w: %d octets, at most %d", ErrTooLarge, len(b), maxRecord)
	}
	if e.Secrets == nil {
		return b, nil, nil
	}
	return b, []Guard{guard}, nil
}

// keysetGuard holds as long as the keyset in use is the one in the store. It is taken before what it guards is sealed.
func (s *Store) keysetGuard() Guard { return Guard{Key: keysetKey, ModRev: s.sealer.Revision()} }

// read decodes the record of a name from item. When a secret does not open, the keyset or the record may have been
// changed since item was read, so both are looked at once more; the item returned is then the later one.
func read[T Record](s *Store, name string, item Item) (*T, Item, error) {
	r := new(T)
	err := s.decode(name, item, any(r).(record))
	if !errors.Is(err, secret.ErrSealed) {
		return r, item, err
	}
	if err := s.sealer.Refresh(); err != nil {
		return nil, Item{}, err
	}
	item, err = s.kv.Get(context.Background(), item.Key)
	if err != nil {
		return nil, Item{}, fmt.Errorf("%s: %w", name, err)
	}
	r = new(T)
	return r, item, s.decode(name, item, any(r).(record))
}

// decode fills r, a pointer to a zero record, from what lies under the key of name.
func (s *Store) decode(name string, item Item, r record) error {
	var e envelope
	if err := json.Unmarshal(item.Value, &e); err != nil {
		return fmt.Errorf("%w: record %s: %w", ErrCorrupt, name, err)
	}
	if err := s.unpack(name, item, &e, r); err != nil {
		return err
	}
	for _, slot := range r.secretSlots(e.Secrets) {
		sealed, ok := e.Secrets[slot.field]
		if !ok {
			continue
		}
		plain, err := s.sealer.Open(sealed, name, slot.field)
		if err != nil {
			return fmt.Errorf("open %s of %s: %w", slot.field, name, err)
		}
		*slot.value = plain
	}
	return nil
}

// unpack fills r, a pointer to a zero record, but for its secrets.
func (s *Store) unpack(name string, item Item, e *envelope, r record) error {
	if e.Version > recordVersion {
		return fmt.Errorf("record %s has version %d, this program knows up to %d: %w", name, e.Version, recordVersion, ErrSchemaTooNew)
	}
	if err := json.Unmarshal(e.Record, r); err != nil {
		return fmt.Errorf("%w: record %s: %w", ErrCorrupt, name, err)
	}
	m := r.meta()
	m.Name, m.Etag = name, s.etag(e.changed(item))
	return nil
}
