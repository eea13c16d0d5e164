//go:build interop

package interop

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestWatchAndDisconnect watches a login and, after `ctl session disconnect`, its end.
func TestWatchAndDisconnect(t *testing.T) {
	t.Parallel()
	g := borrow(t, 1)[0]
	watch := startWatch(t, "session", "watch", "--tenant", "radplain", "-o", "json")
	link := dial(t, g, Dial{Server: "198.51.100.4", User: "rob", Password: "pooled-2", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128})
	s := world.daemon.OpenSession(t, "radplain", link)
	watch.expect(t, 2*time.Second, s.Name, "OPEN", `"rob"`, link.Local.String())

	seen := len(watch.text())
	if _, err := world.daemon.Ctl(t.Context(), "session", "disconnect", s.Name); err != nil {
		t.Fatal(err)
	}
	t.Logf("the client's link was down after %v", link.Gone(t, 3*time.Second))
	if !strings.Contains(link.Log(t), "rcvd [LCP TermReq") {
		t.Errorf("the client was not told:\n%s", link.Log(t))
	}
	world.daemon.SessionGone(t, s, 3*time.Second)
	watch.expect(t, 2*time.Second, `"removed"`)
	if text := watch.text()[seen:]; !strings.Contains(text, s.Name) {
		t.Errorf("the watch said of the end of %s only %q", s.Name, text)
	}
}

// watcher is a running `ctl … watch`.
type watcher struct {
	mu  sync.Mutex
	out strings.Builder
}

// startWatch runs ctl until the test ends.
func startWatch(t *testing.T, args ...string) *watcher {
	t.Helper()
	cmd := world.daemon.ctlCommand(t.Context(), args...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w, done := new(watcher), make(chan struct{})
	go func() {
		defer close(done)
		for r := bufio.NewReader(stdout); ; {
			line, err := r.ReadString('\n')
			w.mu.Lock()
			_, _ = io.WriteString(&w.out, line)
			w.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
	})
	return w
}

func (w *watcher) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.String()
}

// expect waits until all the words have been printed.
func (w *watcher) expect(t *testing.T, limit time.Duration, words ...string) {
	t.Helper()
	eventually(t, limit, func() string {
		text := w.text()
		for _, word := range words {
			if !strings.Contains(text, word) {
				return "the watch does not say " + word + ":\n" + text
			}
		}
		return ""
	})
}

// TestRESTAndGRPCAgree compares what ctl shows, by gRPC, with what REST shows, for every kind, with a session up.
func TestRESTAndGRPCAgree(t *testing.T) {
	t.Parallel()
	g := borrow(t, 1)[0]
	link := dial(t, g, Dial{Server: "198.51.100.1", User: "bob", Password: "builder-2", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128})
	s := world.daemon.OpenSession(t, "acme", link)
	for _, c := range []struct {
		noun, path string
		moving     []string // fields that may differ from one moment to the next
	}{
		{noun: "listener", path: "/v1/listeners"},
		{noun: "tenant", path: "/v1/tenants"},
		{noun: "profile", path: "/v1/tenants/-/profiles"},
		{noun: "user", path: "/v1/tenants/-/users"},
		{noun: "pool", path: "/v1/tenants/-/pools", moving: []string{"usage"}},
		{noun: "radius-server", path: "/v1/tenants/-/radiusServers"},
		{noun: "instance", path: "/v1/instances", moving: []string{"shards", "sessions"}},
	} {
		t.Run(c.noun, func(t *testing.T) {
			compareAPIs(t, []string{c.noun, "list", "-o", "json"}, c.path+"?pageSize=1000", c.moving)
		})
	}
	// Other tests' sessions and logins come and go meanwhile; one of each is enough.
	t.Run("session", func(t *testing.T) {
		compareAPIs(t, []string{"session", "get", s.Name, "-o", "json"}, "/v1/"+s.Name, []string{"idleTime", "inBytes", "inPackets", "outBytes", "outPackets"})
	})
	t.Run("login", func(t *testing.T) {
		var byGRPC, byREST Login
		byGRPC = world.daemon.LastLogin(t, g)
		text, err := world.daemon.REST(t.Context(), "/v1/"+byGRPC.Name)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &byREST); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if byGRPC != byREST || byREST.User != "bob" {
			t.Errorf("ctl login list shows %+v, REST %+v", byGRPC, byREST)
		}
	})
}

func compareAPIs(t *testing.T, ctl []string, path string, moving []string) {
	t.Helper()
	decode := func(text []byte, err error) map[string]any {
		t.Helper()
		var v map[string]any
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		drop(v, moving)
		return v
	}
	byGRPC, byREST := decode(world.daemon.Ctl(t.Context(), ctl...)), decode(world.daemon.REST(t.Context(), path))
	if len(byGRPC) == 0 {
		t.Errorf("ctl %s shows nothing", strings.Join(ctl, " "))
	}
	// An empty token may be left out.
	delete(byGRPC, "nextPageToken")
	delete(byREST, "nextPageToken")
	if !reflect.DeepEqual(byGRPC, byREST) {
		t.Errorf("ctl %s and GET %s differ:\n%v\n%v", strings.Join(ctl, " "), path, byGRPC, byREST)
	}
}

// drop removes fields, wherever they are in v.
func drop(v any, fields []string) {
	switch v := v.(type) {
	case map[string]any:
		for _, f := range fields {
			delete(v, f)
		}
		for _, child := range v {
			drop(child, fields)
		}
	case []any:
		for _, child := range v {
			drop(child, fields)
		}
	}
}

// TestSecondStart starts a second daemon on the state directory of the running one: it says so and ends, and the first
// does not notice.
func TestSecondStart(t *testing.T) {
	t.Parallel()
	args := world.daemon.serve()
	out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput()
	if err == nil {
		t.Errorf("the second start succeeded: %s", out)
	}
	for _, word := range []string{filepath.Join(world.daemon.Dir, "state"), "in use"} {
		if !strings.Contains(string(out), word) {
			t.Errorf("the second start does not say %q: %s", word, out)
		}
	}
	world.daemon.Shards(t)
}

// TestWrongConfig checks that a wrong configuration is named by file, key, value and what is allowed.
func TestWrongConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, config string
		say          []string
	}{
		{"unknown key", "max_session: 10\n", []string{"max_session"}},
		{"value out of range", "max_sessions: 5000\n", []string{"max_sessions", "5000", "1000"}},
		{"unknown word", "log: {level: loud}\n", []string{"log.level", "loud", "debug", "error"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "wrong.yaml")
			if err := os.WriteFile(file, []byte(c.config), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), filepath.Join(world.bin, "concentrator"), "check", "--config", file).CombinedOutput()
			if err == nil {
				t.Errorf("check is content with %q", c.config)
			}
			for _, word := range append(c.say, file) {
				if !strings.Contains(string(out), word) {
					t.Errorf("check does not say %q: %s", word, out)
				}
			}
		})
	}
}
