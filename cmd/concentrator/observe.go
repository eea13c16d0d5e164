package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"concentrator/internal/config"
	"concentrator/internal/store/bolt"
	"concentrator/internal/telemetry"
	"concentrator/internal/telemetry/tracing"
)

// files measures those of the state directory that are written all the time. They are added before observe.
type files struct{ all []*measured }

// measured is one file.
type measured struct {
	name, path string
	took       telemetry.Histogram
	errors     atomic.Uint64
}

// measure adds the file at path, and returns o with what measures it.
func (f *files) measure(path string, o bolt.Options) bolt.Options {
	m := &measured{name: strings.TrimSuffix(filepath.Base(path), ".db"), path: path}
	f.all = append(f.all, m)
	o.Committed = func(took time.Duration, err error) {
		if err != nil {
			m.errors.Add(1)
			return
		}
		m.took.Add(took)
	}
	return o
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
