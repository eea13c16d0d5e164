package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"concentrator/internal/tenant"
)

// MaxSessions is the most sessions that an instance may be set to carry.
const MaxSessions = 1000

// MaxShards is the most shards; their number is four bits of every ID.
const MaxShards = 16

// LogFormat is how log lines are written.
type LogFormat string

// The log formats.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// Config is the daemon's file, checked and with its defaults filled in.
type Config struct {
	StateDir    string // absolute
	KeyFile     string // absolute
	Instance    string // name of this instance, as tenant.CheckID has it
	Shards      int    // 0: one for each CPU, at most MaxShards
	MaxSessions int    // 1 to MaxSessions
	API         API
	Radius      Radius
	Accounting  Accounting
	Audit       Audit
	Log         Log
	Tracing     Tracing
	Privileges  Privileges
}

// API is where the API is served. An address is host:port; an empty one is not served.
type API struct {
	GRPC, REST, Metrics string
	Socket              string // absolute path of the unix socket; empty: none
	TLS                 TLS

	// CORSOrigins are the origins whose web pages may use REST, as in https://portal.example.net.
	CORSOrigins []string

	RequestsPerSecond int // of each caller but root, 1 to MaxRequestsPerSecond; twice as many may come at once
}

// DefaultRequestsPerSecond is how often one caller of the API may call where the file says nothing, and
// MaxRequestsPerSecond what it can say at most.
const (
	DefaultRequestsPerSecond = 100
	MaxRequestsPerSecond     = 100_000
)

// TLS names the files of the API's certificate; all empty: one is made at first start.
type TLS struct {
	Cert, Key string // PEM; both or neither
	ClientCA  string // PEM; set: a client with a certificate of it needs no token
}

// Radius is what the RADIUS side listens on.
type Radius struct {
	CoA string // host:port of the UDP socket for CoA and Disconnect (RFC 5176); empty: none
}

// DefaultAccountingBytes is what accounting records that wait for their delivery may take where the file says nothing.
const DefaultAccountingBytes = 256 << 20

// Accounting is where accounting records wait, and where those of tenants without a RADIUS server for them go.
type Accounting struct {
	File     string // absolute path, one JSON object a line; empty: none
	Syslog   bool   // to the machine's syslog too (RFC 5424)
	MaxBytes int64  // octets that records which nobody has acknowledged may take
}

// DefaultAuditBytes is what the audit trail may take where the file says nothing.
const DefaultAuditBytes = 64 << 20

// Audit is how long events of the audit trail are kept.
type Audit struct {
	MaxBytes int64 // octets that the trail may take in the state; the oldest events then go
}

// Tracing is where traces of API calls and log-ins are sent, by OpenTelemetry's OTLP/gRPC.
type Tracing struct {
	Endpoint    string  // host:port; empty: nothing is traced
	Insecure    bool    // without TLS
	SampleRatio float64 // share of traces that are made, 0 to 1
}

// Namespaces says whether the process keeps the right to make and enter network namespaces.
type Namespaces string

// The choices of Namespaces.
const (
	NamespacesAuto   Namespaces = "auto" // if a resource that is stored or applied at the start names one
	NamespacesAlways Namespaces = "always"
	NamespacesNever  Namespaces = "never"
)

// Privileges is what the process keeps of its rights beyond what it always needs.
type Privileges struct {
	Namespaces Namespaces
	Debug      bool // core dumps and debuggers are allowed
}

// Log is what is logged and how.
type Log struct {
	Level  slog.Level
	Format LogFormat
}

// Default returns the configuration of an empty file. The instance is called after the machine.
func Default() Config {
	c := Config{
		StateDir:    "/var/lib/concentrator",
		Instance:    hostInstance(os.Hostname()),
		MaxSessions: MaxSessions,
		API: API{
			GRPC:    "127.0.0.1:9443",
			REST:    "127.0.0.1:8443",
			Metrics: "127.0.0.1:9090",
			Socket:  "/run/concentrator/api.sock",

			RequestsPerSecond: DefaultRequestsPerSecond,
		},
		Radius:     Radius{CoA: "0.0.0.0:3799"},
		Accounting: Accounting{MaxBytes: DefaultAccountingBytes},
		Audit:      Audit{MaxBytes: DefaultAuditBytes},
		Log:        Log{Level: slog.LevelInfo, Format: LogText},
		Tracing:    Tracing{SampleRatio: 1},
		Privileges: Privileges{Namespaces: NamespacesAuto},
	}
	c.KeyFile = defaultKeyFile(c.StateDir)
	c.Accounting.File = defaultAccountingFile(c.StateDir)
	return c
}

func defaultKeyFile(stateDir string) string { return filepath.Join(stateDir, "master.key") }

func defaultAccountingFile(stateDir string) string { return filepath.Join(stateDir, "accounting.log") }

// hostInstance makes an instance's name of the machine's.
func hostInstance(host string, err error) string {
	host, _, _ = strings.Cut(host, ".")
	id := strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, host), "-")
	if err != nil || tenant.CheckID(id) != nil {
		return "concentrator"
	}
	return id
}
