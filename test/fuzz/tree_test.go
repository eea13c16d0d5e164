package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"concentrator/internal/corpus"
)

const root = "../.."

// TestEveryTargetHasItsCorpus: every target of the tree begins with corpus.Add, and what it would read fits it.
func TestEveryTargetHasItsCorpus(t *testing.T) {
	targets, err := findTargets(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(targets) < 80 {
		t.Fatalf("found only %d targets: the test does not see them", len(targets))
	}
	for _, g := range targets {
		if !g.adds {
			t.Errorf("%s does not begin with corpus.Add(f)", g)
		}
		path := filepath.Join(root, g.folder, corpus.File(g.name))
		b, err := os.ReadFile(path)
		if err != nil {
			continue // the next test says which are there without a target
		}
		entries, err := corpus.Parse(b)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		want := strings.ReplaceAll(strings.Join(g.types, ", "), "[]uint8", "[]byte")
		if len(entries) > 0 && entries[0].Types() != want {
			t.Errorf("%s has entries of %s, the target takes %s", path, entries[0].Types(), want)
		}
		if len(entries) == 0 || len(entries) > maxEntries || len(b) > maxSize+len("go test fuzz v1\n") {
			t.Errorf("%s has %d entries, %d octets", path, len(entries), len(b))
		}
	}
}

// TestEveryCorpusHasItsTarget: no corpus is left of a target that has another name now.
func TestEveryCorpusHasItsTarget(t *testing.T) {
	targets, err := findTargets(root)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	err = filepath.WalkDir(filepath.Join(root, "internal"), func(path string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Base(filepath.Dir(path)) != "corpus" || filepath.Ext(path) != ".txt" {
			return err
		}
		seen++
		if !slices.ContainsFunc(targets, func(g target) bool { return filepath.Join(root, g.folder, corpus.File(g.name)) == path }) {
			t.Errorf("%s has no target", path)
		}
		return nil
	})
	if err != nil || seen < 20 {
		t.Errorf("found only %d corpora, %v: the test does not see them", seen, err)
	}
}
