package telemetry

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/log-keys.md")

const keysPage = "../../docs/log-keys.md"

// logKey is one constant of keys.go.
type logKey struct{ name, value, comment string }

// TestLogKeysPage: docs/log-keys.md is what keys.go makes.
func TestLogKeysPage(t *testing.T) {
	want := keysText(logKeys(t))
	if *update {
		if err := os.WriteFile(keysPage, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(keysPage)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("%s is not what keys.go makes; run: go test ./internal/telemetry -run TestLogKeysPage -update", keysPage)
	}
}

// TestLogKeys: no two constants are one key, and all are spelled alike.
func TestLogKeys(t *testing.T) {
	form := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	seen := make(map[string]string)
	for _, k := range logKeys(t) {
		if other := seen[k.value]; other != "" {
			t.Errorf("%s and %s are both %q", other, k.name, k.value)
		}
		seen[k.value] = k.name
		if !form.MatchString(k.value) {
			t.Errorf("%s is %q, want small letters and '_'", k.name, k.value)
		}
	}
}

// logKeys reads the constants of keys.go.
func logKeys(t *testing.T) (keys []logKey) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "keys.go", nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, spec := range g.Specs {
			v, ok := spec.(*ast.ValueSpec)
			if !ok || len(v.Names) != 1 || len(v.Values) != 1 {
				t.Fatal("keys.go: want one name and one value in each line")
			}
			lit, ok := v.Values[0].(*ast.BasicLit)
			if !ok {
				t.Fatalf("keys.go: %s is no literal", v.Names[0].Name)
			}
			value, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, logKey{v.Names[0].Name, value, strings.TrimSpace(v.Comment.Text())})
		}
	}
	if len(keys) < 20 {
		t.Fatalf("found only %d keys: the test does not see them", len(keys))
	}
	return keys
}

// keysText is the page.
func keysText(keys []logKey) []byte {
	slices.SortFunc(keys, func(a, b logKey) int { return strings.Compare(a.value, b.value) })
	var b bytes.Buffer
	b.WriteString(`# Log keys

Made from internal/telemetry/keys.go by ` + "`go test ./internal/telemetry -run TestLogKeysPage -update`" + `; don't edit.

A log line is a time, a level, a constant message and some of these keys. A key without a note is what its name says.

| key | note |
|---|---|
`)
	for _, k := range keys {
		fmt.Fprintln(&b, strings.Join(strings.Fields(fmt.Sprintf("| `%s` | %s |", k.value, k.comment)), " "))
	}
	return b.Bytes()
}
