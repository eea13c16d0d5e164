package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"concentrator/internal/config"
	"concentrator/internal/store/backup"
	"concentrator/internal/store/bolt"
	"concentrator/internal/telemetry"
	"concentrator/internal/telemetry/tracing"
)

// files measures those of the state directory that are written all the time, and says which can't be. They are opened before
// observe.
type files struct {
	faults *telemetry.Faults // may be nil
	all    []*measured
}

// measured is one file.
type measured struct {
	name, path string
	fault      telemetry.Fault // what stands while it can't be written
	db         *bolt.DB        // nil: it could not be opened
	took       telemetry.Histogram
	errors     atomic.Uint64
	failed     atomic.Bool // the last transaction could not be written
}

// open opens the file at path, whose fault stands while it can't be written.
func (f *files) open(path string, fault telemetry.Fault, o bolt.Options) (*bolt.DB, error) {
	m := &measured{name: strings.TrimSuffix(filepath.Base(path), ".db"), path: path, fault: fault}
	if i := slices.IndexFunc(f.all, func(m *measured) bool { return m.path == path }); i >= 0 {
		m = f.all[i] // a second try
	} else {
		f.all = append(f.all, m)
	}
	o.Committed, o.Written = m.committed, func(err error) { m.written(f.faults, err) }
	var err error
	m.db, err = bolt.OpenWith(path, o)
	return m.db, err
}

func (m *measured) committed(took time.Duration, err error) {
	if err != nil {
		m.errors.Add(1)
		return
	}
	m.took.Add(took)
}

// written notes how the last transaction went.
func (m *measured) written(faults *telemetry.Faults, err error) {
	switch {
	case err != nil:
		m.failed.Store(true)
		faults.Raise(m.fault, filepath.Base(m.path), err.Error())
	case m.failed.Load():
		m.failed.Store(false)
		faults.Clear(m.fault, filepath.Base(m.path))
	}
}

// probe tries those again that could not be written: who wants to write may come back late, or not at all.
func (f *files) probe(ctx context.Context) {
	for _, m := range f.all {
		if m.failed.Load() {
			_ = m.db.Probe(ctx) // written is told
		}
	}
}

// observe registers their metrics.
func (f *files) observe(m *telemetry.Metrics, log *slog.Logger) {
	each := func(metric telemetry.Live, set func(*telemetry.Sample, *measured)) {
		m.Observe(metric, func() []telemetry.Sample {
			out := make([]telemetry.Sample, len(f.all))
			for i, file := range f.all {
				out[i].Labels = []string{file.name}
				set(&out[i], file)
			}
			return out
		})
	}
	each(telemetry.StoreCommits, func(s *telemetry.Sample, file *measured) { s.Distribution = file.took.Snapshot() })
	each(telemetry.StoreErrors, func(s *telemetry.Sample, file *measured) { s.Value = float64(file.errors.Load()) })
	each(telemetry.StoreSize, func(s *telemetry.Sample, file *measured) {
		info, err := os.Stat(file.path)
		switch {
		case err == nil:
			s.Value = float64(info.Size())
		case !errors.Is(err, fs.ErrNotExist): // one that could not be opened was put aside, and has no size
			log.Debug("file can't be measured", telemetry.Detail, file.path, telemetry.Error, err)
		}
	})
}

// lastTraces is how long the collector has to take what waits when the daemon stops.
const lastTraces = time.Second

// startTracing starts what sends traces, if any are to be made. The returned function ends it.
func startTracing(cfg config.Config, log *slog.Logger) (*telemetry.Tracer, func(context.Context), error) {
	t := cfg.Tracing
	if t.Endpoint == "" || t.SampleRatio == 0 {
		return nil, func(context.Context) {}, nil
	}
	s, err := tracing.Start(tracing.Config{
		Endpoint: t.Endpoint, Insecure: t.Insecure, SampleRatio: t.SampleRatio,
		Instance: cfg.Instance, Version: version(), Log: log,
	})
	if err != nil {
		return nil, nil, err
	}
	return s.Tracer, s.Close, nil
}

// written are files that the daemon keeps open for writing, one of each folder.
func written(cfg config.Config) []string {
	all := []string{filepath.Join(cfg.StateDir, backup.StateFile)}
	if f := cfg.Accounting.File; f != "" && filepath.Dir(f) != cfg.StateDir {
		all = append(all, f)
	}
	return all
}
