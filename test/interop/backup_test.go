//go:build interop

package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// record is a resource, or an accounting record, as ctl lists it.
type record map[string]any

// listed lists what `ctl noun list` shows, by name, without what is of the running instance only: revisions, health, usage.
func (d *Daemon) listed(t testing.TB, noun string) map[string]record {
	t.Helper()
	var all map[string]json.RawMessage
	d.List(t, &all, noun)
	byName := make(map[string]record)
	for _, text := range all {
		var list []record
		if json.Unmarshal(text, &list) != nil {
			continue // the page token
		}
		for _, r := range list {
			for _, field := range []string{"etag", "health", "usage"} {
				delete(r, field)
			}
			if at, err := time.Parse(time.RFC3339, fmt.Sprint(r["releaseTime"])); err == nil {
				r["releaseTime"] = at.Truncate(time.Second) // what is kept of it
			}
			byName[fmt.Sprint(r["name"])] = r
		}
	}
	return byName
}

// TestBackup makes a backup while clients are in, users are made, and accounting records wait for a RADIUS server that is not
// there; puts it into an empty directory; and starts a daemon on that alone.
func TestBackup(t *testing.T) {
	const half = 20
	a := startAccounts(t, "backup")
	gone := StartGen(t, "hold", "u%d", "--count", fmt.Sprint(half), "--duration", "120s")
	a.open(t, half, 20*time.Second)
	eventually(t, 10*time.Second, func() string { return a.unsent(t) })
	a.main.Stop()
	gone.Kill()
	a.open(t, 0, 20*time.Second)
	eventually(t, 5*time.Second, func() string {
		if n := len(a.daemon.waiting(t)); n != half {
			return fmt.Sprintf("%d records wait, want %d", n, half)
		}
		return ""
	})

	var made atomic.Int64
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			id := fmt.Sprintf("u%d", made.Load())
			if _, err := a.daemon.Ctl(t.Context(), "user", "create", id, "--tenant", "spare", "--password", "pw-"+id); err != nil {
				stopped <- err
				return
			}
			made.Add(1)
		}
	}()
	eventually(t, 10*time.Second, func() string {
		if made.Load() < 5 {
			return "no users are made"
		}
		return ""
	})
	file := filepath.Join(a.daemon.Dir, "it.tar.gz")
	before := made.Load()
	if _, err := a.daemon.Ctl(t.Context(), "instance", "backup", "--file", file); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if made.Load() < before+2 {
		t.Errorf("%d users before the backup, %d after: nothing went on meanwhile", before, made.Load())
	}
	nouns := []string{"tenant", "pool", "profile", "radius-server", "acl", "listener", "user", "lease", "lockout", "api-token"}
	want := make(map[string]map[string]record)
	for _, noun := range nouns {
		want[noun] = a.daemon.listed(t, noun)
	}
	waiting := a.daemon.waiting(t)
	if _, err := a.daemon.proc.stop(syscall.SIGKILL, 5*time.Second); err != nil {
		t.Fatal(err)
	}

	b, err := world.lab.NewDaemon("restored", "acc", world.bin, "accounts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	restoreInto(t, b, a.daemon, file)
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = b.proc.stop(syscall.SIGKILL, 5*time.Second) })

	for _, noun := range nouns {
		got := b.listed(t, noun)
		for name, r := range want[noun] {
			if noun == "user" && strings.Contains(name, "/users/u") && got[name] == nil {
				continue // perhaps of after the backup, see below
			}
			if have, was := text(t, got[name]), text(t, r); have != was {
				t.Errorf("%s %s: restored as\n%s\nwas\n%s", noun, name, have, was)
			}
			delete(got, name)
		}
		if len(got) > 0 {
			t.Errorf("%s: there is more than there was: %v", noun, got)
		}
	}
	if len(want["lease"]) < half {
		t.Errorf("only %d leases to compare", len(want["lease"]))
	}
	users := b.listed(t, "user")
	for n := range made.Load() {
		_, there := users[fmt.Sprintf("tenants/spare/users/u%d", n)]
		switch {
		case !there && n < before:
			t.Errorf("user u%d, made before the backup of %d, is missing", n, before)
		case there && n > 0 && users[fmt.Sprintf("tenants/spare/users/u%d", n-1)] == nil:
			t.Errorf("user u%d is there, the one before is not", n)
		}
	}
	if _, err := b.Ctl(t.Context(), "audit", "verify"); err != nil {
		t.Error(err)
	}
	still := b.waiting(t)
	for id, r := range waiting {
		if text(t, still[id]) != text(t, r) {
			t.Errorf("accounting record %s: restored as\n%s\nwas\n%s", id, text(t, still[id]), text(t, r))
		}
	}

	// The server is back: each session has its one Stop.
	if err := a.main.Start(); err != nil {
		t.Fatal(err)
	}
	a.daemon = b
	eventually(t, 40*time.Second, func() string { return a.unsent(t) })
	stops := 0
	for id, list := range bySession(a.main.Accounts(t)) {
		n := 0
		for _, r := range list {
			if r.Get("Acct-Status-Type") == "Stop" {
				n++
			}
		}
		if stops += n; id != "" && n != 1 {
			t.Errorf("session %s has %d Stops: %v", id, n, list)
		}
	}
	if stops != half {
		t.Errorf("%d Stops in the books, want %d", stops, half)
	}
	if err := b.Stop(); err != nil {
		t.Error(err)
	}
}

// waiting lists the accounting records that nobody has acknowledged, by name.
func (d *Daemon) waiting(t testing.TB) map[string]record {
	t.Helper()
	var all struct{ Records []record }
	text, err := d.Ctl(t.Context(), "accounting", "list", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatalf("ctl accounting list: %v\n%s", err, text)
	}
	m := make(map[string]record)
	for _, r := range all.Records {
		delete(r, "attempts") // since the start
		m[fmt.Sprint(r["name"])] = r
	}
	return m
}

func text(t testing.TB, r record) string {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// restoreInto lays a backup of from into the empty state of to, with nothing to apply.
func restoreInto(t *testing.T, to, from *Daemon, file string) {
	t.Helper()
	state := filepath.Join(to.Dir, "state")
	restore := func() (string, error) {
		out, err := exec.Command(filepath.Join(to.bin, "concentrator"), "restore", "--config", filepath.Join(to.Dir, "config.yaml"), file).CombinedOutput()
		return string(out), err
	}
	// Without the key it is worth nothing, and says so.
	if out, err := restore(); err == nil || !strings.Contains(out, "master.key") {
		t.Errorf("restored without the key: %v, %s", err, out)
	}
	key, err := os.ReadFile(filepath.Join(from.Dir, "state", "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{filepath.Join(state, "master.key"): key, filepath.Join(to.Dir, "apply.yaml"): nil} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := restore(); err != nil {
		t.Fatalf("restore: %v\n%s", err, out)
	}
	if out, err := restore(); err == nil || !strings.Contains(out, "holds a state already") {
		t.Errorf("restored over a state: %v, %s", err, out)
	}
}
