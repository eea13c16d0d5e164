package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Drained says since when an instance takes no calls, and by whose order.
type Drained struct {
	Since  time.Time `json:"since"`
	Caller string    `json:"caller,omitempty"`
}

func drainedKey(instance string) string { return "meta/drained/" + instance }

// Drained returns whether the instance of this name is out of service; nil: it is not.
func (s *Store) Drained(instance string) (*Drained, error) {
	item, err := s.kv.Get(context.Background(), drainedKey(instance))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read whether %s is drained: %w", instance, err)
	}
	d := new(Drained)
	if err := json.Unmarshal(item.Value, d); err != nil {
		return nil, fmt.Errorf("%w: whether %s is drained: %w", ErrCorrupt, instance, err)
	}
	return d, nil
}

// SetDrained takes an instance out of service, or with nil puts it back.
func (s *Store) SetDrained(instance string, d *Drained) error {
	op := Op{Key: drainedKey(instance), Delete: d == nil}
	if d != nil {
		value, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("encode: %w", err)
		}
		op.Value = value
	}
	if _, _, err := s.kv.Commit(context.Background(), nil, []Op{op}); err != nil {
		return fmt.Errorf("write whether %s is drained: %w", instance, err)
	}
	return nil
}
