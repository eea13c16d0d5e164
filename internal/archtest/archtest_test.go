package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pkg is what `go list -json` says about one package.
type pkg struct {
	ImportPath string
	Imports    []string
}

// TestImportRules checks every package of the module against rules.go.
func TestImportRules(t *testing.T) {
	pkgs := listPackages(t)
	if !slices.ContainsFunc(pkgs, func(p pkg) bool { return p.ImportPath == module+"/internal/tenant" }) {
		t.Fatal("go list did not see internal/tenant: the test would pass without having looked")
	}
	for _, v := range violations(pkgs) {
		t.Error(v)
	}
}

// TestViolations shows that each kind of forbidden import is found, and named.
func TestViolations(t *testing.T) {
	for _, c := range []struct {
		name, importer, imported, want string
	}{
		{"own room", "internal/wire/lcp", module + "/internal/wire/ppp", ""},
		{"allowed room", "internal/ppp", module + "/internal/wire/lcp", ""},
		{"standard library", "internal/tenant", "net/netip", ""},
		{"allowed part of a room", "internal/simclient", module + "/internal/dataplane/gre", ""},
		{"owner of a third party", "internal/store/bolt", "go.etcd.io/bbolt", ""},
		{"major version of a third party", "internal/secret", "github.com/tink-crypto/tink-go/v2/aead", ""},
		{
			"forbidden room", "internal/wire/bad", module + "/internal/dataplane/pktbuf",
			"internal/wire/bad imports internal/dataplane/pktbuf: internal/wire may only import [internal/wipe]",
		},
		{
			"forbidden part of a room", "internal/simclient", module + "/internal/dataplane/netio",
			"internal/simclient imports internal/dataplane/netio",
		},
		{"a name that only begins like a room", "internal/ppp", module + "/internal/wirecutter", "internal/ppp imports internal/wirecutter"},
		{"package outside every room", "internal/util", "fmt", "internal/util is in no room"},
		{
			"somebody else's third party", "internal/session", "layeh.com/radius",
			"internal/session imports layeh.com/radius: only [internal/authz/radius] may",
		},
		{"third party of a sibling", "internal/store", "go.etcd.io/bbolt", "internal/store imports go.etcd.io/bbolt"},
		{"third party without an owner", "internal/server", "example.com/left-pad", "example.com/left-pad has no owner"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := violations([]pkg{{ImportPath: module + "/" + c.importer, Imports: []string{c.imported}}})
			switch {
			case c.want == "" && len(got) > 0:
				t.Errorf("allowed import is refused: %v", got)
			case c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)):
				t.Errorf("got %q, want one violation with %q", got, c.want)
			}
		})
	}
}

// violations lists what the rules do not allow, one sentence each.
func violations(pkgs []pkg) []string {
	var bad []string
	for _, p := range pkgs {
		importer := strings.TrimPrefix(p.ImportPath, module+"/")
		room, ok := longest(mayImport, importer)
		if !ok {
			bad = append(bad, fmt.Sprintf("%s is in no room of rules.go: new rooms are added there on purpose", importer))
			continue
		}
		for _, path := range p.Imports {
			if v := checkImport(importer, room, path); v != "" {
				bad = append(bad, v)
			}
		}
	}
	return bad
}

// checkImport returns why importer, of room, must not import path; empty if it may.
func checkImport(importer, room, path string) string {
	first, _, _ := strings.Cut(path, "/")
	switch {
	case first == module:
		imported := strings.TrimPrefix(path, module+"/")
		if within(imported, room) || slices.ContainsFunc(mayImport[room], func(r string) bool { return within(imported, r) }) {
			return ""
		}
		return fmt.Sprintf("%s imports %s: %s may only import %v", importer, imported, room, mayImport[room])
	case !strings.Contains(first, "."):
		return "" // standard library
	}
	row, ok := longest(mayUse, path)
	switch {
	case !ok:
		return fmt.Sprintf("%s imports %s: %s has no owner in rules.go", importer, path, path)
	case !slices.ContainsFunc(mayUse[row], func(r string) bool { return within(importer, r) }):
		return fmt.Sprintf("%s imports %s: only %v may", importer, path, mayUse[row])
	}
	return ""
}

// longest finds the longest key of table that path lies within.
func longest(table map[string][]string, path string) (key string, ok bool) {
	for k := range table {
		if within(path, k) && len(k) >= len(key) {
			key, ok = k, true
		}
	}
	return key, ok
}

// within says whether path is dir or lies below it.
func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// listPackages asks the go command for every package of the module, those behind the tags of the real-client tests too.
func listPackages(t *testing.T) []pkg {
	t.Helper()
	dependOnSources(t)
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "go", "list", "-tags=interop,interop_long", "-json=ImportPath,Imports", module+"/...")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			return pkgs
		case err != nil:
			t.Fatalf("read the output of go list: %v", err)
		}
		pkgs = append(pkgs, p)
	}
}

// dependOnSources looks at every source folder, so that the go command does not take this test's result from its cache
// after one has changed: what `go list` reads, it does not know of.
func dependOnSources(t *testing.T) {
	t.Helper()
	for _, root := range []string{"api", "cmd", "internal", "test"} {
		err := filepath.WalkDir(filepath.Join("..", "..", root), func(_ string, _ fs.DirEntry, err error) error { return err })
		if err != nil {
			t.Fatalf("look at the sources: %v", err)
		}
	}
}
