package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"concentrator/internal/authz/accounting"
	"concentrator/internal/config"
	"concentrator/internal/session"
	"concentrator/internal/store/backup"
	"concentrator/internal/store/bolt"
	"concentrator/internal/telemetry"
)

// books is the accounting ledger with the file that it lives in, and where the records of tenants without RADIUS go.
type books struct {
	kv     *bolt.DB
	ledger *accounting.Ledger
	local  *local
	sink   atomic.Pointer[session.Manager] // who knows each tenant's servers; nil: not yet
}

// openBooks opens the ledger. Sessions that were live when the last run was cut off end in it now.
func openBooks(cfg config.Config, f *files, log *slog.Logger) (*books, error) {
	b := &books{local: &local{log: log, faults: f.faults}}
	fail := func(what string, err error) (*books, error) {
		return nil, errors.Join(fmt.Errorf("open %s: %w", what, err), b.close())
	}
	var err error
	// Nobody watches the ledger, so its log of changes is as short as it can be.
	path := filepath.Join(cfg.StateDir, backup.AccountingFile)
	b.kv, err = f.open(path, telemetry.FaultAccounting, bolt.Options{LogRevisions: 1, LogBytes: 1})
	if err != nil {
		return fail("the accounting ledger", err)
	}
	if cfg.Accounting.File != "" {
		b.local.path = cfg.Accounting.File
		if b.local.file, err = accounting.NewFile(cfg.Accounting.File, 0); err != nil {
			return fail("accounting.file", err)
		}
	}
	if cfg.Accounting.Syslog {
		b.local.syslog = accounting.NewSyslog("")
	}
	b.ledger, err = accounting.Open(accounting.Config{
		Storage: session.LedgerStorage(b.kv), Log: log, MaxBytes: cfg.Accounting.MaxBytes,
		Sink: func(tenant string) (accounting.Sink, bool) {
			m := b.sink.Load()
			if m == nil {
				return nil, false
			}
			return m.AccountingSink(tenant)
		},
	})
	if err != nil {
		return fail("the accounting ledger", err)
	}
	return b, nil
}

func (b *books) close() error {
	var errs []error
	if b.local.syslog != nil {
		errs = append(errs, b.local.syslog.Close())
	}
	if b.local.file != nil {
		errs = append(errs, b.local.file.Close())
	}
	if b.kv != nil {
		errs = append(errs, b.kv.Close())
	}
	return errors.Join(errs...)
}

// local takes the records of tenants that have no RADIUS server for them. With neither file nor syslog nobody wants them,
// and each is acknowledged at once.
type local struct {
	file   *accounting.File   // nil: none
	path   string             // of the file
	syslog *accounting.Syslog // nil: none
	log    *slog.Logger
	faults *telemetry.Faults // may be nil
	failed atomic.Bool       // the file did not take the last record

	mu     sync.Mutex
	warned time.Time
}

// Account implements accounting.Sink. What the file has is acknowledged: were it not because of the syslog, it would come
// again, and the file would have it twice.
func (l *local) Account(ctx context.Context, r accounting.Record) error {
	if l.file != nil {
		err := l.file.Account(ctx, r)
		l.written(err)
		if err != nil {
			return err
		}
	}
	if l.syslog == nil {
		return nil
	}
	err := l.syslog.Account(ctx, r)
	if err != nil && l.file != nil {
		l.warn(err)
		return nil
	}
	return err
}

// written says whether the file can be written. Of records that come at once the last word may be of another than the last
// record: the next one puts it right, and one that failed is tried again.
func (l *local) written(err error) {
	switch {
	case err != nil:
		l.failed.Store(true)
		l.faults.Raise(telemetry.FaultAccounting, l.path, err.Error())
	case l.failed.CompareAndSwap(true, false):
		l.faults.Clear(telemetry.FaultAccounting, l.path)
	}
}

// probe has records sent again at once that the file did not take: their pauses are made for servers.
func (b *books) probe() {
	if b.local.failed.Load() {
		b.ledger.Poke("")
	}
}

// warn logs what the syslog has missed, once a minute.
func (l *local) warn(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.warned) >= time.Minute {
		l.warned = now
		l.log.Warn("accounting records are missing in the syslog, the file has them", telemetry.Error, err)
	}
}
