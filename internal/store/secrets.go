package store

import (
	"bytes"
	"slices"
)

// SecretFields lists the fields of a record that hold a secret, spelled as in the documents for apply, as in
// "ipsec.psks[0].secret". A nil record has none.
func SecretFields[T Record](r *T) []string {
	var fields []string
	for field := range secretsOf(r) {
		fields = append(fields, field)
	}
	slices.Sort(fields)
	return fields
}

// ChangedSecrets lists the fields whose secrets two records do not have in common, spelled so too. A nil record has none.
func ChangedSecrets[T Record](a, b *T) []string {
	x, y := secretsOf(a), secretsOf(b)
	var fields []string
	for field, value := range x {
		if !bytes.Equal(value, y[field]) {
			fields = append(fields, field)
		}
	}
	for field := range y {
		if _, both := x[field]; !both {
			fields = append(fields, field)
		}
	}
	slices.Sort(fields)
	return fields
}

// secretsOf are the secrets of a record by their fields, without empty ones.
func secretsOf[T Record](r *T) map[string][]byte {
	if r == nil {
		return nil
	}
	m := make(map[string][]byte)
	for _, slot := range any(r).(record).secretSlots(nil) {
		if len(*slot.value) > 0 {
			m[slot.field] = *slot.value
		}
	}
	return m
}

// Wipe clears the secrets of records that the caller has read for itself, or made, and needs no more: those of Get and
// List, never of Shared.
func Wipe[T Record](records ...*T) {
	for _, r := range records {
		if r == nil {
			continue
		}
		for _, slot := range any(r).(record).secretSlots(nil) {
			clear(*slot.value)
		}
	}
}
