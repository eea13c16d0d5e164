package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"concentrator/internal/authz/guess"
	"concentrator/internal/config"
	"concentrator/internal/dataplane"
	"concentrator/internal/dataplane/multibuf"
	"concentrator/internal/dataplane/netio"
	"concentrator/internal/ippool"
	"concentrator/internal/manifest"
	"concentrator/internal/privilege"
	"concentrator/internal/server"
	"concentrator/internal/session"
	"concentrator/internal/store"
	"concentrator/internal/store/backup"
	"concentrator/internal/store/bolt"
	"concentrator/internal/telemetry"
	"concentrator/internal/vitals"
)

// goodbye is how long clients and API callers have when the daemon stops.
const goodbye = 5 * time.Second

// serve builds the rooms from the inside out, waits for ctx, and takes them down in the opposite order.
func serve(ctx context.Context, cfg config.Config, rights privilege.State, applyFile string, stderr io.Writer) (err error) {
	log := logger(cfg.Log, stderr)
	tellRights(rights, cfg.Privileges, log)
	starter := newSupervisor(log)
	if limit := vitals.LimitMemory(); limit > 0 {
		log.Info("memory is limited", telemetry.Count, limit)
	}
	docs, err := readDocuments(applyFile)
	if err != nil {
		return err
	}
	closing := func(what string, f func() error) {
		if cerr := f(); cerr != nil {
			err = errors.Join(err, fmt.Errorf("close %s: %w", what, cerr))
		}
	}

	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	if err := backup.CutOff(cfg.StateDir); err != nil {
		return err
	}
	metrics := telemetry.NewMetrics()
	faults := telemetry.NewFaults(log, metrics)
	kept := files{faults: faults}
	copies := copies{instance: cfg.Instance}
	statePath := filepath.Join(cfg.StateDir, backup.StateFile)
	kv, err := kept.open(statePath, telemetry.FaultStore, bolt.Options{})
	if err != nil {
		return fmt.Errorf("open the state in %s: %w", cfg.StateDir, err)
	}
	defer func() { closing("the state", kv.Close) }()
	copies.add(backup.StateFile, kv)
	st, err := store.Open(ctx, kv, cfg.KeyFile)
	if err != nil {
		return fmt.Errorf("open the state in %s: %w", cfg.StateDir, err)
	}
	st.LimitAudit(cfg.Audit.MaxBytes)

	plane, err := dataplane.Start(dataplane.Config{
		Shards: cfg.Shards, MaxSessions: cfg.MaxSessions, Opener: netio.Linux{}, Log: log, Faults: faults,
	})
	if err != nil {
		return fmt.Errorf("start the dataplane: %w", err)
	}
	defer plane.Stop()

	var coa netip.AddrPort
	if cfg.Radius.CoA != "" {
		a, err := net.ResolveUDPAddr("udp", cfg.Radius.CoA)
		if err != nil {
			return fmt.Errorf("radius.coa: %w", err)
		}
		coa = netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), uint16(a.Port))
	}
	books, err := openBooks(cfg, &kept, log)
	if err != nil {
		return err
	}
	defer func() { closing("the accounting ledger", books.close) }()
	copies.add(backup.AccountingFile, books.kv)

	var leases ippool.Storage
	if kv := openMemory(cfg.StateDir, backup.LeasesFile, &kept, log); kv != nil {
		defer func() { closing("the leases", kv.Close) }()
		copies.add(backup.LeasesFile, kv)
		leases = session.LeaseStorage(kv)
	}
	guesses := guess.New(guess.Config{Log: log})
	if kv := openMemory(cfg.StateDir, backup.GuessesFile, &kept, log); kv != nil {
		defer func() { closing("the failed log-ins", kv.Close) }()
		copies.add(backup.GuessesFile, kv)
		if guesses, err = guess.Open(guess.Config{Storage: session.GuessStorage(kv), Log: log}); err != nil {
			return fmt.Errorf("read the failed log-ins: %w", err)
		}
	}

	kept.observe(metrics, log)
	tracer, endTracing, err := startTracing(cfg, log)
	if err != nil {
		return err
	}
	defer func() {
		bounded, cancel := context.WithTimeout(context.Background(), lastTraces)
		defer cancel()
		endTracing(bounded)
	}()
	manager := session.New(session.Config{
		Store: st, Plane: session.Planed(plane), Pools: ippool.New(), Metrics: metrics, Tracer: tracer, Faults: faults,
		Log: log, MaxSessions: cfg.MaxSessions, Ledger: books.ledger, LocalAccounting: books.local, CoA: coa,
		Leases: leases, Guesses: guesses,
		Instance: cfg.Instance, Version: version(),
	})
	books.sink.Store(manager)
	copies.flush = manager.Flush
	api, err := server.New(server.Config{
		Store: st, Live: manager, Metrics: metrics, Tracer: tracer, Faults: faults, Log: log, StateDir: cfg.StateDir,
		GRPC: cfg.API.GRPC, REST: cfg.API.REST, Socket: cfg.API.Socket, TLS: server.TLS(cfg.API.TLS),
		CORSOrigins: cfg.API.CORSOrigins, RequestsPerSecond: cfg.API.RequestsPerSecond,
		Backup: copies.write, Build: build(), Configuration: cfg.Effective(), NoNamespaces: !rights.Namespaces,
	})
	if err != nil {
		return fmt.Errorf("open the API: %w", err)
	}

	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go vitals.Watch(running, faults)
	go vitals.WatchDisks(running, faults, written(cfg), func(ctx context.Context) {
		kept.probe(ctx)
		books.probe()
	})
	failed := make(chan error, 3)
	go func() { failed <- api.Serve(running) }()
	if cfg.API.Metrics != "" {
		l, err := net.Listen("tcp", cfg.API.Metrics)
		if err != nil {
			return fmt.Errorf("api.metrics: %w", err)
		}
		go func() { failed <- metrics.Serve(running, l) }()
	}
	defer func() {
		bounded, cancel := context.WithTimeout(context.Background(), goodbye)
		defer cancel()
		api.SetReady(false)
		closing("the sessions", func() error { return manager.Shutdown(bounded) })
		closing("the API", func() error { return api.Shutdown(bounded) })
	}()

	// Applied before the first pass over the store: ready means that what the file says is up.
	if err := apply(ctx, api, docs, log); err != nil {
		return err
	}
	started := make(chan struct{})
	go func() { failed <- manager.Run(running, func() { close(started) }) }()
	select {
	case <-started:
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
	api.SetReady(true)
	log.Info("ready", telemetry.Shards, plane.Shards(), telemetry.Kernels, multibuf.Kernels(), telemetry.Address, cfg.API.REST)
	starter.tell("READY=1")
	go starter.watch(running, func() { plane.ShardStats() })
	defer starter.tell("STOPPING=1")
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		log.Info("stopping")
		return nil
	}
}

// logger writes to stderr: the standard output is for data.
func logger(cfg config.Log, stderr io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.Level}
	if cfg.Format == config.LogJSON {
		return slog.New(slog.NewJSONHandler(stderr, opts))
	}
	return slog.New(slog.NewTextHandler(stderr, opts))
}

func readDocuments(file string) ([]manifest.Document, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read --apply: %w", err)
	}
	return manifest.Parse(file, text)
}

// apply brings the documents in through the API, as ctl would.
func apply(ctx context.Context, api *server.Server, docs []manifest.Document, log *slog.Logger) error {
	if len(docs) == 0 {
		return nil
	}
	conn, err := api.Dial()
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // an in-process pipe
	client := manifest.Client{Conn: conn}
	plan, err := manifest.Plan(ctx, client, docs, false)
	if err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	err = manifest.Apply(ctx, client, plan, false, func(c manifest.Change, err error) {
		if err == nil && c.Action != manifest.Unchanged {
			log.Info("applied", telemetry.Resource, c.Name, telemetry.Outcome, c.Action)
		}
	})
	if err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	return nil
}
