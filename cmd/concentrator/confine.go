package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/config"
	"concentrator/internal/manifest"
	"concentrator/internal/privilege"
	"concentrator/internal/store"
	"concentrator/internal/store/backup"
	"concentrator/internal/store/bolt"
	"concentrator/internal/telemetry"
)

// confine gives up the rights that the daemon does not need. It executes the program again, which begins anew with its
// own file and that of the documents: both must be such as can be read twice.
func confine(ctx context.Context, cfg config.Config, configFile, applyFile string) (privilege.State, error) {
	for _, file := range []string{configFile, applyFile} {
		if info, err := os.Stat(file); err == nil && info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0 {
			return privilege.State{}, fmt.Errorf("%s must be a file, not a pipe: it is read twice", file)
		}
	}
	return privilege.Confine(ctx, privilege.Options{
		Debug: cfg.Privileges.Debug,
		Namespaces: func() (bool, error) {
			switch cfg.Privileges.Namespaces {
			case config.NamespacesAlways:
				return true, nil
			case config.NamespacesNever:
				return false, nil
			case config.NamespacesAuto:
			}
			docs, err := readDocuments(applyFile)
			if err != nil || slices.ContainsFunc(docs, namesNamespace) {
				return true, err
			}
			return storedNamespace(ctx, cfg)
		},
	})
}

// namesNamespace says whether a document names a network namespace.
func namesNamespace(d manifest.Document) bool {
	switch r := d.Resource.(type) {
	case *concentratorv1.Tenant:
		return r.GetNetwork().GetNamespace() != ""
	case *concentratorv1.RadiusServer:
		return r.GetNamespace() != ""
	case *concentratorv1.Listener:
		return r.GetNamespace() != ""
	}
	return false
}

// storedNamespace says whether the state of the last run names a network namespace.
func storedNamespace(ctx context.Context, cfg config.Config) (yes bool, err error) {
	path := filepath.Join(cfg.StateDir, backup.StateFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err := backup.CutOff(cfg.StateDir); err != nil {
		return false, err
	}
	kv, err := bolt.OpenWith(path, bolt.Options{})
	if err != nil {
		return false, fmt.Errorf("open the state in %s: %w", cfg.StateDir, err)
	}
	defer func() { err = errors.Join(err, kv.Close()) }()
	st, err := store.Open(ctx, kv, cfg.KeyFile)
	if err != nil {
		return false, fmt.Errorf("open the state in %s: %w", cfg.StateDir, err)
	}
	return st.AnyNamespace()
}

// tellRights logs what the process may still do.
func tellRights(s privilege.State, cfg config.Privileges, log *slog.Logger) {
	log.Info("rights given up", telemetry.Capabilities, s.Capabilities)
	if s.Lacking != 0 {
		log.Warn("capabilities are missing", telemetry.Capabilities, s.Lacking)
	}
	if cfg.Namespaces == config.NamespacesAlways && !s.Namespaces {
		log.Warn("network namespaces can't be used", telemetry.Detail, "the process was started without CAP_SYS_ADMIN")
	}
	if s.Unfiltered != nil {
		log.Warn("system calls are not filtered", telemetry.Error, s.Unfiltered)
	}
}
