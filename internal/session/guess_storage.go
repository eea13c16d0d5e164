package session

import (
	"concentrator/internal/authz/accounting"
	"concentrator/internal/authz/guess"
	"concentrator/internal/store"
)

// GuessStorage makes a key-value store of its own the place of failed log-ins: not that of the resources, whose watches a flood
// of guesses would run over. The kv stays the caller's to close, after the Manager's Shutdown.
func GuessStorage(kv store.KV) guess.Storage { return guessKV{ledgerKV{kv}} }

type guessKV struct{ ledgerKV }

// Commit implements guess.Storage.
func (g guessKV) Commit(puts []guess.Item, deletes []string) error {
	items := make([]accounting.Item, len(puts))
	for i, p := range puts {
		items[i] = accounting.Item(p)
	}
	return g.ledgerKV.Commit(items, deletes)
}
