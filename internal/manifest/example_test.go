package manifest

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestExampleFile: docs/example.yaml is read without an error, and shows every kind.
func TestExampleFile(t *testing.T) {
	text, err := os.ReadFile("../../docs/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	docs, err := Parse("example.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range Kinds() {
		if !slices.ContainsFunc(docs, func(d Document) bool { return d.Kind.Name == k.Name }) {
			t.Errorf("no document of kind %s", k.Name)
		}
	}
	if n := strings.Count("\n"+string(text), "\nkind: "); len(docs) != n {
		t.Errorf("%d documents are read, %d are written", len(docs), n)
	}
}
