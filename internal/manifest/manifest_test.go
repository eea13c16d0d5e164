package manifest_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/corpus"
	"concentrator/internal/manifest"
	"concentrator/internal/manifest/fakeapi"
)

const acme = `
kind: User
name: tenants/acme/users/alice
password: "1234"
---
kind: Listener
name: listeners/main
address: 0.0.0.0
protocols: [PPTP]
tenants: [tenants/acme]
---
# a comment and nothing else
---
kind: Pool
name: tenants/acme/pools/main
ranges: [10.64.0.0/24]
---
kind: Profile
name: tenants/acme/profiles/default
mppe: {policy: REQUIRED, keyBits: [128]}
echo: {interval: 20s, failures: 3}
pool: tenants/acme/pools/main
rateLimit: {upBps: 20000000, downBps: 100000000000}
dscp: UNIFORM
---
kind: Tenant
name: tenants/acme
limits: {maxSessions: 10}
`

func parse(t *testing.T, text string) []manifest.Document {
	t.Helper()
	docs, err := manifest.Parse("acme.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

// apply plans and applies, and returns "action name" for each step.
func apply(t *testing.T, api *fakeapi.API, text string, prune, dryRun bool) []string {
	t.Helper()
	c := manifest.Client{Conn: api}
	plan, err := manifest.Plan(t.Context(), c, parse(t, text), prune)
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	if err := manifest.Apply(t.Context(), c, plan, dryRun, func(ch manifest.Change, err error) {
		if err != nil {
			t.Errorf("%s: %v", ch.Name, err)
		}
		steps = append(steps, string(ch.Action)+" "+ch.Name)
	}); err != nil {
		t.Fatal(err)
	}
	return steps
}

func TestParseOrdersByDependency(t *testing.T) {
	var got []string
	for _, d := range parse(t, acme) {
		got = append(got, d.Kind.Name)
	}
	if want := []string{"Tenant", "Pool", "Profile", "User", "Listener"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string // all of these stand in the error
	}{
		"no YAML":          {"kind: [", []string{"f.yaml:1", "no YAML"}},
		"not a map":        {"- a\n", []string{"f.yaml:1", "kind and name"}},
		"no kind":          {"name: tenants/acme\n", []string{"f.yaml:1: kind", "Tenant, Pool"}},
		"unknown kind":     {"kind: Router\nname: x\n", []string{`"Router"`, "Tenant, Pool"}},
		"no name":          {"kind: Tenant\n", []string{"name", "tenants/{tenant}"}},
		"wrong name":       {"kind: Pool\nname: tenants/acme\n", []string{"tenants/{tenant}/pools/{pool}"}},
		"unknown field":    {"\n---\nkind: Tenant\nname: tenants/acme\nmaxSession: 1\n", []string{"f.yaml:3: Tenant tenants/acme", "maxSession", "displayName"}},
		"unknown enum":     {"kind: Profile\nname: tenants/a/profiles/p\nmppe: {policy: ALWAYS}\n", []string{"policy", "ALWAYS", "REQUIRED, OPTIONAL, DISABLED"}},
		"an unknown model": {"kind: Profile\nname: tenants/a/profiles/p\ndscp: COPY\n", []string{"dscp", "COPY", "PIPE, UNIFORM"}},
		"half a bit":       {"kind: Profile\nname: tenants/a/profiles/p\nrateLimit: {upBps: 0.5}\n", []string{"upBps", "0.5"}},
		"a number as text": {"kind: User\nname: tenants/a/users/u\npassword: 1234\n", []string{"password", "1234", "quotes"}},
		"a key twice":      {"kind: Tenant\nname: tenants/a\nname: tenants/b\n", []string{"f.yaml:1", "already"}},
		"a name twice":     {"kind: Tenant\nname: tenants/a\n---\nkind: Tenant\nname: tenants/a\n", []string{"f.yaml:4", "line 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := manifest.Parse("f.yaml", []byte(c.text))
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		})
	}
}

func TestParseReportsEveryWrongDocument(t *testing.T) {
	_, err := manifest.Parse("f.yaml", []byte("kind: A\n---\nkind: B\n"))
	if err == nil || !strings.Contains(err.Error(), `"A"`) || !strings.Contains(err.Error(), `"B"`) {
		t.Errorf("got %v, want both documents named", err)
	}
}

func TestApplyTwice(t *testing.T) {
	api := fakeapi.New()
	first := apply(t, api, acme, false, false)
	for _, s := range first {
		if !strings.HasPrefix(s, "create ") {
			t.Errorf("first: %s, want create", s)
		}
	}
	if len(first) != 5 || first[0] != "create tenants/acme" {
		t.Errorf("first: %q", first)
	}
	p, ok := api.Get("tenants/acme/profiles/default").(*pb.Profile)
	if !ok || p.GetRateLimit().GetUpBps() != 20_000_000 || p.GetRateLimit().GetDownBps() != 100_000_000_000 || p.GetDscp() != pb.Profile_UNIFORM {
		t.Errorf("first: %v", p)
	}
	for _, s := range apply(t, api, acme, false, false) {
		if !strings.HasPrefix(s, "unchanged ") {
			t.Errorf("second: %s, want unchanged", s)
		}
	}
}

// Texts of many lines, and messages inside messages, go in as they stand.
func TestApplyCertificate(t *testing.T) {
	const certificate = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
	text := acme + "ipsec:\n  psks: [{id: main}]\n  caCertificates:\n  - |\n    " + strings.ReplaceAll(strings.TrimSpace(certificate), "\n", "\n    ") +
		"\n  ikeLifetime: 60s\n"
	text = strings.Replace(text, "protocols: [PPTP]", "protocols: [L2TP_IPSEC]\ncertificate: {chainPem: chain, privateKeyPem: key}", 1)
	api := fakeapi.New()
	apply(t, api, text, false, false)
	tenant, ok := api.Get("tenants/acme").(*pb.Tenant)
	if !ok || len(tenant.GetIpsec().GetCaCertificates()) != 1 || tenant.GetIpsec().GetCaCertificates()[0] != certificate ||
		tenant.GetIpsec().GetIkeLifetime().AsDuration() != time.Minute {
		t.Errorf("the tenant is %v", tenant)
	}
	listener, ok := api.Get("listeners/main").(*pb.Listener)
	if !ok || listener.GetCertificate().GetChainPem() != "chain" || listener.GetCertificate().GetPrivateKeyPem() != "key" {
		t.Errorf("the listener is %v", listener)
	}
}

func TestApplyChangesAndResets(t *testing.T) {
	api := fakeapi.New()
	apply(t, api, acme, false, false)
	changed := strings.Replace(strings.Replace(acme, "limits: {maxSessions: 10}", "displayName: Acme", 1), `"1234"`, `"5678"`, 1)
	got := apply(t, api, changed, false, false)
	want := []string{
		"update tenants/acme", "unchanged tenants/acme/pools/main", "unchanged tenants/acme/profiles/default",
		"update tenants/acme/users/alice", "unchanged listeners/main",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	tenant, ok := api.Get("tenants/acme").(*pb.Tenant)
	if !ok || tenant.GetDisplayName() != "Acme" || tenant.GetLimits() != nil {
		t.Errorf("the tenant is %v: a field that left the file must go back to its default", tenant)
	}
}

func TestPlanNamesWhatDiffers(t *testing.T) {
	api := fakeapi.New()
	apply(t, api, acme, false, false)
	plan, err := manifest.Plan(t.Context(), manifest.Client{Conn: api},
		parse(t, "kind: Tenant\nname: tenants/acme\nlimits: {maxSessions: 11}\nrealms: [a]\n"), false)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"realms", "limits"}; !slices.Equal(plan[0].Fields, want) {
		t.Errorf("got %q, want %q", plan[0].Fields, want)
	}
}

// What only the server sets does not count, inside a list either: how often a key was used.
func TestPlanLooksPastTheUseOfKeys(t *testing.T) {
	api := fakeapi.New()
	const doc = "kind: Tenant\nname: tenants/acme\nipsec: {psks: [{id: main}]}\n"
	apply(t, api, doc, false, false)
	api.Get("tenants/acme").(*pb.Tenant).Ipsec.Psks[0].UseCount = 7
	plan, err := manifest.Plan(t.Context(), manifest.Client{Conn: api}, parse(t, doc+"realms: [a]\n"), false)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"realms"}; !slices.Equal(plan[0].Fields, want) {
		t.Errorf("got %q, want %q", plan[0].Fields, want)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	api := fakeapi.New()
	if got := apply(t, api, acme, false, true); len(got) != 5 {
		t.Errorf("got %q, want five steps", got)
	}
	if api.Get("tenants/acme") != nil {
		t.Error("a dry run made the tenant")
	}
	for _, c := range api.Calls {
		if strings.HasPrefix(c, "Create") && c != "CreateTenant tenants/acme" {
			t.Errorf("%s: what depends on a resource that is not there yet can't be checked", c)
		}
	}
}

func TestPruneStaysBelowTheFilesTenants(t *testing.T) {
	api := fakeapi.New()
	apply(t, api, acme, false, false)
	apply(t, api, strings.ReplaceAll(acme, "acme", "other"), false, false)
	got := apply(t, api, "kind: Tenant\nname: tenants/acme\nlimits: {maxSessions: 10}\n", true, false)
	want := []string{
		"unchanged tenants/acme", "delete tenants/acme/users/alice", "delete tenants/acme/profiles/default",
		"delete tenants/acme/pools/main",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if api.Get("tenants/other/users/alice") == nil {
		t.Error("another tenant's user was deleted")
	}
}

func TestOneFailureDoesNotStopTheOthers(t *testing.T) {
	api := fakeapi.New()
	api.Fail = func(method, name string) error {
		if method == "CreatePool" {
			return status.Error(codes.InvalidArgument, "no such range")
		}
		return nil
	}
	c := manifest.Client{Conn: api}
	plan, err := manifest.Plan(t.Context(), c, parse(t, acme), false)
	if err != nil {
		t.Fatal(err)
	}
	err = manifest.Apply(t.Context(), c, plan, false, func(manifest.Change, error) {})
	if err == nil || !strings.Contains(err.Error(), "acme.yaml:14: Pool tenants/acme/pools/main: no such range") {
		t.Errorf("got %v, want document, name and reason", err)
	}
	if api.Get("listeners/main") == nil {
		t.Error("the listener was not made")
	}
}

func TestFullName(t *testing.T) {
	for _, c := range []struct{ kind, tenant, name, want string }{
		{"Tenant", "", "acme", "tenants/acme"},
		{"User", "acme", "alice", "tenants/acme/users/alice"},
		{"User", "tenants/acme", "a/b", "tenants/acme/users/a%2Fb"},
		{"User", "", "tenants/acme/users/alice", "tenants/acme/users/alice"},
		{"Listener", "acme", "main", "listeners/main"},
		{"User", "", "alice", ""},
		{"Pool", "acme", "tenants/acme/users/x", ""},
	} {
		k, err := manifest.KindOf(c.kind)
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.FullName(c.tenant, c.name)
		if c.want == "" && err == nil || c.want != "" && got != c.want {
			t.Errorf("%s of %q in %q: got %q, %v; want %q", c.kind, c.name, c.tenant, got, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte(acme))
	f.Add([]byte("--- {kind: Tenant, name: tenants/a}\n---\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		docs, err := manifest.Parse("f", b)
		seen := make(map[string]bool)
		for _, d := range docs {
			if d.Name == "" || d.Resource == nil || seen[d.Name] || d.Line < 1 || d.Line > 1+bytes.Count(b, []byte("\n")) {
				t.Fatalf("%s at line %d, %v", d, d.Line, err)
			}
			seen[d.Name] = true
			text := written(t, d)
			again, err := manifest.Parse("f", text)
			if err != nil || len(again) != 1 || again[0].Name != d.Name || !proto.Equal(again[0].Resource, d.Resource) {
				t.Errorf("%s is written\n%s\nand read as %v, %v", d, text, again, err)
			}
		}
	})
}

// written is a document as YAML.
func written(t *testing.T, d manifest.Document) []byte {
	t.Helper()
	text, err := protojson.Marshal(d.Resource)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	fields["kind"] = json.RawMessage(strconv.Quote(d.Kind.Name))
	if text, err = json.Marshal(fields); err == nil {
		text, err = manifest.ToYAML(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestDurationsAreInSeconds(t *testing.T) {
	for value, want := range map[string]string{
		"500ms": `"500ms" is not in seconds; write 0.5s`,
		"2h":    `"2h" is not in seconds; write 7200s`,
		"soon":  `"soon" is not a duration in seconds such as 20s`,
	} {
		_, err := manifest.Parse("f", []byte("kind: Profile\nname: tenants/acme/profiles/a\nidleTimeout: "+value+"\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", value, err, want)
		}
	}
}
