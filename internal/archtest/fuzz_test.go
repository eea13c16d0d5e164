package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// unfuzzed are the parsers that no fuzz target reaches, and why none has to.
var unfuzzed = map[string]string{
	"internal/simclient/traffic ParseSize":      "a flag of loadgen, from who starts it",
	"internal/simclient/traffic ParseDirection": "a flag of loadgen, from who starts it",
}

// reader is the name of a function that takes octets or a text apart.
var reader = regexp.MustCompile(`^(Parse|Decode|Unmarshal)`)

// parsers is what one package has to do with parsing.
type parsers struct {
	exported []string                   // functions called like reader, of []byte or string
	uses     map[string]map[string]bool // top-level name: the names in its declaration
	fuzzed   map[string]bool            // names in test files that have a fuzz target
}

// TestParsersAreFuzzed: each exported function that takes octets or a text apart is reached by a fuzz target of its package:
// the target, or what it calls in its file, names it, or names something of the package that leads to it.
func TestParsersAreFuzzed(t *testing.T) {
	all := make(map[string]*parsers)
	for _, room := range []string{"internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, room), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			folder, err := filepath.Rel(root, filepath.Dir(path))
			if err != nil {
				return err
			}
			p := all[folder]
			if p == nil {
				p = &parsers{uses: make(map[string]map[string]bool), fuzzed: make(map[string]bool)}
				all[folder] = p
			}
			p.read(file, strings.HasSuffix(path, "_test.go"))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	found := 0
	excepted := maps.Clone(unfuzzed)
	for folder, p := range all {
		reached := p.reached()
		for _, name := range p.exported {
			found++
			full := folder + " " + name
			delete(excepted, full)
			switch reason := unfuzzed[full]; {
			case !reached[name] && reason == "":
				t.Errorf("%s is reached by no fuzz target of its package", full)
			case reached[name] && reason != "":
				t.Errorf("%s is fuzzed: it needs no exception", full)
			}
		}
	}
	for full := range excepted {
		t.Errorf("%s does not exist: it needs no exception", full)
	}
	if found < 60 {
		t.Errorf("found only %d parsers: the test does not see them", found)
	}
}

// TestReached shows that a parser is found behind another, and that one alone is not.
func TestReached(t *testing.T) {
	p := &parsers{uses: make(map[string]map[string]bool), fuzzed: make(map[string]bool)}
	for name, text := range map[string]string{
		"a.go": `package a
var table = []func([]byte){ParseInner}
func Parse(b []byte) { for _, f := range table { f(b) } }
func ParseInner(b []byte) {}
func ParseAlone(text string) {}
func ParseNumber(n int) {}
func (x) ParseMethod(b []byte) {}
`,
		"a_test.go": "package a\nfunc FuzzParse(f *testing.F) { helper() }\nfunc helper() { Parse(nil) }\n",
		"b_test.go": "package a\nfunc TestAlone(t *testing.T) { ParseAlone(``) }\n",
	} {
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		p.read(file, strings.HasSuffix(name, "_test.go"))
	}
	got := p.reached()
	if len(p.exported) != 3 || !got["Parse"] || !got["ParseInner"] || got["ParseAlone"] {
		t.Errorf("of %v are reached %v", p.exported, got)
	}
}

func (p *parsers) read(file *ast.File, test bool) {
	if test {
		names := make(map[string]bool)
		target := false
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			target = target || ok && strings.HasPrefix(f.Name.Name, "Fuzz")
			note(d, names)
		}
		for name := range names {
			p.fuzzed[name] = p.fuzzed[name] || target
		}
		return
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			p.declare(d.Name.Name, d)
			if d.Recv == nil && reader.MatchString(d.Name.Name) && takesText(d.Type.Params) {
				p.exported = append(p.exported, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if v, ok := s.(*ast.ValueSpec); ok {
					for _, name := range v.Names {
						p.declare(name.Name, v)
					}
				}
			}
		}
	}
}

// declare notes what the declaration of a name names. Methods of one name count as one.
func (p *parsers) declare(name string, n ast.Node) {
	if p.uses[name] == nil {
		p.uses[name] = make(map[string]bool)
	}
	note(n, p.uses[name])
}

func note(n ast.Node, names map[string]bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			names[id.Name] = true
		}
		return true
	})
}

func takesText(params *ast.FieldList) bool {
	for _, p := range params.List {
		switch types.ExprString(p.Type) {
		case "[]byte", "string", "[][]byte", "[]string":
			return true
		}
	}
	return false
}

// reached is what the targets lead to.
func (p *parsers) reached() map[string]bool {
	seen := make(map[string]bool)
	var visit func(name string)
	visit = func(name string) {
		if seen[name] || p.uses[name] == nil {
			return
		}
		seen[name] = true
		for n := range p.uses[name] {
			visit(n)
		}
	}
	for name, fuzzed := range p.fuzzed {
		if fuzzed {
			visit(name)
		}
	}
	return seen
}
