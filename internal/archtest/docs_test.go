package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the module's folder as this package's tests see it.
const root = "../.."

// pages returns the text of every page for people, by its path from the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			name, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = read(t, name)
		}
	}
	for _, name := range []string{"README.md", "SECURITY.md", "docs/packet-walk.md", "docs/login-walk.md", "docs/rfc-index.md"} {
		if all[name] == "" {
			t.Fatalf("%s is missing or empty", name)
		}
	}
	return all
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func exists(name string) bool {
	_, err := os.Stat(filepath.Join(root, name))
	return err == nil
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	// inTree is a path of the tree, perhaps with a function, as pages write it.
	inTree = regexp.MustCompile("`((?:api|cmd|deploy|docs|internal|test|tools)/[\\w./-]*)(?::(\\w+))?`")
)

// TestDocsLinks: what a page links to is there, headings included.
func TestDocsLinks(t *testing.T) {
	all := pages(t)
	seen := 0
	for name, text := range all {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			seen++
			path, anchor, _ := strings.Cut(m[1], "#")
			target := name
			if path != "" {
				target = filepath.Join(filepath.Dir(name), path)
			}
			switch {
			case !exists(target):
				t.Errorf("%s: link to %s: there is no %s", name, m[1], target)
			case anchor != "" && !slices.Contains(anchors(all[target]), anchor):
				t.Errorf("%s: link to %s: %s has no such heading", name, m[1], target)
			}
		}
	}
	if seen < 10 {
		t.Errorf("found only %d links: the test does not see them", seen)
	}
}

// anchors lists the names that headings of a page can be linked by.
func anchors(text string) (out []string) {
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		out = append(out, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || 'a' <= r && r <= 'z' || '0' <= r && r <= '9':
				return r
			}
			return -1
		}, strings.ToLower(m[1])))
	}
	return out
}

// TestDocsNameWhatThereIs: every file and folder of the tree that a page names is there, and every `file.go:Func` is
// declared in that file.
func TestDocsNameWhatThereIs(t *testing.T) {
	functions := 0
	for name, text := range pages(t) {
		for _, m := range inTree.FindAllStringSubmatch(text, -1) {
			path, function := m[1], m[2]
			switch {
			case !exists(path):
				t.Errorf("%s names %s, which does not exist", name, path)
			case function != "":
				functions++
				if len(declared(t, path, function)) == 0 {
					t.Errorf("%s names %s in %s, which declares no such function", name, function, path)
				}
			}
		}
	}
	if functions < 50 {
		t.Errorf("found only %d functions: the test does not see them", functions)
	}
}

// declared returns the text of each function or method of that name in a Go file, comments included.
func declared(t *testing.T, path, name string) (bodies []string) {
	t.Helper()
	src := read(t, path)
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, src, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == name {
			bodies = append(bodies, src[fset.Position(f.Pos()).Offset:fset.Position(f.End()).Offset])
		}
	}
	return bodies
}

// TestPacketWalkSteps: the function that docs/packet-walk.md names for a step has that step's comment, and no step of
// the code is missing there.
func TestPacketWalkSteps(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| (\\d) \\| `([\\w./-]+\\.go):(\\w+)` \\|")
	told := make(map[string]bool) // "file.go 3"
	for _, m := range row.FindAllStringSubmatch(read(t, "docs/packet-walk.md"), -1) {
		step, path, name := m[1], m[2], m[3]
		told[path+" "+step] = true
		if !slices.ContainsFunc(declared(t, path, name), func(body string) bool {
			return regexp.MustCompile(`(?m)// ` + step + `$`).MatchString(body)
		}) {
			t.Errorf("step %s: %s in %s has no comment // %s", step, name, path, step)
		}
	}
	comment := regexp.MustCompile(`(?m)// (\d)$`)
	for _, path := range []string{"inbound.go", "outbound.go", "ipsec_inbound.go", "ipsec_outbound.go", "inner.go", "face.go", "shard.go"} {
		path = "internal/dataplane/" + path
		for _, m := range comment.FindAllStringSubmatch(read(t, path), -1) {
			if !told[path+" "+m[1]] {
				t.Errorf("%s has a step %s that docs/packet-walk.md does not have", path, m[1])
			}
		}
	}
	if len(told) < 10 {
		t.Errorf("found only %d steps: the test does not see them", len(told))
	}
}

// TestDocsTellEveryWord: each drop reason is in docs/packet-walk.md, each stage and reason in docs/login-walk.md, and each
// metric in docs/observability.md; none of them is there that the code does not have.
func TestDocsTellEveryWord(t *testing.T) {
	sources := func(dir string) string {
		paths, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for _, path := range paths {
			name, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(name, "_test.go") {
				all.WriteString(read(t, name))
			}
		}
		return all.String()
	}
	for _, c := range []struct {
		what, code string
		in         *regexp.Regexp // finds the words in code
		page       string
		on         *regexp.Regexp // finds them on the page
		least      int
	}{
		{
			"drop reason", read(t, "internal/dataplane/drop.go"), regexp.MustCompile(`Drop\w+:\s+"(\w+)"`),
			"docs/packet-walk.md", regexp.MustCompile("`((?:client|dhcp|esp|gre|ip|l2tp|mppe|no|not|other|ppp|ring|spoofed|too|tun|wire)_[a-z_]+)`"), 30,
		},
		{
			"stage or reason", read(t, "internal/tenant/reason.go"), regexp.MustCompile(`(?:Stage|Reason)\w*\s+(?:Stage|Reason) += "(\w+)"`),
			"docs/login-walk.md", regexp.MustCompile(`\b([A-Z]+_[A-Z_]+)\b`), 35,
		},
		{
			"metric", sources("internal/telemetry"),
			regexp.MustCompile(`(?:gauge\(|counter\(|histogram\(|define\(kind\w+, )"([a-z0-9_]+)"`),
			"docs/observability.md", regexp.MustCompile(`concentrator_([a-z0-9_]+)`), 50,
		},
	} {
		code, page := words(c.in, c.code), words(c.on, read(t, c.page))
		if len(code) < c.least {
			t.Errorf("found only %d of %ss in the code: the test does not see them", len(code), c.what)
		}
		for w := range page {
			if !code[w] {
				t.Errorf("%s has the %s %s, which is not in the code", c.page, c.what, w)
			}
		}
		text := read(t, c.page)
		for w := range code {
			if !regexp.MustCompile(`\b(concentrator_)?` + w + `\b`).MatchString(text) {
				t.Errorf("%s lacks the %s %s", c.page, c.what, w)
			}
		}
	}
}

func words(re *regexp.Regexp, text string) map[string]bool {
	out := make(map[string]bool)
	for _, m := range re.FindAllStringSubmatch(text, -1) {
		out[m[1]] = true
	}
	return out
}

// TestRFCIndex: every row of docs/rfc-index.md names a file, and that file names the RFC.
func TestRFCIndex(t *testing.T) {
	row := regexp.MustCompile("^\\| (RFC \\d+) \\| .* \\| `([^`]+)` \\|$")
	rows := 0
	for line := range strings.Lines(read(t, "docs/rfc-index.md")) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, "| RFC ") || strings.HasPrefix(line, "| RFC |") {
			continue
		}
		m := row.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("not a row of RFC, section, what and file: %s", line)
			continue
		}
		rows++
		if !exists(m[2]) {
			t.Errorf("%s: %s does not exist", m[1], m[2])
		} else if !regexp.MustCompile(m[1] + `\b`).MatchString(read(t, m[2])) {
			t.Errorf("%s does not mention %s", m[2], m[1])
		}
	}
	if rows < 40 {
		t.Errorf("found only %d rows: the test does not see them", rows)
	}
}
