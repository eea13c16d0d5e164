package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	good, bad := write("good.yaml", "state_dir: "+dir+"\n"), write("bad.yaml", "max_sessions: 5000\nshard: 2\n")
	broken := write("apply.yaml", "kind: Tenant\nname: tenants/acme\nlimit: 1\n")
	for _, c := range []struct {
		args string
		code int
		want []string // on the standard output when it went well, else on the error output
	}{
		{"", 2, []string{"no command", "concentrator serve"}},
		{"fly", 2, []string{`"fly"`, "concentrator serve"}},
		{"serve --speed 9", 2, []string{"speed"}},
		{"serve now", 2, []string{`"now"`}},
		{"check", 2, []string{"--config FILE"}},
		{"check --config " + good, 0, []string{"ok"}},
		{"check --config " + bad, 1, []string{"bad.yaml:1", "max_sessions", "5000", "1000", "bad.yaml:2", "shard"}},
		{"check --config " + dir + "/none", 1, []string{"none"}},
		{"serve --config " + good + " --apply " + broken, 1, []string{"apply.yaml:1", "limit", "limits"}},
		{"restore", 2, []string{"BACKUP"}},
		{"restore a b", 2, []string{`"b"`}},
		{"restore --config " + good + " " + dir + "/none", 1, []string{"none"}},
		{"restore --config " + good + " " + bad, 1, []string{"not a whole backup"}},
		{"version", 0, nil},
		{"help", 0, []string{"serve", "check", "version"}},
	} {
		t.Run(c.args, func(t *testing.T) {
			var out, errs strings.Builder
			code := run(t.Context(), strings.Fields(c.args), &out, &errs)
			text := out.String()
			if c.code != 0 {
				text = errs.String()
			}
			if code != c.code {
				t.Errorf("exit %d, want %d: %s", code, c.code, text)
			}
			for _, w := range c.want {
				if !strings.Contains(text, w) {
					t.Errorf("%q does not say %q", text, w)
				}
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "state.db")); err == nil {
		t.Error("a start with wrong documents made a state")
	}
}
