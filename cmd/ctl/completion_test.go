package main

import (
	"strings"
	"testing"

	"concentrator/cmd/ctl/env"
)

// complete asks as a shell does, and returns what is offered.
func complete(t *testing.T, args ...string) string {
	t.Helper()
	var out strings.Builder
	w := newWorld()
	e := &env.Env{
		In: strings.NewReader(""), Out: &out, Err: &strings.Builder{}, Conn: w, Home: "/home/op", Getenv: func(string) string { return "" },
		ReadFile: func(string) ([]byte, error) { return []byte("profiles: {lab: {tenant: acme}, prod: {}}\n"), nil },
	}
	if code := run(t.Context(), append([]string{"__complete"}, args...), e); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	return out.String()
}

func TestCompletion(t *testing.T) {
	for _, c := range []struct {
		args string // "_" is an empty word
		want []string
		not  string
	}{
		{"us", []string{"user\tWho may log in"}, "pool\t"},
		{"user _", []string{"describe\t", "watch\t", "import\t"}, ""},
		{"user get --tenant acme _", []string{"alice\ttenants/acme/profiles/default", "bob/home\t"}, "tenants/acme/users"},
		{"user get _", []string{"tenants/acme/users/alice\t"}, ""},
		{"--profile lab user get al", []string{"alice\t"}, ""},
		{"user get --tenant acme tenants/acme/users/b", []string{"tenants/acme/users/bob%2Fhome"}, "alice"},
		{"user get alice _", nil, "alice"},
		{"user delete --tenant acme alice _", []string{"bob/home"}, "alice"},
		{"session disconnect --tenant acme _", []string{"s1\talice PPTP OPEN", "s2\t"}, ""},
		{"lease release --tenant acme --pool main _", []string{"10.64.0.2\talice"}, ""},
		{"listener get _", []string{"main\t"}, ""},
		{"operation wait _", []string{"1\tDRAIN", "tenants/acme/operations/2\tIMPORT_USERS"}, ""},
		{"session list -o _", []string{"table", "yaml", "name"}, ""},
		{"session list --tenant _", []string{"acme\tAcme", "beta"}, ""},
		{"session list --profile _", []string{"lab", "prod"}, ""},
		{"user create x --profile _", []string{"tenants/acme/profiles/default"}, "lab"},
		{"user update x --disabled=_", []string{"true", "false"}, ""},
		{"profile create x --mppe.policy _", []string{"REQUIRED", "OPTIONAL"}, "UNSPECIFIED"},
		{"user import --existing _", []string{"SKIP"}, ""},
		{"lease list --state _", []string{"QUARANTINED"}, ""},
		{"api-token create x --role _", []string{"OPERATOR"}, ""},
	} {
		t.Run(c.args, func(t *testing.T) {
			var args []string
			for _, a := range strings.Fields(c.args) {
				args = append(args, strings.TrimSuffix(a, "_"))
			}
			got := complete(t, args...)
			for _, want := range c.want {
				if !strings.Contains("\n"+got, "\n"+want) {
					t.Errorf("%q is not offered:\n%s", want, got)
				}
			}
			if c.not != "" && strings.Contains(got, c.not) {
				t.Errorf("%q is offered:\n%s", c.not, got)
			}
		})
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if code, out, errs := ctl(t, newAPI(), "", nil, "completion", shell); code != 0 || !strings.Contains(out, "ctl") || len(out) < 1000 {
			t.Errorf("%s: exit %d, %d octets, %s", shell, code, len(out), errs)
		}
	}
	if code, _, errs := ctl(t, newAPI(), "", nil, "completion", "tcsh"); code != 2 {
		t.Errorf("a shell that there is not: exit %d, %s", code, errs)
	}
}
