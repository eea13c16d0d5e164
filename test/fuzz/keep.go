package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"concentrator/internal/corpus"
)

// What a corpus may hold, and how many inputs are measured for it at most, beside those that it holds already.
const (
	maxEntries    = 64
	maxSize       = 32 << 10 // octets of the file
	maxEntry      = 4 << 10  // of an entry that has no note
	maxCandidates = 400
	entryTime     = time.Minute // how long one input may take
)

// failedOnce is the note of an input that the go command has kept because it failed.
const failedOnce = "it has failed once"

// keep makes the corpora anew out of themselves, of what the go command's cache holds and of inputs that have failed.
// Entries with a note stay; of the others those are chosen, greedily and the short ones first, that reach what no seed
// and no other entry reaches.
func keep(ctx context.Context, o options, targets []target) error {
	cache, err := goOutput(ctx, "env", "GOCACHE")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "fuzz-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	built := binaries(dir, targets, func(folder string) []string {
		return []string{"-cover", "-covermode=count", "-coverpkg=" + strings.Join(ownPackages(ctx, folder), ",")}
	})
	var failed []error
	inLanes(o.lanes, targets, func(t target) error {
		b := built[t.folder]
		defer b.done()
		if err := b.get(ctx); err != nil {
			return err
		}
		return keepOne(ctx, t, b.path, filepath.Join(cache, "fuzz", module, t.folder, t.name))
	}, func(_ target, err error) { failed = append(failed, err) })
	return errors.Join(failed...)
}

// ownPackages lists what the package in folder uses of the module, itself included and generated code left out. An
// error is left to the build, which comes upon it too.
func ownPackages(ctx context.Context, folder string) (own []string) {
	list, _ := goOutput(ctx, "list", "-deps", "./"+folder)
	for p := range strings.Lines(list) {
		if p = strings.TrimSpace(p); strings.HasPrefix(p, module+"/internal/") {
			own = append(own, p)
		}
	}
	return own
}

// candidate is an entry that may be kept.
type candidate struct {
	corpus.Entry
	text string
	mine bool // it is in the corpus already, or has failed
	adds map[feature]bool
}

func (c candidate) noted() bool { return c.Note != "" }

// keepOne makes one target's corpus.
func keepOne(ctx context.Context, t target, binary, cache string) error {
	all, failures, err := candidates(t, cache)
	if err != nil || len(all) == 0 {
		return err
	}
	m, err := newMeasure(ctx, t, binary, all)
	if err != nil {
		return err
	}
	defer m.close()
	reached, err := m.of(-1)
	if err != nil {
		return err
	}
	for i := range all {
		if all[i].adds, err = m.of(i); err != nil {
			return err
		}
	}
	kept, err := choose(all, reached)
	if err != nil {
		return fmt.Errorf("%s: %w", t, err)
	}
	if err := write(t, kept); err != nil {
		return err
	}
	for _, path := range failures {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	fmt.Printf("%-31s  %-23s  %3d of %d inputs\n", t.folder, t.name, len(kept), len(all))
	return nil
}

// write replaces the target's corpus; an empty one is deleted.
func write(t target, kept []candidate) error {
	path := filepath.Join(t.folder, corpus.File(t.name))
	if len(kept) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	entries := make([]corpus.Entry, len(kept))
	for i := range kept {
		entries[i] = kept[i].Entry
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, corpus.Format(entries), 0o644)
}

// candidates lists what may be kept, noted entries first, then by size; and the files of inputs that failed.
func candidates(t target, cache string) (all []candidate, failures []string, err error) {
	seen := make(map[string]bool)
	add := func(path, note string, mine bool) error {
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		entries, err := corpus.Parse(b)
		if err != nil && mine {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, e := range entries {
			if e.Types() != strings.ReplaceAll(strings.Join(t.types, ", "), "[]uint8", "[]byte") {
				if mine {
					return fmt.Errorf("%s: an entry of %s for a target of %v", path, e.Types(), t.types)
				}
				continue // the target has had other arguments once
			}
			plain := corpus.Entry{Values: e.Values}.String()
			if e.Note == "" {
				e.Note = note
			}
			if seen[plain] || e.Note == "" && len(plain) > maxEntry {
				continue
			}
			seen[plain] = true
			all = append(all, candidate{Entry: e, text: e.String(), mine: mine})
		}
		return nil
	}
	if err := add(filepath.Join(t.folder, corpus.File(t.name)), "", true); err != nil {
		return nil, nil, err
	}
	failures, err = filepath.Glob(filepath.Join(t.folder, "testdata", "fuzz", t.name, "*"))
	if err != nil {
		return nil, nil, err
	}
	for _, path := range failures {
		if err := add(path, failedOnce, true); err != nil {
			return nil, nil, err
		}
	}
	found, err := filepath.Glob(filepath.Join(cache, "*"))
	if err != nil {
		return nil, nil, err
	}
	for _, path := range found {
		if err := add(path, "", false); err != nil {
			return nil, nil, err
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		if a.noted() || b.noted() {
			return cmp.Compare(btoi(b.noted()), btoi(a.noted()))
		}
		return cmp.Or(cmp.Compare(len(a.text), len(b.text)), cmp.Compare(a.text, b.text))
	})
	return thin(all), failures, nil
}

// thin leaves some of the candidates that are not ours out if there are too many, of all sizes alike.
func thin(all []candidate) (some []candidate) {
	mine := 0
	for _, c := range all {
		mine += btoi(c.mine)
	}
	others, room := len(all)-mine, maxCandidates
	if others <= room {
		return all
	}
	n := 0
	for _, c := range all {
		if !c.mine {
			n++
		}
		if c.mine || n*room/others > (n-1)*room/others {
			some = append(some, c)
		}
	}
	return some
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// choose takes all noted candidates and then, again and again, the one that adds most to what is reached. It changes
// reached and the candidates.
func choose(all []candidate, reached map[feature]bool) (kept []candidate, err error) {
	size := 0
	take := func(c candidate) {
		kept = append(kept, c)
		size += 1 + len(c.text)
		for f := range c.adds {
			reached[f] = true
		}
	}
	var rest []candidate
	for _, c := range all {
		if c.noted() {
			take(c)
		} else {
			rest = append(rest, c)
		}
	}
	if len(kept) > maxEntries || size > maxSize {
		return nil, fmt.Errorf("%d entries with notes, %d octets: more than the %d and %d that a corpus may have",
			len(kept), size, maxEntries, maxSize)
	}
	noted := len(kept)
	for len(kept) < maxEntries {
		best := -1
		for i, c := range rest {
			for f := range c.adds {
				if reached[f] {
					delete(c.adds, f)
				}
			}
			if len(c.adds) > 0 && size+1+len(c.text) <= maxSize && (best < 0 || len(c.adds) > len(rest[best].adds)) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		take(rest[best])
		rest = slices.Delete(rest, best, best+1)
	}
	// By size, so that what is kept next time differs as little as can be.
	slices.SortStableFunc(kept[noted:], func(a, b candidate) int {
		return cmp.Or(cmp.Compare(len(a.text), len(b.text)), cmp.Compare(a.text, b.text))
	})
	return kept, nil
}

// measure runs single inputs of a target.
type measure struct {
	ctx    context.Context
	t      target
	binary string
	dir    string
}

// newMeasure writes the candidates where the target finds them instead of its own corpus.
func newMeasure(ctx context.Context, t target, binary string, all []candidate) (*measure, error) {
	dir, err := os.MkdirTemp(filepath.Dir(binary), t.name)
	if err != nil {
		return nil, err
	}
	entries := make([]corpus.Entry, len(all))
	for i := range all {
		entries[i] = all[i].Entry
	}
	m := &measure{ctx: ctx, t: t, binary: binary, dir: dir}
	if err := os.WriteFile(m.file("all"), corpus.Format(entries), 0o600); err != nil {
		return nil, err
	}
	return m, os.WriteFile(m.file("none"), corpus.Format(nil), 0o600)
}

func (m *measure) close() { _ = os.RemoveAll(m.dir) } // the folder above is removed too

func (m *measure) file(name string) string { return filepath.Join(m.dir, name) }

// of returns what the candidate of that index reaches; -1: what the target's own seeds do.
func (m *measure) of(index int) (map[feature]bool, error) {
	from, which := m.file("none"), "^"+m.t.name+"$"
	if index >= 0 {
		from, which = m.file("all"), fmt.Sprintf("^%s$/^seed#%d$", m.t.name, index)
	}
	ctx, cancel := context.WithTimeout(m.ctx, entryTime)
	defer cancel()
	profile := m.file("profile")
	cmd := exec.CommandContext(ctx, m.binary, "-test.run="+which, "-test.coverprofile="+profile)
	cmd.Dir = m.t.folder
	cmd.Env = append(os.Environ(), corpus.Instead+"="+from)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", m.t, which, err, out)
	}
	return readProfile(profile)
}
