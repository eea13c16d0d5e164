//go:build interop && interop_long

package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBufCurl does by `buf curl`, a gRPC client that knows nothing of this program, what TestGeneratedClient does by REST: once
// with what the server's reflection says, once with nothing but the protos.
func TestBufCurl(t *testing.T) {
	g := borrow(t, 1)[0]
	tool := exec.CommandContext(t.Context(), "go", "tool", "-modfile=tools/go.mod", "-n", "buf")
	tool.Dir = "../.."
	out, err := tool.Output()
	if err != nil {
		t.Fatalf("build buf: %v", err)
	}
	c := bufCurl{t, strings.TrimSpace(string(out)), t.TempDir(), nil}
	t.Run("reflection", func(t *testing.T) {
		c.T, c.how = t, []string{"--reflect-header", "Authorization: Bearer " + world.daemon.Token(t)}
		c.session(g)
	})
	t.Run("protos", func(t *testing.T) {
		c.T, c.how = t, []string{"--schema", "."}
		c.layProtos()
		c.session(g)
	})
}

// bufCurl calls the API.
type bufCurl struct {
	*testing.T
	buf string   // the program
	dir string   // where it runs: nothing of this repository's is in it, but the protos
	how []string // it knows what there is
}

// layProtos puts the published protos, and those that they import, into the folder.
func (c *bufCurl) layProtos() {
	c.Helper()
	fetch := exec.CommandContext(c.Context(), "tools/fetch-protos.sh")
	fetch.Dir = "../.."
	if out, err := fetch.CombinedOutput(); err != nil {
		c.Fatalf("fetch-protos.sh: %v\n%s", err, out)
	}
	for _, folder := range []string{"api/proto", "build/proto"} {
		if err := os.CopyFS(filepath.Join(c.dir, folder), os.DirFS("../../"+folder)); err != nil {
			c.Fatal(err)
		}
	}
	text, err := os.ReadFile("../../buf.yaml")
	if err != nil {
		c.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "buf.yaml"), text, 0o644); err != nil {
		c.Fatal(err)
	}
}

// command prepares a call of SERVICE/METHOD.
func (c *bufCurl) command(method, request string) *exec.Cmd {
	c.Helper()
	args := append([]string{
		"curl", "--protocol", "grpc", "--cacert", world.daemon.Certificate(),
		"--header", "Authorization: Bearer " + world.daemon.Token(c.T), "--data", request,
	}, c.how...)
	args = inside(world.daemon.ns, c.buf, append(args, "https://"+grpcAddress+"/concentrator.v1."+method)...)
	cmd := exec.CommandContext(c.Context(), args[0], args[1:]...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "BUF_CACHE_DIR="+filepath.Join(c.dir, "cache"))
	return cmd
}

// call calls, and decodes the answer into out, unless that is nil.
func (c *bufCurl) call(out any, method, request string) {
	c.Helper()
	cmd := c.command(method, request)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	answer, err := cmd.Output()
	if err != nil {
		c.Fatalf("%s %s: %v\n%s%s", method, request, err, answer, &stderr)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(answer, out); err != nil {
		c.Fatalf("%s: %v\n%s", method, err, answer)
	}
}

// watched is one message of a watch of sessions.
type watched struct {
	Upsert       *Session
	Removed      string
	SnapshotDone *struct{}
	Revision     string
}

// watch starts a watch of the sessions of a tenant.
func (c *bufCurl) watch(tenant string) <-chan watched {
	c.Helper()
	cmd := c.command("SessionService/WatchSessions", fmt.Sprintf(`{"parent": "tenants/%s"}`, tenant))
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		c.Fatal(err)
	}
	var said, stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	messages, done := make(chan watched, 100), make(chan struct{})
	go func() {
		defer close(done)
		defer close(messages)
		for d := json.NewDecoder(io.TeeReader(stdout, &said)); ; {
			var m watched
			if d.Decode(&m) != nil {
				return
			}
			messages <- m
		}
	}()
	c.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
		if c.Failed() {
			c.Logf("the watch said %s%s", &said, &stderr)
		}
	})
	return messages
}

// until waits for a message that fits.
func (c *bufCurl) until(messages <-chan watched, what string, fits func(watched) bool) watched {
	c.Helper()
	for limit := time.After(10 * time.Second); ; {
		select {
		case m, ok := <-messages:
			if !ok {
				c.Fatalf("the watch ended before %s", what)
			}
			if fits(m) {
				return m
			}
		case <-limit:
			c.Fatalf("the watch does not show %s", what)
		}
	}
}

// session makes all that a user needs, watches the user come, ends the session, and reads what the audit trail says of that.
func (c *bufCurl) session(g *Guest) {
	c.call(nil, "TenantService/CreateTenant", `{"tenant_id": "curl", "tenant": {"authentication": {"backend": "LOCAL"}}}`)
	c.call(nil, "PoolService/CreatePool", `{"parent": "tenants/curl", "pool_id": "main", "pool": {"ranges": ["10.96.0.0/24"]}}`)
	c.call(nil, "ProfileService/CreateProfile", `{"parent": "tenants/curl", "profile_id": "default", "profile": {"pool": "tenants/curl/pools/main"}}`)
	c.call(nil, "UserService/CreateUser", `{"parent": "tenants/curl", "user_id": "curly", "user": {"password": "curls-1"}}`)
	c.call(nil, "ListenerService/CreateListener", `{"listener_id": "curl", "listener": {"address": "`+apiServer+
		`", "protocols": ["PPTP"], "tenants": ["tenants/curl"], "default_tenant": "tenants/curl"}}`)
	messages := c.watch("curl")
	c.until(messages, "the end of the snapshot", func(m watched) bool { return m.SnapshotDone != nil })

	link := dial(c.T, g, Dial{Server: apiServer, User: "curly", Password: "curls-1", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128})
	s := c.until(messages, "an open session", func(m watched) bool { return m.Upsert != nil && m.Upsert.State == "OPEN" }).Upsert
	if s.Address != link.Local.String() || s.User != "curly" {
		c.Errorf("the session is %+v, the link has %s", s, link.Local)
	}
	c.call(nil, "SessionService/DisconnectSession", fmt.Sprintf(`{"name": %q}`, s.Name))
	c.until(messages, "the end of the session", func(m watched) bool { return m.Removed == s.Name })
	link.Gone(c.T, 3*time.Second)

	var trail struct {
		AuditEvents []struct{ Method, Code, Resource string }
	}
	c.call(&trail, "AuditEventService/ListAuditEvents", `{"parent": "tenants/curl"}`)
	for _, method := range []string{"CreatePool", "CreateUser", "DisconnectSession"} {
		found := false
		for _, e := range trail.AuditEvents {
			found = found || e.Method == method && e.Code == "OK"
		}
		if !found {
			c.Errorf("the audit trail has no %s: %+v", method, trail)
		}
	}
	c.call(nil, "ListenerService/DeleteListener", `{"name": "listeners/curl"}`)
	c.call(nil, "UserService/DeleteUser", `{"name": "tenants/curl/users/curly"}`)
	c.call(nil, "ProfileService/DeleteProfile", `{"name": "tenants/curl/profiles/default"}`)
	c.call(nil, "PoolService/DeletePool", `{"name": "tenants/curl/pools/main"}`)
	c.call(nil, "TenantService/DeleteTenant", `{"name": "tenants/curl"}`)
}
