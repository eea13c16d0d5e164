package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden are the command lines whose whole output stands in testdata, a file for each noun: what was printed, and what the API
// was asked for. "<" gives the standard input.
var golden = map[string][]string{
	"tenant": {
		"tenant list", "tenant list -o wide", "tenant get acme", "tenant get acme -o yaml", "tenant describe acme", "tenant watch",
		"tenant create beta --display-name Beta --realms beta.example --limits.max-sessions 10", "tenant create acme",
		"tenant update acme --suspended", "tenant update acme --network.mtu 1300 --dry-run", "tenant delete acme --dry-run", "tenant delete acme beta",
		"tenant psks acme", "tenant rotate-psk acme --id spring",
	},
	"profile": {
		"profile list --tenant acme", "profile list -o name", "profile get default --tenant acme -o json", "profile describe default --tenant acme",
		"profile watch", "profile create fast --tenant acme --rate-limit.up-bps 20000000 --echo.interval 20s", "profile update default --tenant acme --dns-servers=",
		"profile delete default --tenant acme",
	},
	"acl": {
		"acl list", "acl list -o wide", "acl get web --tenant acme", "acl describe web --tenant acme", "acl watch --tenant acme",
		`acl create mail --tenant acme --rules [{"action":"PERMIT","protocol":"tcp","destinationPorts":["25"]}]`,
		`acl update web --tenant acme --rules []`, "acl delete web --tenant acme",
	},
	"user": {
		"user list", `user list --filter profile="tenants/acme/profiles/default" --order-by name --limit 1`, "user list -o json", "user get alice --tenant acme",
		"user describe alice --tenant acme", "user describe tenants/acme/users/bob%2Fhome -o yaml", "user watch", "user watch -o json",
		"user create carol --tenant acme --profile tenants/acme/profiles/default --disabled", "user create carol --tenant acme --password @- < wonder-1",
		"user update bob/home --tenant acme --expire-time 2031-01-31T12:00:00Z", "user delete bob/home alice --tenant acme", "user delete nobody --tenant acme",
		"user import --tenant acme -f - < user,password\ncarol,x\n", "user import --tenant acme -f - --existing update --dry-run < user\n", "user get alice",
	},
	"pool": {
		"pool list", "pool list -o wide", "pool get main --tenant acme", "pool describe main --tenant acme", "pool watch",
		"pool create more --tenant acme --ranges 10.64.1.0/24", "pool update main --tenant acme --exclude 10.64.0.9", "pool delete main --tenant acme",
	},
	"radius-server": {
		"radius-server list", "radius-server list -o wide", "radius-server get one --tenant acme", "radius-server describe one --tenant acme", "radius-server watch",
		"radius-server create two --tenant acme --address 192.0.2.6 --secrets @- < s3cret\n", "radius-server update one --tenant acme --priority 2",
		"radius-server delete one --tenant acme", "radius-server test one --tenant acme", "radius-server test one --tenant acme --user alice --password x",
	},
	"listener": {
		"listener list", "listener get main", "listener describe main", "listener watch", "listener create new --address 0.0.0.0 --protocols PPTP,L2TP_IPSEC",
		"listener update main --protocols L2TP_IPSEC", "listener delete main", "listener delete main --dry-run",
	},
	"session": {
		"session list", "session list -o wide --tenant acme", "session list --filter state=OPEN", "session list -w", "session get s1 --tenant acme",
		"session describe s1 --tenant acme", "session watch", "session watch -o name", "session disconnect s1 s2 --tenant acme",
		"session disconnect --filter * --dry-run", `session disconnect --filter user="alice" --tenant acme`, "session disconnect --filter * --detach", "session disconnect",
	},
	"lease": {
		"lease list", "lease list --tenant acme --pool main --user alice --state leased", "lease get 10.64.0.2 --tenant acme --pool main",
		"lease describe tenants/acme/pools/main/leases/10.64.0.2", "lease watch", "lease release 10.64.0.2 --tenant acme --pool main", "lease list --state gone",
	},
	"login": {
		"login list", "login list --outcome refused --peer 198.51.100.11 --limit 1", "login get 2 --tenant acme -o yaml", "login describe 2 --tenant acme",
		"login watch", "login explain alice",
	},
	"lockout": {
		"lockout list", "lockout get user-1 --tenant acme", "lockout describe user-1 --tenant acme", "lockout watch", "lockout lift user-1 --tenant acme",
		"lockout lift --user alice",
	},
	"api-token": {
		"api-token list", "api-token list --tenant acme -o wide", "api-token get ci --tenant acme", "api-token describe ci --tenant acme", "api-token watch --tenant acme",
		"api-token create portal --tenant acme --role OPERATOR", "api-token update ci --tenant acme --display-name CI", "api-token rotate ci --tenant acme",
		"api-token delete ci --tenant acme",
	},
	"accounting": {"accounting status", "accounting status --tenant acme", "accounting list", "accounting list --limit 1"},
	"operation": {
		"operation list", "operation get 1", "operation describe 1", "operation describe 2 --tenant acme", "operation watch --tenant acme", "operation wait 1",
		"operation wait 2 --tenant acme", "operation cancel 1", "operation delete 1 --etag 5", "operation download 1 --file -", "operation download 1",
	},
	"instance": {
		"instance list", "instance list -o wide", "instance get", "instance describe vpn-1", "instance drain --deadline 10m", "instance drain --detach",
		"instance drain --deadline 48h", "instance undrain", "instance reencrypt vpn-1", "instance backup --file -", "instance backup --file - --keep",
	},
	"audit": {"audit list", "audit list --tenant acme -o wide", "audit get 0000000000000007 --tenant acme", "audit describe 0000000000000007 --tenant acme", "audit watch"},
	"apply": {"apply -f - < kind: Acl\nname: tenants/acme/acls/web\nrules: []\n", "apply --dry-run -f - < kind: User\nname: tenants/acme/users/alice\n"},
}

// elsewhere are verbs whose output is no text, or that have tests of their own: see there.
var elsewhere = map[string]string{
	"session capture": "cmd/ctl/session, test/interop",
	"audit verify":    "cmd/ctl/audit",
	"top":             "cmd/ctl/top, test/interop",
	"completion bash": "TestCompletion",
	"completion zsh":  "TestCompletion",
	"completion fish": "TestCompletion",
}

func TestGolden(t *testing.T) {
	for noun, lines := range golden {
		t.Run(noun, func(t *testing.T) {
			var got strings.Builder
			for _, line := range lines {
				got.WriteString(transcript(t, line))
			}
			file := filepath.Join("testdata", noun+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v; go test -update writes it", err)
			}
			if got.String() != string(want) {
				t.Errorf("%s is not what is printed (-update writes it anew); from the first difference on, got\n%s\nwant\n%s", file,
					after(got.String(), string(want)), after(string(want), got.String()))
			}
		})
	}
}

// after is the rest of a from the line on in which it differs from b.
func after(a, b string) string {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return a[strings.LastIndexByte(a[:i], '\n')+1:]
}

// transcript runs one command line and writes down all of it: "$" the line, ">" what the API was asked, "!" what was said to
// stderr, then the output and the exit code if it is not 0.
func transcript(t *testing.T, line string) string {
	t.Helper()
	command, stdin, _ := strings.Cut(line, " < ")
	w := newWorld()
	var out, errs strings.Builder
	e := &env.Env{
		In: strings.NewReader(stdin), Out: &out, Err: &errs, Conn: w, Now: w.now, Getenv: func(string) string { return "" },
		ReadFile: func(string) ([]byte, error) { return nil, os.ErrNotExist },
	}
	code := run(t.Context(), strings.Fields(command), e)
	var b strings.Builder
	fmt.Fprintf(&b, "$ ctl %s\n", strings.ReplaceAll(line, "\n", `\n`))
	for _, call := range w.calls {
		fmt.Fprintf(&b, "> %s\n", call)
	}
	for l := range strings.Lines(errs.String()) {
		fmt.Fprintf(&b, "! %s", l)
	}
	b.WriteString(out.String())
	if code != 0 {
		fmt.Fprintf(&b, "exit code %d\n", code)
	}
	b.WriteString("\n")
	return b.String()
}

// TestEveryVerbIsGolden: a verb without a row in the table is one that nobody looks at.
func TestEveryVerbIsGolden(t *testing.T) {
	var all []string
	for _, lines := range golden {
		all = append(all, lines...)
	}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		path := strings.TrimPrefix(c.CommandPath(), "ctl ")
		if c.HasSubCommands() || c.Hidden || c.Name() == "help" || path == "ctl" {
			return
		}
		_, other := elsewhere[path]
		if !other && !slices.ContainsFunc(all, func(l string) bool { return l == path || strings.HasPrefix(l, path+" ") }) {
			t.Errorf("ctl %s: no command line of it is in golden", path)
		}
	}
	walk(root(&env.Env{Out: &strings.Builder{}, Err: &strings.Builder{}}))
}
