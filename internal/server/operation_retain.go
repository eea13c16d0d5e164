package server

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"concentrator/internal/store"
	"concentrator/internal/telemetry"
)

// Bounds on the operations that are kept when they have ended.
const (
	keepOperations       = 7 * 24 * time.Hour
	maxOperations        = 1000
	maxOperationsATenant = 100 // so that one tenant does not push out the others'
	retainEvery          = time.Hour
)

// retain removes what is too old, now and then.
func (o *operations) retain() {
	t := time.NewTicker(retainEvery)
	defer t.Stop()
	for {
		if err := o.tidy(time.Now()); err != nil {
			o.log.Warn("old operations not removed", telemetry.Error, err.Error())
		}
		select {
		case <-o.ctx.Done():
			return
		case <-t.C:
		}
	}
}

// tidy removes the operations that ended too long ago or are too many.
func (o *operations) tidy(now time.Time) error {
	alone, _, err := store.List[store.Operation](o.store, "", "", 0)
	ofTenants, _, err2 := store.List[store.Operation](o.store, anyTenant, "", 0)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	all := slices.DeleteFunc(append(alone, ofTenants...), func(r *store.Operation) bool { return r.State == store.OperationRunning })
	slices.SortFunc(all, func(a, b *store.Operation) int { return b.EndTime.Compare(a.EndTime) }) // the latest first
	kept := make(map[string]int)                                                                  // by tenant
	var errs []error
	n := 0
	for _, r := range all {
		t := store.TenantOf(r.Name)
		if now.Sub(r.EndTime) <= keepOperations && n < maxOperations && (t == "" || kept[t] < maxOperationsATenant) {
			n++
			kept[t]++
			continue
		}
		errs = append(errs, o.remove(r.Name))
	}
	return errors.Join(errs...)
}

// remove forgets an operation that ended, with its file.
func (o *operations) remove(name string) error {
	if err := store.Delete[store.Operation](o.store, name, ""); err != nil && !isNotFound(err) {
		return err
	}
	o.removeFile(name)
	return nil
}

// forgetOrphans removes inputs and files of operations that there are not, or that have ended: the daemon died between the two.
func (o *operations) forgetOrphans(known map[string]*store.Operation) {
	alone, _, err := store.List[store.OperationInput](o.store, "", "", 0)
	ofTenants, _, err2 := store.List[store.OperationInput](o.store, anyTenant, "", 0)
	if err := errors.Join(err, err2); err != nil {
		o.log.Warn("inputs of old operations not removed", telemetry.Error, err.Error())
	}
	for _, i := range append(alone, ofTenants...) {
		if rec := known[inputOf(i.Name)]; rec == nil || rec.State != store.OperationRunning {
			o.forget(i.Name)
		}
	}
	files, err := os.ReadDir(o.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		o.log.Warn("files of old operations not removed", telemetry.Error, err.Error())
	}
	mayHave := make(map[string]bool, len(known))
	for name, rec := range known {
		if rec.State == store.OperationRunning || rec.FileSize > 0 {
			mayHave[name[strings.LastIndexByte(name, '/')+1:]] = true
		}
	}
	for _, f := range files {
		if mayHave[f.Name()] {
			continue
		}
		if err := os.RemoveAll(filepath.Join(o.dir, f.Name())); err != nil { // a backup's copies lie in a directory
			o.log.Warn("files of old operations not removed", telemetry.Error, err.Error())
		}
	}
}
