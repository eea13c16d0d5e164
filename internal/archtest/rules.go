package archtest

// module is the module path; every room is a folder below it.
const module = "concentrator"

// core are the rooms that nearly everybody may use.
var core = []string{"internal/wire", "internal/tenant", "internal/telemetry", "internal/wipe"}

// inner are the rooms between the wire and the API: all that internal/session conducts.
var inner = []string{
	"internal/wire", "internal/tenant", "internal/secret", "internal/telemetry", "internal/config", "internal/ippool",
	"internal/store", "internal/ppp", "internal/ike", "internal/tunnel", "internal/dataplane", "internal/authz", "internal/strangers", "internal/wipe",
}

// mayImport says, for each room, which rooms (or packages of a room) its packages may import besides their own room.
// A package in no room of this table fails the test: a new room is a decision, not an accident.
var mayImport = map[string][]string{
	"api/gen": {},

	"internal/strangers": {}, // bounds what sources may begin from which nobody has logged in
	"internal/wipe":      {}, // clears secrets from memory
	"internal/wire":      {"internal/wipe"},
	"internal/tenant":    {},
	"internal/secret":    {"internal/tenant"},
	"internal/telemetry": {"internal/tenant"},
	"internal/config":    {"internal/tenant"},
	"internal/ippool":    {"internal/tenant"},
	"internal/store":     {"internal/tenant", "internal/secret"},
	"internal/ppp":       core,
	"internal/ike":       append([]string{"internal/strangers"}, core...),
	"internal/tunnel":    append([]string{"internal/strangers"}, core...),
	"internal/dataplane": core,
	"internal/authz":     core,
	"internal/session":   inner,
	"internal/manifest":  {"api/gen"},
	"internal/server":    {"internal/session", "internal/store", "internal/ippool", "internal/tenant", "internal/telemetry", "api/gen"},
	"internal/simclient": append([]string{
		"internal/ppp", "internal/ike", "internal/tunnel",
		"internal/dataplane/esp", "internal/dataplane/gre", "internal/dataplane/l2tpdata", "internal/dataplane/mppe",
		"internal/dataplane/netns", "internal/dataplane/pktbuf",
	}, core...),
	"internal/archtest":  {},
	"internal/privilege": {},
	"internal/vitals":    {"internal/telemetry"},
	"internal/ptytest":   {}, // a pseudo-terminal and its screen: for tests only
	"internal/corpus":    {}, // inputs that fuzzing has found: for tests only

	"cmd/concentrator": append([]string{
		"internal/session", "internal/manifest", "internal/server", "internal/privilege", "internal/vitals", "api/gen",
	}, inner...),
	"cmd/ctl":     {"api/gen", "internal/manifest"},
	"cmd/loadgen": append([]string{"internal/simclient"}, core...),

	// The tests of the inside as a whole, with simulated clients.
	"test/e2e": append([]string{"internal/session", "internal/simclient", "internal/server", "api/gen"}, inner...),
	// The real-client tests know the product only by its commands and its API, as a user does.
	"test/interop": {},
	// But for one program, which plays our MPPE against the kernel's.
	"test/interop/kernelmppe": {"internal/dataplane/mppe", "internal/dataplane/pktbuf", "internal/dataplane/policy"},
	// The benchmark builds sessions by hand; what it compares them with is a room of its own, which knows nothing.
	"test/bench":       {"internal/dataplane", "internal/wire", "test/bench/rawio"},
	"test/bench/rawio": {},
	// What runs the fuzz targets and keeps what they find.
	"test/fuzz": {"internal/corpus"},
	// The reliability tests know the product as those of test/interop do; what they send by hand is made by the codecs.
	"test/reliability": {"internal/wire", "internal/dataplane/netns", "test/reliability/lab"},
	// But for what writes the daemon's files on a disk whose power is cut, and reads them again.
	"test/reliability/crash": {
		"internal/dataplane/netns", "internal/authz/accounting", "internal/ippool", "internal/session", "internal/store",
		"internal/tenant", "test/reliability/lab",
	},
}

// mayUse says, for each third-party import path and all below it, which rooms or packages may import it. The longest
// matching row counts. A third-party import without a row fails the test.
var mayUse = map[string][]string{
	"golang.org/x/crypto/md4": {"internal/wire/mschap"},

	"github.com/tink-crypto/tink-go":      {"internal/secret"},
	"github.com/prometheus/client_golang": {"internal/telemetry"},
	"sigs.k8s.io/yaml":                    {"internal/config", "internal/manifest"},
	"go.etcd.io/bbolt":                    {"internal/store/bolt"},
	"layeh.com/radius":                    {"internal/authz/radius"},
	"filippo.io/bigmod":                   {"internal/ike"},

	// ctl asks whether something is a terminal.
	"golang.org/x/sys/unix": {
		"internal/dataplane", "internal/privilege", "internal/simclient", "test/bench", "test/interop", "test/reliability", "cmd/ctl", "internal/ptytest",
	},
	"github.com/cilium/ebpf":         {"internal/dataplane"},
	"github.com/vishvananda/netlink": {"internal/dataplane"},
	"github.com/vishvananda/netns":   {"internal/dataplane"},
	"github.com/google/nftables":     {"internal/dataplane"},
	"github.com/insomniacslk/dhcp":   {"internal/dataplane"},

	"google.golang.org/grpc":                 {"api/gen", "internal/server", "internal/manifest", "cmd/ctl", "test/e2e"},
	"google.golang.org/protobuf":             {"api/gen", "internal/server", "internal/manifest", "cmd/ctl"},
	"google.golang.org/genproto":             {"api/gen", "internal/server", "internal/manifest", "cmd/ctl", "test/e2e"},
	"github.com/grpc-ecosystem/grpc-gateway": {"api/gen", "internal/server"},
	"buf.build/go/protovalidate":             {"internal/server"},
	"buf.build/gen/go":                       {"api/gen", "internal/server"}, // the rules that stand in the proto files
	"golang.org/x/time/rate":                 {"internal/server", "internal/session", "internal/strangers", "internal/tunnel", "internal/ike"},

	// Other rooms see telemetry's own spans. What sends them is a package of its own, which the daemon alone links.
	"go.opentelemetry.io/otel":           {"internal/telemetry"},
	"go.opentelemetry.io/otel/sdk":       {"internal/telemetry/tracing"},
	"go.opentelemetry.io/otel/exporters": {"internal/telemetry/tracing"},
	"go.opentelemetry.io/contrib":        {"internal/server"},

	"github.com/spf13/cobra": {"cmd/ctl", "cmd/loadgen"},
	"github.com/spf13/pflag": {"cmd/ctl"},
	"charm.land":             {"cmd/ctl"},
}
