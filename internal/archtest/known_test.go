package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// testsOf lists the tests and fuzz targets of a package by name, whatever the build tags of their files.
func testsOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]bool)
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if ok && f.Recv == nil && (strings.HasPrefix(f.Name.Name, "Test") || strings.HasPrefix(f.Name.Name, "Fuzz")) {
				out[f.Name.Name] = true
			}
		}
	}
	return out
}

// TestKnownAttacks: each line of the tables in SECURITY.md's section names its tests, all of them are there, and each test
// that was written for one of the lines is named.
func TestKnownAttacks(t *testing.T) {
	_, section, found := strings.Cut(read(t, "SECURITY.md"), "\n## Known attacks\n")
	if !found {
		t.Fatal("SECURITY.md has no section on known attacks")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	inPackage := regexp.MustCompile("^`((?:internal|test)/[\\w/]+)` ((?:Test|Fuzz)\\w+(?:, (?:Test|Fuzz)\\w+)*)$")
	tests := make(map[string]map[string]bool) // by package, what is there
	named := make(map[string]bool)            // "package Test"
	lines := 0
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| ") || strings.HasSuffix(line, "| Tests |") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 3 || strings.TrimSpace(cells[0]) == "" || strings.TrimSpace(cells[1]) == "" {
			t.Errorf("not a line of what, where and tests: %s", line)
			continue
		}
		lines++
		for part := range strings.SplitSeq(strings.TrimSpace(cells[2]), "; ") {
			m := inPackage.FindStringSubmatch(part)
			if m == nil {
				t.Errorf("%s: %q is not a package and its tests", strings.TrimSpace(cells[0]), part)
				continue
			}
			if tests[m[1]] == nil {
				tests[m[1]] = testsOf(t, m[1])
			}
			for name := range strings.SplitSeq(m[2], ", ") {
				named[m[1]+" "+name] = true
				if !tests[m[1]][name] {
					t.Errorf("%s: %s has no %s", strings.TrimSpace(cells[0]), m[1], name)
				}
			}
		}
	}
	if lines < 80 {
		t.Errorf("found only %d lines: the test does not see them", lines)
	}
	err := filepath.WalkDir(filepath.Join(root, "internal"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		dir, err := filepath.Rel(root, path)
		if err != nil || dir == "internal/archtest" {
			return err
		}
		for name := range testsOf(t, dir) {
			if strings.HasPrefix(name, "TestKnown") && !named[dir+" "+name] {
				t.Errorf("SECURITY.md does not name %s of %s", name, dir)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
