package server

import (
	"context"
	"errors"
	"slices"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
)

// keepBackups is how many backups are kept on the instance, the one being made among them.
const keepBackups = 3

// errNoBackup is for a server that was not told how to make one.
var errNoBackup = errors.New("this instance keeps nothing that could be backed up")

// backupSettings say of which history of the store a backup was begun. A state that is restored holds the very operation that
// has copied it, as one that runs, and under another history.
type backupSettings struct {
	Epoch string `json:"epoch"`
}

func (s instanceService) BackupInstance(ctx context.Context, r *concentratorv1.BackupInstanceRequest) (*concentratorv1.Operation, error) {
	m, err := s.named(r.GetName())
	if err != nil {
		return nil, err
	}
	return s.ops.begin(ctx, work{
		kind: concentratorv1.Operation_BACKUP, target: m.GetName(), settings: backupSettings{s.store.Epoch()},
	})
}

// backup is the job of a BACKUP. Begun anew it makes another file: half of the old one is worth nothing.
func (b *backend) backup(ctx context.Context, op *running) error {
	if b.makeBackup == nil {
		return errNoBackup
	}
	var settings backupSettings
	if err := op.settings(&settings); err != nil {
		return err
	}
	if settings.Epoch != b.store.Epoch() {
		op.problem(op.record.Target, reasonNoFile, "this state was restored from a backup that was made while this one was")
		return errSeeProblems
	}
	if err := b.forgetBackups(keepBackups - 1); err != nil {
		return err
	}
	op.say("copying")
	size, err := b.makeBackup(ctx, op.file(), op.progress)
	if err != nil {
		return err
	}
	op.fileReady(size)
	op.say("%d octets", size)
	return nil
}

// forgetBackups removes all but the latest so many backups that were made.
func (b *backend) forgetBackups(keep int) error {
	all, _, err := store.List[store.Operation](b.store, "", "", 0)
	if err != nil {
		return err
	}
	made := slices.DeleteFunc(all, func(o *store.Operation) bool {
		return o.Job != concentratorv1.Operation_BACKUP.String() || o.State == store.OperationRunning
	})
	slices.SortFunc(made, func(x, y *store.Operation) int { return y.EndTime.Compare(x.EndTime) })
	var errs []error
	for _, o := range made[min(keep, len(made)):] {
		errs = append(errs, b.ops.remove(o.Name))
	}
	return errors.Join(errs...)
}
