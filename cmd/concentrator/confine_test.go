package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"concentrator/internal/config"
	"concentrator/internal/manifest"
	"concentrator/internal/store"
	"concentrator/internal/store/backup"
	"concentrator/internal/store/bolt"
)

// A namespace anywhere in the documents counts, and so does one that the last run has stored.
func TestNamespaces(t *testing.T) {
	for text, want := range map[string]bool{
		"kind: Tenant\nname: tenants/a\n": false,
		"kind: Tenant\nname: tenants/a\nnetwork: {mtu: 1400}\n---\nkind: Pool\nname: tenants/a/pools/p\nranges: [10.0.0.0/24]\n": false,
		"kind: Tenant\nname: tenants/a\nnetwork: {namespace: a}\n":                                                               true,
		"kind: Listener\nname: listeners/a\naddress: 0.0.0.0\nprotocols: [PPTP]\ntenants: [tenants/a]\nnamespace: a\n":           true,
		"kind: RadiusServer\nname: tenants/a/radiusServers/r\naddress: 192.0.2.1\nnamespace: a\n":                                true,
	} {
		docs, err := manifest.Parse("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		got := false
		for _, d := range docs {
			got = got || namesNamespace(d)
		}
		if got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestStoredNamespace(t *testing.T) {
	for name, c := range map[string]struct {
		put  func(*store.Store) error
		want bool
	}{
		"nothing": {func(*store.Store) error { return nil }, false},
		"a tenant without": {func(s *store.Store) error {
			return store.Create(s, &store.Tenant{Meta: store.Meta{Name: "tenants/a"}})
		}, false},
		"a tenant": {func(s *store.Store) error {
			return store.Create(s, &store.Tenant{Meta: store.Meta{Name: "tenants/a"}, Network: store.Network{Namespace: "a"}})
		}, true},
		"a listener": {func(s *store.Store) error {
			return store.Create(s, &store.Listener{Meta: store.Meta{Name: "listeners/a"}, Namespace: "a"})
		}, true},
		"a RADIUS server": {func(s *store.Store) error {
			if err := store.Create(s, &store.Tenant{Meta: store.Meta{Name: "tenants/a"}}); err != nil {
				return err
			}
			return store.Create(s, &store.RadiusServer{Meta: store.Meta{Name: "tenants/a/radiusServers/r"}, Namespace: "a"})
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cfg := config.Config{StateDir: dir, KeyFile: filepath.Join(dir, "master.key")}
			if yes, err := storedNamespace(t.Context(), cfg); yes || err != nil {
				t.Fatalf("no state: %v, %v", yes, err)
			}
			if _, err := os.Stat(filepath.Join(dir, backup.StateFile)); err == nil {
				t.Error("looking made a state")
			}
			kv, err := bolt.OpenWith(filepath.Join(dir, backup.StateFile), bolt.Options{})
			if err != nil {
				t.Fatal(err)
			}
			s, err := store.Open(t.Context(), kv, cfg.KeyFile)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.put(s); err != nil {
				t.Fatal(err)
			}
			if err := kv.Close(); err != nil {
				t.Fatal(err)
			}
			for range 2 { // it is let go again
				if yes, err := storedNamespace(t.Context(), cfg); yes != c.want || err != nil {
					t.Errorf("%v, %v, want %v", yes, err, c.want)
				}
			}
		})
	}
}

// A pipe can't be read twice: it is refused before anything has been read from it.
func TestConfineRefusesPipes(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, files := range [][2]string{{pipe, ""}, {"", pipe}} {
		if _, err := confine(t.Context(), config.Default(), files[0], files[1]); err == nil {
			t.Errorf("%q is taken", files)
		}
	}
}
