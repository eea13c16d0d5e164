package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"concentrator/internal/store"
	"concentrator/internal/store/bolt"
	"concentrator/internal/telemetry"
)

// openMemory opens a file of what the daemon remembers and can do without, as who had which inner address. A damaged one
// is put aside, and where none can be opened the daemon runs without it (nil) rather than not at all.
func openMemory(dir, name string, f *files, log *slog.Logger) *bolt.DB {
	path := filepath.Join(dir, name)
	// Nobody watches it, so its log of changes is as short as it can be.
	options := bolt.Options{LogRevisions: 1, LogBytes: 1}
	kv, err := f.open(path, telemetry.FaultMemory, options)
	if errors.Is(err, store.ErrCorrupt) {
		log.Warn("what the last run remembered is lost", telemetry.Detail, path, telemetry.Error, err)
		if err = os.Rename(path, path+".damaged"); err == nil {
			kv, err = f.open(path, telemetry.FaultMemory, options)
		}
	}
	if err != nil {
		log.Warn("nothing is remembered for the next run", telemetry.Detail, path, telemetry.Error, err)
		f.faults.Raise(telemetry.FaultMemory, name, "not opened, until the next start: "+err.Error())
		return nil
	}
	return kv
}
