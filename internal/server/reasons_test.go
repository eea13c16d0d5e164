package server

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every reason that an error may have is in docs/api.md, and none that no error has.
func TestReasonsAreDocumented(t *testing.T) {
	files, err := filepath.Glob("*.go")
	must(t)(files, err)
	reasons := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t)(text, err)
		for _, m := range regexp.MustCompile(`\breason[A-Z]\w* *= "([A-Z_]+)"`).FindAllStringSubmatch(string(text), -1) {
			reasons[m[1]] = true
		}
	}
	text, err := os.ReadFile("../../docs/api.md")
	must(t)(text, err)
	_, table, _ := strings.Cut(string(text), "| reason | code |")
	table, _, _ = strings.Cut(table, "\n\n")
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\|").FindAllStringSubmatch(table, -1) {
		if !reasons[m[1]] {
			t.Errorf("docs/api.md has %s, which no error has", m[1])
		}
		delete(reasons, m[1])
	}
	for reason := range reasons {
		t.Errorf("docs/api.md does not say what %s is", reason)
	}
}
