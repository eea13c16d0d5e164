package tenant_test

import (
	"encoding/json"
	"strings"
	"testing"

	"concentrator/internal/corpus"
	"concentrator/internal/tenant"
)

// FuzzDecodeUser: a user has one resource name, of whatever octets the login is, and a realm is taken off only once.
func FuzzDecodeUser(f *testing.F) {
	corpus.Add(f)
	for _, s := range []string{"alice", "al%2Fice", "al%2fice", "%", "a@b@c", `R\a@b`, "\xff", strings.Repeat("a", tenant.MaxUser+1)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if login, err := tenant.DecodeUser(text); err == nil && (tenant.EncodeUser(login) != text || len(login) > tenant.MaxUser || login == "") {
			t.Errorf("%q is %q, which is %q", text, login, tenant.EncodeUser(login))
		}
		id := tenant.EncodeUser(text)
		if strings.Contains(id, "/") {
			t.Errorf("%q has the name %q", text, id)
		}
		login, err := tenant.DecodeUser(id)
		if fits := text != "" && len(text) <= tenant.MaxUser; fits != (err == nil) || fits && login != text {
			t.Errorf("%q has the name %q, which is %q, %v", text, id, login, err)
		}
		user, realm := tenant.SplitRealm(text)
		if joined := user + "@" + realm; joined != text && realm+`\`+user != text && (user != text || realm != "") {
			t.Errorf("%q is %q and %q", text, user, realm)
		}
		if tenant.CheckID(text) == nil && (tenant.EncodeUser(text) != text || strings.ContainsAny(text, "/@\\. ")) {
			t.Errorf("%q is an ID", text)
		}
	})
}

// FuzzParseACLRule gives one rule's texts to its parsers: one spelling each, and what is checked can be stored and read.
func FuzzParseACLRule(f *testing.F) {
	corpus.Add(f)
	f.Add("tcp", "80", `{"action":"PERMIT","direction":"UP","protocol":"tcp","sources":["10.0.0.0/8"],"sourcePorts":["1-2"]}`)
	f.Add("017", "2-1", `{"action":"DENY","direction":"BOTH","destinations":["10.0.0.1/8","::/0"]}`)
	f.Add("255", "+1", `{"destinationPorts":["65536"]}`)
	f.Fuzz(func(t *testing.T, protocol, ports, rule string) {
		if n, any, err := tenant.ParseACLProtocol(protocol); err == nil && any && n != 0 {
			t.Errorf("%q is any, and %d", protocol, n)
		}
		if p, err := tenant.ParsePortRange(ports); err == nil {
			if again, err := tenant.ParsePortRange(p.String()); p.First > p.Last || err != nil || again != p {
				t.Errorf("%q is %v, which is %v, %v", ports, p, again, err)
			}
		}
		var r, again tenant.ACLRule
		if json.Unmarshal([]byte(rule), &r) != nil || tenant.CheckACL([]tenant.ACLRule{r}) != nil {
			return
		}
		stored, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(stored, &again); err != nil || tenant.CheckACL([]tenant.ACLRule{again}) != nil {
			t.Errorf("%s is stored as %s: %v", rule, stored, err)
		}
		if twice, _ := json.Marshal(again); string(twice) != string(stored) {
			t.Errorf("%s is read as %s", stored, twice)
		}
	})
}
