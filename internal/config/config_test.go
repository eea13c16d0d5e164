package config

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"concentrator/internal/corpus"
	"concentrator/internal/tenant"
)

func TestDefault(t *testing.T) {
	c := Default()
	if tenant.CheckID(c.Instance) != nil {
		t.Errorf("instance %q", c.Instance)
	}
	c.Instance = ""
	want := Config{
		StateDir: "/var/lib/concentrator", KeyFile: "/var/lib/concentrator/master.key", MaxSessions: 1000,
		API:        API{GRPC: "127.0.0.1:9443", REST: "127.0.0.1:8443", Metrics: "127.0.0.1:9090", Socket: "/run/concentrator/api.sock", RequestsPerSecond: 100},
		Radius:     Radius{CoA: "0.0.0.0:3799"},
		Accounting: Accounting{File: "/var/lib/concentrator/accounting.log", MaxBytes: 256 << 20},
		Audit:      Audit{MaxBytes: 64 << 20},
		Log:        Log{Level: slog.LevelInfo, Format: LogText},
		Tracing:    Tracing{SampleRatio: 1},
		Privileges: Privileges{Namespaces: NamespacesAuto},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	if got, err := Load(""); err != nil || !reflect.DeepEqual(got, Default()) {
		t.Errorf("Load of no file: %+v, %v", got, err)
	}
	for _, empty := range []string{"", "\n", "# nothing\n", "---\n", "{}", "api:\nlog:\n"} {
		if got, err := parse("f", []byte(empty)); err != nil || !reflect.DeepEqual(got, Default()) {
			t.Errorf("%q: %+v, %v", empty, got, err)
		}
	}
}

func TestHostInstance(t *testing.T) {
	for host, want := range map[string]string{
		"gw1": "gw1", "GW1.example.net": "gw1", "vpn_gw": "vpn-gw", "-x-": "x", "": "concentrator", "___": "concentrator",
		strings.Repeat("a", 64): "concentrator",
	} {
		if got := hostInstance(host, nil); got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
	if got := hostInstance("", errors.New("no name")); got != "concentrator" {
		t.Errorf("no name: %q", got)
	}
}

// Every key of the file, and each one comes to a field of its own.
const full = `
state_dir: /srv/state
key_file: /etc/key
instance: "7"
shards: 3
max_sessions: 500
api:
  grpc: "[::]:1"
  rest: "0.0.0.0:2"
  metrics: ""
  socket: ""
  cors_origins: ["https://portal.example.net", "http://localhost:5173"]
  requests_per_second: 250
  tls: {cert: /c, key: /k, client_ca: /ca}
radius:
  coa: 10.0.0.1:4
accounting:
  file: ""
  syslog: true
  max_bytes: 1048576
audit:
  max_bytes: 2097152
log:
  level: debug
  format: json
tracing:
  endpoint: otel.example.net:4317
  insecure: true
  sample_ratio: 0.25
privileges:
  namespaces: always
  debug: true
`

func TestFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(full), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	want := Config{
		StateDir: "/srv/state", KeyFile: "/etc/key", Instance: "7", Shards: 3, MaxSessions: 500,
		API:    API{GRPC: "[::]:1", REST: "0.0.0.0:2", TLS: TLS{Cert: "/c", Key: "/k", ClientCA: "/ca"}, CORSOrigins: []string{"https://portal.example.net", "http://localhost:5173"}, RequestsPerSecond: 250},
		Radius: Radius{CoA: "10.0.0.1:4"}, Accounting: Accounting{Syslog: true, MaxBytes: 1 << 20},
		Audit:   Audit{MaxBytes: 2 << 20},
		Log:     Log{Level: slog.LevelDebug, Format: LogJSON},
		Tracing: Tracing{Endpoint: "otel.example.net:4317", Insecure: true, SampleRatio: 0.25},

		Privileges: Privileges{Namespaces: NamespacesAlways, Debug: true},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
	if got, err := parse("f", []byte("state_dir: /srv/state")); err != nil || got.KeyFile != "/srv/state/master.key" {
		t.Errorf("key file %s, %v: must follow state_dir", got.KeyFile, err)
	}
	if got, err := parse("f", []byte("state_dir: /srv/state")); err != nil || got.Accounting.File != "/srv/state/accounting.log" {
		t.Errorf("accounting file %s, %v: must follow state_dir", got.Accounting.File, err)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{
			"unknown key", "state_dir: /s\nstate_dri: /x\n",
			"f:2: state_dri: unknown key, allowed here: accounting, api, audit, instance, key_file, log, max_sessions, privileges, radius, shards, state_dir, tracing",
		},
		{"a relative file", "accounting: {file: log}\n", `f:1: accounting.file: "log": must be an absolute path, or "" for none`},
		{"not given", "accounting: {file: (not given)}\n", `f:1: accounting.file: "(not given)": must be an absolute path, or "" for none`},
		{"syslog as a word", "accounting: {syslog: local0}\n", `f:1: accounting.syslog: "local0": must be true or false`},
		{
			"little room", "accounting:\n  max_bytes: 1000\n",
			"f:2: accounting.max_bytes: 1000: must be a number of octets from 1048576 to 1099511627776",
		},
		{"little room for the trail", "audit: {max_bytes: 1}\n", "f:1: audit.max_bytes: 1: must be a number of octets from 1048576 to 268435456"},
		{
			"room as a text", "accounting:\n  max_bytes: 1G\n",
			`f:2: accounting.max_bytes: "1G": must be a number of octets from 1048576 to 1099511627776`,
		},
		{
			"unknown key inside", "api:\n  # where\n  grpc: 127.0.0.1:1\n  tls:\n    crt: /x\n",
			"f:5: api.tls.crt: unknown key, allowed here: cert, client_ca, key",
		},
		{"unknown key in one line", "log: {lebel: info}\n", "f:1: log.lebel: unknown key, allowed here: format, level"},
		{"camel case", "stateDir: /s\n", "f:1: stateDir: unknown key, allowed here: accounting, api, audit, instance, key_file, log, max_sessions, privileges, radius, shards, state_dir, tracing"},
		{"number as a key", "7: x\n", "f:1: 7: unknown key, allowed here: accounting, api, audit, instance, key_file, log, max_sessions, privileges, radius, shards, state_dir, tracing"},
		{"relative path", "state_dir: run\n", `f:1: state_dir: "run": must be an absolute path`},
		{"empty path", "state_dir: ''\n", `f:1: state_dir: "": must be an absolute path`},
		{"empty value", "state_dir:\n", `f:1: state_dir: (empty): must be an absolute path`},
		{"empty key file", "key_file:\n", `f:1: key_file: (empty): must be an absolute path`},
		{"too many shards", "shards: 17\n", "f:1: shards: 17: must be a number from 0 (one for each CPU) to 16"},
		{"shards as a text", "shards: '4'\n", `f:1: shards: "4": must be a number from 0 (one for each CPU) to 16`},
		{"half a shard", "shards: 1.5\n", "f:1: shards: 1.5: must be a number from 0 (one for each CPU) to 16"},
		{"no sessions", "max_sessions: 0\n", "f:1: max_sessions: 0: must be a number from 1 to 1000"},
		{"too many sessions", "max_sessions: 1001\n", "f:1: max_sessions: 1001: must be a number from 1 to 1000"},
		{"huge number", "max_sessions: 99999999999999999999\n", "f:1: max_sessions: 100000000000000000000: must be a number from 1 to 1000"},
		{
			"instance", "instance: My GW\n",
			`f:1: instance: "My GW": must be a name of 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit (a number in quotes)`,
		},
		{
			"instance as a number", "instance: 7\n",
			`f:1: instance: 7: must be a name of 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit (a number in quotes)`,
		},
		{"more than all", "tracing: {sample_ratio: 1.5}\n", "f:1: tracing.sample_ratio: 1.5: must be a number from 0 (none) to 1 (all)"},
		{"less than none", "tracing: {sample_ratio: -0.5}\n", "f:1: tracing.sample_ratio: -0.5: must be a number from 0 (none) to 1 (all)"},
		{"namespaces in capitals", "privileges: {namespaces: AUTO}\n", `f:1: privileges.namespaces: "AUTO": must be one of auto, always, never`},
		{"share as a word", "tracing: {sample_ratio: some}\n", `f:1: tracing.sample_ratio: "some": must be a number from 0 (none) to 1 (all)`},
		{"a url", "tracing: {endpoint: 'http://otel'}\n", `f:1: tracing.endpoint: "http://otel": must be an address and port such as 127.0.0.1:9443, or "" for none`},
		{"no port", "api:\n  grpc: 127.0.0.1\n", `f:2: api.grpc: "127.0.0.1": must be an address and port such as 127.0.0.1:9443, or "" for none`},
		{"port too high", "api: {rest: '127.0.0.1:65536'}\n", `f:1: api.rest: "127.0.0.1:65536": must be an address and port such as 127.0.0.1:9443, or "" for none`},
		{"port by name", "radius:\n  coa: :radius\n", `f:2: radius.coa: ":radius": must be an address and port such as 127.0.0.1:9443, or "" for none`},
		{"level", "log:\n  level: verbose\n", `f:2: log.level: "verbose": must be one of debug, info, warn, error`},
		{"level as yes", "log:\n  level: yes\n", `f:2: log.level: true: must be one of debug, info, warn, error`},
		{"level as a list", "log:\n  level: [info]\n", `f:2: log.level: must be one of debug, info, warn, error`},
		{"format", "log:\n  format: xml\n", `f:2: log.format: "xml": must be one of text, json`},
		{"section as a text", "log: debug\n", `f:1: log: "debug": must be a section with the keys format, level`},
		{"certificate without a key", "api:\n  tls:\n    cert: /c\n", `f:3: api.tls.cert: "/c": needs api.tls.key beside it`},
		{
			"an origin with a path", "api:\n  cors_origins: ['https://portal.example.net/']\n",
			`f:2: api.cors_origins[0]: "https://portal.example.net/": must be an origin such as https://portal.example.net, without a path, in small letters`,
		},
		{
			"every origin", "api: {cors_origins: ['*']}\n",
			`f:1: api.cors_origins[0]: "*": must be an origin such as https://portal.example.net, without a path, in small letters`,
		},
		{
			"an origin with its scheme's port", "api: {cors_origins: ['https://a:443']}\n",
			`f:1: api.cors_origins[0]: "https://a:443": must be an origin such as https://portal.example.net, without a path, in small letters`,
		},
		{
			"one origin", "api: {cors_origins: 'https://a'}\n",
			`f:1: api.cors_origins: "https://a": must be a list of at most 32 origins such as [https://portal.example.net]`,
		},
		{"key without a certificate", "api:\n  tls:\n    key: /k\n", `f:3: api.tls.key: "/k": needs api.tls.cert beside it`},
		{"one address twice", "api:\n  rest: 127.0.0.1:9443\n", `f:2: api.rest: "127.0.0.1:9443": is the address of api.grpc too, each needs its own`},
		{"a key twice", "shards: 1\nshards: 2\n", `f:2: key "shards" already set in map`},
		{"a list", "- a\n", `f: must be keys and values, such as "state_dir: /var/lib/concentrator"`},
		{"a text", "hello\n", `f: must be keys and values, such as "state_dir: /var/lib/concentrator"`},
		{"two documents", "shards: 1\n---\nshards: 2\n", "f:2: a second YAML document begins, only one is allowed"},
		{"two documents after a comment and a marker", "# x\n---\nshards: 1\n--- # next\n", "f:4: a second YAML document begins, only one is allowed"},
		{"no number", "shards: .nan\n", "f: json: unsupported value: NaN"},
		{"no YAML", "a: b\n\tc: d\n", "f:2: found a tab character that violates indentation"},
		{
			"several, in the order of their lines", "shards: 99\nlog:\n  level: x\nmax_sessions: 0\n",
			"f:1: shards: 99: must be a number from 0 (one for each CPU) to 16\nf:3: log.level: \"x\": must be one of debug, info, warn, error\nf:4: max_sessions: 0: must be a number from 1 to 1000",
		},
		{"too large", strings.Repeat("#", maxFile+1), "f: is larger than 1048576 octets"},
	} {
		c, err := parse("f", []byte(tt.text))
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s:\ngot  %v\nwant %s", tt.name, err, tt.want)
		}
		if _, ok := errors.AsType[*Error](err); !ok {
			t.Errorf("%s: %T is no *Error", tt.name, err)
		}
		if !reflect.ValueOf(c).IsZero() {
			t.Errorf("%s: a configuration beside an error", tt.name)
		}
	}
}

// FuzzParseFile: whatever a file holds, parse ends, and what it takes keeps the promises of Config.
func FuzzParseFile(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte(full))
	f.Add([]byte("api: {tls: {crt: x}}\nlog: &a [*a]\n"))
	f.Add([]byte("a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parse("f", b)
		if err != nil {
			return
		}
		if !filepath.IsAbs(c.StateDir) || !filepath.IsAbs(c.KeyFile) || c.Shards < 0 || c.Shards > MaxShards ||
			c.MaxSessions < 1 || c.MaxSessions > MaxSessions || tenant.CheckID(c.Instance) != nil {
			t.Fatalf("%+v", c)
		}
	})
}
