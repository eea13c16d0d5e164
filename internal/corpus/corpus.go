package corpus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Dir is where a package keeps its corpora, below the package's own folder.
const Dir = "testdata/corpus"

// Instead names the environment variable with the path of a file that is read instead of the target's own, if it is set.
const Instead = "FUZZ_CORPUS"

// header is the first line of a corpus, and of an input that the go command has kept.
const header = "go test fuzz v1"

// Entry is one input of a target.
type Entry struct {
	Note   string // where it is from, lines without their "# "; empty: fuzzing has found it
	Values []any  // []byte, string, bool, and integers
}

// File returns the path of a target's corpus, from its package's folder.
func File(target string) string { return filepath.Join(filepath.FromSlash(Dir), target+".txt") }

// Add gives f the entries of its corpus. It is the first statement of a target, so that the entries are its first seeds.
// A corpus that is not there is an empty one; one that can't be read fails the target.
func Add(f *testing.F) {
	f.Helper()
	path := os.Getenv(Instead)
	if path == "" {
		path = File(f.Name())
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		f.Fatal(err)
	}
	entries, err := Parse(b)
	if err != nil {
		f.Fatalf("%s: %v", path, err)
	}
	for _, e := range entries {
		f.Add(e.Values...)
	}
}

// Parse reads a corpus. All of its entries have the same types.
func Parse(text []byte) ([]Entry, error) {
	first, rest, _ := strings.Cut(string(text), "\n")
	if first != header {
		return nil, fmt.Errorf("line 1: %q, want %q", clip(first), header)
	}
	var entries []Entry
	var e Entry
	end := func(line int) error {
		if len(e.Values) == 0 && e.Note == "" {
			return nil
		}
		switch {
		case len(e.Values) == 0:
			return fmt.Errorf("line %d: a note without an entry", line)
		case len(entries) > 0 && e.Types() != entries[0].Types():
			return fmt.Errorf("line %d: an entry of %s among those of %s", line, e.Types(), entries[0].Types())
		}
		entries = append(entries, e)
		e = Entry{}
		return nil
	}
	line := 1
	for text := range strings.Lines(rest) {
		line++
		text = strings.TrimSuffix(text, "\n")
		switch note, is := strings.CutPrefix(text, "# "); {
		case text == "":
			if err := end(line - 1); err != nil {
				return nil, err
			}
		case is && len(e.Values) > 0:
			return nil, fmt.Errorf("line %d: a note inside an entry", line)
		case is && e.Note == "":
			e.Note = note
		case is:
			e.Note += "\n" + note
		default:
			v, err := parseValue(text)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			e.Values = append(e.Values, v)
		}
	}
	if err := end(line); err != nil {
		return nil, err
	}
	return entries, nil
}

// Format writes a corpus.
func Format(entries []Entry) []byte {
	b := []byte(header + "\n")
	for _, e := range entries {
		b = append(b, '\n')
		b = append(b, e.String()...)
	}
	return b
}

// String is the entry as it stands in a corpus.
func (e Entry) String() string {
	var b strings.Builder
	if e.Note != "" {
		for l := range strings.SplitSeq(e.Note, "\n") {
			b.WriteString("# " + l + "\n")
		}
	}
	for _, v := range e.Values {
		b.WriteString(formatValue(v) + "\n")
	}
	return b.String()
}

// Types lists the types of the values, as Go spells them.
func (e Entry) Types() string {
	var names []string
	for _, v := range e.Values {
		names = append(names, fmt.Sprintf("%T", v))
	}
	return strings.ReplaceAll(strings.Join(names, ", "), "[]uint8", "[]byte")
}
