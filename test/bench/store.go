package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Files in the folder for results. The first is an array of Row; the second an object with a member for each
// other part.
const (
	pathsFile = "bench.json"
	moreFile  = "bench-more.json"
)

// store writes a part's objects. What other parts have left there stays.
func store(dir, part string, objects json.RawMessage) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if part == "paths" {
		return writeJSON(filepath.Join(dir, pathsFile), objects)
	}
	file := filepath.Join(dir, moreFile)
	all := map[string]json.RawMessage{}
	if err := readJSON(file, &all); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	all[part] = objects
	return writeJSON(file, all)
}

func writeJSON(file string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

func readJSON(file string, v any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// printReport prints what is in the folder for results as Markdown, for docs/performance.md.
func printReport(w io.Writer, dir string) error {
	all := map[string]json.RawMessage{}
	var first json.RawMessage
	err := readJSON(filepath.Join(dir, pathsFile), &first)
	if err == nil {
		var rows []Row
		if err := json.Unmarshal(first, &rows); err != nil {
			return err
		}
		if len(rows) > 0 && rows[0].Run != nil {
			fmt.Fprintln(w, rows[0].Run.String())
		}
	}
	if more := readJSON(filepath.Join(dir, moreFile), &all); more != nil && err != nil {
		return errors.Join(err, more)
	}
	all["paths"] = first
	for _, p := range parts {
		if all[p.name] == nil {
			continue
		}
		t, err := p.show(all[p.name])
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		t.markdown(w)
	}
	return nil
}

// lastSection is the heading in docs/performance.md behind which the figures stand.
const lastSection = "## Last figures\n"

// replaceReport makes what is in the folder for results the last section of a page.
func replaceReport(page, dir string) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	head, _, found := strings.Cut(string(text), lastSection)
	if !found {
		return fmt.Errorf("%s has no section %q", page, strings.TrimSpace(lastSection))
	}
	var out strings.Builder
	out.WriteString(head + lastSection)
	if err := printReport(&out, dir); err != nil {
		return err
	}
	return os.WriteFile(page, []byte(out.String()), 0o644)
}
