//go:build interop

package secrets

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"concentrator/internal/wire/mschap"
	"concentrator/test/reliability/lab"
)

// marked are secrets that are given to the daemon, by what they are.
var marked = map[string]string{
	"password":            password,
	"wrong password":      "Xr2-marker-wrong",
	"new password":        "Yd8-marker-new",
	"imported password":   "Nb6-marker-imported",
	"pre-shared key":      psk,
	"tunnel secret":       "Tk5-marker-tunnel",
	"RADIUS secret":       "Rf9-marker-radius",
	"password for RADIUS": "Gh1-marker-pap",
	"wrong API token":     "Lp3-marker-token",
	"password too long":   "Qj4-marker-long",
	"secret of no field":  "Sw7-marker-stray",
}

// world is the documents of the test: those of TestMemory, a tunnel secret, and a tenant of a RADIUS server that does not answer.
func world() string {
	text := strings.Replace(documents(true), "name: tenants/acme\n", "name: tenants/acme\nl2tp: {tunnelSecret: "+marked["tunnel secret"]+"}\n", 1)
	text = strings.Replace(text, "tenants: [tenants/acme]\n", "tenants: [tenants/acme, tenants/beta]\ndefaultTenant: tenants/acme\n", 1)
	return text + `---
kind: Tenant
name: tenants/beta
realms: [beta.example]
authentication: {backend: RADIUS}
---
kind: Pool
name: tenants/beta/pools/main
ranges: [10.65.0.0/24]
---
kind: Profile
name: tenants/beta/profiles/default
authMethods: [MSCHAPV2, CHAP, PAP]
allowPlaintext: true
mppe: {policy: OPTIONAL, keyBits: [128]}
pool: tenants/beta/pools/main
---
kind: RadiusServer
name: tenants/beta/radiusServers/dead
address: ` + lab.FarHost + `
secrets: [` + marked["RADIUS secret"] + `]
timeout: 0.5s
tries: 1
`
}

// collector takes traces, as an OpenTelemetry collector does that says nothing.
type collector struct {
	mu  sync.Mutex
	got []byte
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	c.got = append(c.got, body...)
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	_, _ = w.Write(make([]byte, 5)) // an empty message
	w.Header().Set("Grpc-Status", "0")
}

func (c *collector) all() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.got)
}

// collect serves a collector in the daemon's namespace.
func collect(t *testing.T, l *lab.Lab) *collector {
	t.Helper()
	var listener net.Listener
	l.In(t, "srv", func() (err error) {
		listener, err = net.Listen("tcp", "127.0.0.1:4317")
		return err
	})
	c := &collector{}
	server := &http.Server{Handler: c, Protocols: new(http.Protocols), ReadHeaderTimeout: 10 * time.Second}
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return c
}

// surface is something that comes out of the daemon.
type surface struct {
	name string
	text []byte
}

// TestSurfaces gives the daemon secrets in every way there is, right ones, wrong ones and in the wrong places, and then looks for
// them in all that it writes, says and shows.
func TestSurfaces(t *testing.T) {
	l := lab.New(t)
	d := l.NewDaemon(t, world(), "tracing: {endpoint: 127.0.0.1:4317, insecure: true}")
	config := filepath.Join(d.Dir, "config.yaml")
	text, err := os.ReadFile(config)
	if err != nil || !bytes.Contains(text, []byte("level: info")) {
		t.Fatalf("%v: %s", err, text)
	}
	if err := os.WriteFile(config, bytes.ReplaceAll(text, []byte("level: info"), []byte("level: debug")), 0o600); err != nil {
		t.Fatal(err)
	}
	traces := collect(t, l)
	d.Start(t)
	var out []surface
	ctl := func(args ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		answer, err := d.TryCtl(ctx, args...)
		out = append(out, surface{"ctl " + strings.Join(args[:2], " "), fmt.Appendf(answer, "\n%v", err)})
		return string(answer)
	}
	// fine is ctl for what must work.
	fine := func(args ...string) {
		ctl(args...)
		if said := out[len(out)-1]; !bytes.HasSuffix(said.text, []byte("<nil>")) {
			t.Errorf("%s: %s", said.name, said.text)
		}
	}
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}

	// Secrets that the API makes are shown once.
	once := regexp.MustCompile(`[A-Za-z0-9_-]{24,}`)
	secrets := make(map[string]string)
	for name, args := range map[string][]string{
		"API token":            {"api-token", "create", "portal", "--role", "VIEWER"},
		"pre-shared key of us": {"tenant", "rotate-psk", "acme", "--id", "made"},
	} {
		made := ctl(args...)
		out = out[:len(out)-1] // this is where they are shown
		for i, s := range once.FindAllString(made, -1) {
			if strings.HasPrefix(s, "conc_") || strings.ContainsAny(s, "0123456789") && !strings.Contains(s, "--") { // no word, no line of a table
				secrets[fmt.Sprintf("%s %d", name, i)] = s
			}
		}
	}
	if len(secrets) < 2 {
		t.Fatalf("the API has made %v", secrets)
	}

	fine("user", "update", "lab", "--tenant", "acme", "--password", "@"+file("new", marked["new password"]))
	fine("user", "update", "lab", "--tenant", "acme", "--password", "@"+file("old", password))
	ctl("user", "create", "long", "--tenant", "acme", "--password", "@"+file("long", strings.Repeat(marked["password too long"], 500)))
	ctl("user", "import", "--tenant", "acme", "-f", file("table.csv",
		"user,password,maxSessions\nimported,"+marked["imported password"]+",1\nwrong,"+marked["imported password"]+",many\n"))
	fine("user", "import", "--tenant", "acme", "-f", file("right.csv", "user,password\nimported,"+marked["imported password"]+"\n"))
	ctl("apply", "-f", file("stray.yaml", "kind: User\nname: tenants/acme/users/x\npasswort: "+marked["secret of no field"]+"\n"))
	ctl("apply", "-f", file("twice.yaml", "kind: Tenant\nname: tenants/beta\nauthentication: {backend: RADIUS}\nipsec: {psks: [{id: main, secret: "+psk+"}]}\n"))
	backup := filepath.Join(t.TempDir(), "backup")
	fine("instance", "backup", "--file", backup)
	fine("instance", "reencrypt")

	logIn := func(want int, flags ...string) {
		r := l.Login(t, "L2TP", "1", append([]string{"--psk", psk, "--tunnel-secret", marked["tunnel secret"]}, flags...)...)
		if r.OK != want {
			t.Errorf("%v: %+v", flags, r)
		}
	}
	for _, auth := range []string{"PAP", "CHAP", "MSCHAPV2"} {
		logIn(1, "--auth", auth, "--password", password)
		logIn(0, "--auth", auth, "--password", marked["wrong password"])
		logIn(0, "--auth", auth, "--user", "lab@beta.example", "--password", marked["password for RADIUS"])
	}
	logIn(1, "--protocol", "PPTP", "--password", password)
	logIn(1, "--protocol", "L2TP_IPSEC", "--password", password)
	logIn(0, "--protocol", "L2TP_IPSEC", "--password", password, "--psk", marked["wrong password"], "--timeout", "2s")

	for _, page := range []struct{ name, address, path, want string }{
		{"metrics", "127.0.0.1:9090", "/metrics", "concentrator_"},
		{"REST", "127.0.0.1:8443", "/v1/tenants", "UNAUTHENTICATED"},
	} {
		var c net.Conn
		l.In(t, "srv", func() (err error) {
			c, err = net.Dial("tcp", page.address)
			return err
		})
		if page.name == "REST" {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // its certificate is its own
		}
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n", page.path, marked["wrong API token"])
		text, err := io.ReadAll(c)
		_ = c.Close()
		out = append(out, surface{page.name, text})
		if !bytes.Contains(text, []byte(page.want)) {
			t.Errorf("%s: %v, %.300s", page.name, err, text)
		}
	}
	for _, noun := range []string{
		"acl", "api-token", "audit", "instance", "lease", "listener", "lockout", "login", "operation", "pool", "profile",
		"radius-server", "session", "tenant", "user",
	} {
		for _, o := range []string{"json", "wide"} {
			if said := ctl(noun, "list", "-o", o); said == "" && o == "json" {
				t.Errorf("ctl %s list says nothing: %s", noun, out[len(out)-1].text)
			}
		}
	}
	ctl("login", "explain", "lab", "--tenant", "beta")
	ctl("accounting", "status")
	ctl("tenant", "psks", "acme")
	ctl("radius-server", "test", "dead", "--tenant", "beta", "--user", "lab", "--password", "@"+file("pap", marked["password for RADIUS"]))
	d.Stop(t)

	out = append(out, surface{"log", []byte(d.Log(t))}, surface{"traces", traces.all()})
	for _, s := range out[len(out)-2:] {
		if !bytes.Contains(s.text, []byte("acme")) {
			t.Errorf("the %s say nothing of the tenant: %.200q", s.name, s.text)
		}
	}
	for _, dir := range []string{filepath.Join(d.Dir, "state"), backup} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			out = append(out, surface{path, text})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}

	for name, s := range marked {
		secrets[name] = s
	}
	for name, s := range secrets {
		hash := mschap.NTPasswordHash(s)
		forms := [][]byte{
			[]byte(s), []byte(base64.StdEncoding.EncodeToString([]byte(s)))[:len(s)], []byte(hex.EncodeToString([]byte(s))),
			hash[:], []byte(hex.EncodeToString(hash[:])),
		}
		for _, o := range out {
			for i, form := range forms {
				if at := bytes.Index(o.text, form); at >= 0 {
					t.Errorf("%s is in %s (form %d): …%q…", name, o.name, i, o.text[max(0, at-60):min(len(o.text), at+60)])
				}
			}
		}
	}
	t.Logf("%d secrets, %d surfaces", len(secrets), len(out))
}
