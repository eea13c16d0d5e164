package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"concentrator/internal/secret"
)

const (
	schemaKey = "meta/schema"
	keysetKey = "meta/keyset"
)

// migration brings the keys from the version before it to its own. It may be cut off anywhere and run again from the
// beginning, so it must not mind finding its work half done.
type migration func(ctx context.Context, kv KV) error

// migrations in order: the first makes version 1 of an empty map. One is only ever added at the end, together with a
// stored file of the version before it in testdata.
var migrations = []migration{
	func(context.Context, KV) error { return nil },
}

// Migrate brings kv to the layout that this program knows. It returns ErrSchemaTooNew, and changes nothing, when a
// newer program has been there.
func Migrate(ctx context.Context, kv KV) error { return migrate(ctx, kv, migrations) }

func migrate(ctx context.Context, kv KV, steps []migration) error {
	for {
		item, err := kv.Get(ctx, schemaKey)
		version := 0
		switch {
		case err == nil:
			if version, err = strconv.Atoi(string(item.Value)); err != nil || version < 1 {
				return fmt.Errorf("%w: schema version %q", ErrCorrupt, item.Value)
			}
		case !errors.Is(err, ErrNotFound):
			return fmt.Errorf("read schema version: %w", err)
		}
		switch {
		case version > len(steps):
			return fmt.Errorf("schema version %d, this program knows up to %d: %w", version, len(steps), ErrSchemaTooNew)
		case version == len(steps):
			return nil
		}
		if err := steps[version](ctx, kv); err != nil {
			return fmt.Errorf("migrate to schema version %d: %w", version+1, err)
		}
		// Should another instance have been faster, the guard fails and the version is read anew.
		_, _, err = kv.Commit(ctx, []Guard{{Key: schemaKey, ModRev: item.ModRev}},
			[]Op{{Key: schemaKey, Value: strconv.AppendInt(nil, int64(version+1), 10)}})
		if err != nil {
			return fmt.Errorf("write schema version %d: %w", version+1, err)
		}
	}
}

// Open migrates kv, opens the keyset in it with the key of keyFile (both are made when there is neither) and returns
// the Store over it. The kv stays the caller's to close.
func Open(ctx context.Context, kv KV, keyFile string) (*Store, error) {
	if err := Migrate(ctx, kv); err != nil {
		return nil, err
	}
	sealer, err := secret.Open(keyFile, keysets{kv})
	if err != nil {
		return nil, err
	}
	return New(kv, sealer), nil
}

// keysets is the place of package secret's wrapped keyset.
type keysets struct{ kv KV }

func (k keysets) LoadKeyset() ([]byte, int64, error) {
	item, err := k.kv.Get(context.Background(), keysetKey)
	if errors.Is(err, ErrNotFound) {
		return nil, 0, nil
	}
	return item.Value, item.ModRev, err
}

func (k keysets) SwapKeyset(wrapped []byte, revision int64) (bool, error) {
	_, ok, err := k.kv.Commit(context.Background(),
		[]Guard{{Key: keysetKey, ModRev: revision}}, []Op{{Key: keysetKey, Value: wrapped}})
	return ok, err
}
