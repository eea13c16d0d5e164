package store

import (
	"encoding/json"
	"fmt"
)

// recordVersion is the version of a stored record's form. A migration that changes the form of records raises it.
const recordVersion = 1

// envelope is what lies under a record's key.
type envelope struct {
	Version int               `json:"version"`
	Record  json.RawMessage   `json:"record"`
	Secrets map[string][]byte `json:"secrets,omitempty"` // field → ciphertext
}

// Sealer encrypts secrets at rest. A ciphertext opens only for the resource name and field that it was sealed for.
// It is safe for concurrent use.
type Sealer interface {
	Seal(plain []byte, resource, field string) ([]byte, error)
	Open(sealed []byte, resource, field string) ([]byte, error)
}

func (s *Store) encode(r record) ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	e := envelope{Version: recordVersion, Record: body}
	for _, slot := range r.secretSlots(nil) {
		if len(*slot.value) == 0 {
			continue
		}
		sealed, err := s.sealer.Seal(*slot.value, r.meta().Name, slot.field)
		if err != nil {
			return nil, fmt.Errorf("seal %s: %w", slot.field, err)
		}
		if e.Secrets == nil {
			e.Secrets = make(map[string][]byte)
		}
		e.Secrets[slot.field] = sealed
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if len(b) > MaxValue {
		return nil, fmt.Errorf("%w: %d octets, at most %d", ErrTooLarge, len(b), MaxValue)
	}
	return b, nil
}

// decode fills r, a pointer to a zero record, from what lies under the key of name.
func (s *Store) decode(name string, item Item, r record) error {
	var e envelope
	if err := json.Unmarshal(item.Value, &e); err != nil {
		return fmt.Errorf("%w: record %s: %w", ErrCorrupt, name, err)
	}
	if e.Version > recordVersion {
		return fmt.Errorf("record %s has version %d, this program knows up to %d: %w", name, e.Version, recordVersion, ErrSchemaTooNew)
	}
	if err := json.Unmarshal(e.Record, r); err != nil {
		return fmt.Errorf("%w: record %s: %w", ErrCorrupt, name, err)
	}
	m := r.meta()
	m.Name, m.Etag = name, s.etag(item.ModRev)
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
