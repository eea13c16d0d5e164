package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
	"concentrator/internal/store/bolt"
)

// fullDisk is a map that can't be written while it is full.
type fullDisk struct {
	store.KV
	full atomic.Bool
}

func (d *fullDisk) Commit(ctx context.Context, guards []store.Guard, ops []store.Op) (int64, bool, error) {
	if d.full.Load() {
		return 0, false, errors.New("no space left on device")
	}
	return d.KV.Commit(ctx, guards, ops)
}

// onFullDisk is start on a disk that can become full.
func onFullDisk(t *testing.T) (*fixture, *fullDisk) {
	t.Helper()
	dir := t.TempDir()
	kv, err := bolt.Open(filepath.Join(dir, "state.db"))
	must(t)(kv, err)
	t.Cleanup(func() { _ = kv.Close() })
	disk := &fullDisk{KV: kv}
	s, err := store.Open(t.Context(), disk, filepath.Join(dir, "master.key"))
	must(t)(s, err)
	return start(t, func(c *Config) { c.Store = s }), disk
}

// Copies that a backup has left when the daemon died go with the next start: they lie in a directory of their own.
func TestOperationLeavings(t *testing.T) {
	f := start(t)
	stray := filepath.Join(f.dir, "operations", ".backup-123", "state.db")
	must(t)(nil, os.MkdirAll(filepath.Dir(stray), 0o700))
	must(t)(nil, os.WriteFile(stray, []byte("x"), 0o600))
	f = f.again(t, nil)
	must(t)(f.operations().ListOperations(t.Context(), &concentratorv1.ListOperationsRequest{})) // it is served once it has started
	if left, err := os.ReadDir(filepath.Join(f.dir, "operations")); err != nil || len(left) != 0 {
		t.Errorf("left: %v (%v)", left, err)
	}
}

// A full disk does not keep what fills it from being cancelled.
func TestCancelOnFullDisk(t *testing.T) {
	f, disk := onFullDisk(t)
	gone := make(chan struct{})
	f.withJob(func(ctx context.Context, _ *running) error {
		<-ctx.Done()
		close(gone)
		disk.full.Store(false) // its files are removed
		return ctx.Err()
	})
	name := f.begin(t, work{}).GetName()
	disk.full.Store(true)
	_, _ = f.operations().CancelOperation(t.Context(), &concentratorv1.CancelOperationRequest{Name: name})
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Fatal("the job goes on")
	}
	if m := f.ended(t, name); m.GetState() != concentratorv1.Operation_CANCELLED {
		t.Errorf("it is %s", m.GetState())
	}
}

// However its problems are spelled, an operation's record can be written.
func TestOperationProblemsFit(t *testing.T) {
	f := start(t)
	f.withJob(func(_ context.Context, op *running) error {
		for range maxProblems {
			op.problem(strings.Repeat("<", 1000), strings.Repeat("\x01", 1000), strings.Repeat("&", 1000))
		}
		return nil
	})
	name := f.begin(t, work{}).GetName()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	m, err := f.operations().WaitOperation(ctx, &concentratorv1.WaitOperationRequest{Name: name})
	must(t)(m, err)
	if m.GetState() != concentratorv1.Operation_FAILED || m.GetProblemCount() != maxProblems || len(m.GetProblems()) == 0 {
		t.Errorf("it is %s with %d problems, %d named", m.GetState(), m.GetProblemCount(), len(m.GetProblems()))
	}
}

// A restored state holds the operation that made the backup as one that runs: it is not taken up.
func TestBackupOfAnotherHistory(t *testing.T) {
	f := start(t)
	old := &store.Operation{
		Job: concentratorv1.Operation_BACKUP.String(), State: store.OperationRunning, Target: "instances/vpn-1",
		Settings: []byte(`{"epoch":"another"}`),
	}
	old.Name = "operations/old"
	must(t)(nil, store.Create(f.store, old))
	f = f.again(t, func(f *fixture) {
		j := f.ops.jobs[old.Job]
		j.run = (&backend{store: f.store, ops: f.ops, makeBackup: func(context.Context, string, func(done, total int64)) (int64, error) {
			t.Error("another backup is made")
			return 0, nil
		}}).backup
		f.ops.jobs[old.Job] = j
	})
	if m := f.ended(t, old.Name); m.GetState() != concentratorv1.Operation_FAILED || !strings.Contains(problemsOf(m), "restored from a backup") {
		t.Errorf("it ended as %v", m)
	}
}
