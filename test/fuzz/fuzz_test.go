package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"concentrator/internal/corpus"
)

func TestProgress(t *testing.T) {
	var p progress
	for _, line := range []string{
		"fuzz: elapsed: 0s, gathering baseline coverage: 0/192 completed",
		"fuzz: elapsed: 9s, gathering baseline coverage: 192/192 completed, now fuzzing with 1 workers",
		"fuzz: elapsed: 12s, execs: 325 (100/sec), new interesting: 11 (total: 202)",
		"fuzz: elapsed: 15s, execs: 325 (0/sec), new interesting: 11 (total: 202)",
	} {
		p.read(line)
	}
	if p.stuck() || p.execs != 325 || p.fresh != 11 {
		t.Errorf("%+v", p)
	}
	p.read("fuzz: elapsed: 1m18s, execs: 325 (0/sec), new interesting: 11 (total: 202)")
	if !p.stuck() || p.elapsed != 78*time.Second {
		t.Errorf("%+v", p)
	}
	p.read("fuzz: elapsed: 1m19s, execs: 326 (0/sec)")
	if p.stuck() || p.fresh != 11 {
		t.Errorf("%+v", p)
	}
}

func TestVerdict(t *testing.T) {
	exit := errors.New("exit status 1")
	for _, c := range []struct {
		err    error
		output string
		stuck  bool
		want   error
	}{
		{nil, "ok", false, nil},
		{nil, "ok", true, errStuck},
		{exit, "    context deadline exceeded\nFAIL", false, nil},
		{exit, "    context deadline exceeded\n    Failing input written to testdata", false, exit},
		{exit, "panic: context deadline exceeded", false, exit},
		{exit, "FAIL", false, exit},
	} {
		if got := verdict(c.err, []byte(c.output), c.stuck); !errors.Is(got, c.want) || (got == nil) != (c.want == nil) {
			t.Errorf("%v %q %v: %v, want %v", c.err, c.output, c.stuck, got, c.want)
		}
	}
}

func entry(note, text string, adds ...string) candidate {
	e := corpus.Entry{Note: note, Values: []any{text}}
	c := candidate{Entry: e, text: e.String(), adds: make(map[feature]bool)}
	for _, a := range adds {
		c.adds[feature{a, 1}] = true
	}
	return c
}

func TestChoose(t *testing.T) {
	names := func(all []candidate) (out []string) {
		for _, c := range all {
			out = append(out, c.Values[0].(string))
		}
		return out
	}
	kept, err := choose([]candidate{
		entry("by hand", "noted", "a"),
		entry("", "x", "a", "b", "c"), entry("", "xx", "b", "c", "d", "e"), entry("", "xxx", "c"), entry("", "xxxx", "f"),
	}, map[feature]bool{{"f", 1}: true})
	if got := names(kept); err != nil || !slices.Equal(got, []string{"noted", "xx"}) {
		t.Errorf("%q, %v", got, err)
	}
	var many []candidate
	for i := range 100 {
		many = append(many, entry("", fmt.Sprintf("%02d%s", i, strings.Repeat("x", 1000)), fmt.Sprint(i)))
	}
	kept, err = choose(many, map[feature]bool{})
	if err != nil || len(kept) < 25 || len(kept) > 32 {
		t.Errorf("%d of a thousand octets each, %v", len(kept), err)
	}
	for i := range many {
		many[i] = entry("by hand", fmt.Sprint(i))
	}
	if kept, err := choose(many, map[feature]bool{}); err == nil {
		t.Errorf("%d with notes", len(kept))
	}
}

// TestCandidates: what the go command has kept comes in, once, and not what is of another target's form.
func TestCandidates(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("testdata/corpus/FuzzX.txt", "go test fuzz v1\n\n# from a client\nstring(\"long by hand\")\n\nstring(\"b\")\n")
	write("testdata/fuzz/FuzzX/1", "go test fuzz v1\nstring(\"crash\")\n")
	write("cache/1", "go test fuzz v1\nstring(\"b\")\n")
	write("cache/2", "go test fuzz v1\nstring(\"a\")\n")
	write("cache/3", "go test fuzz v1\n[]byte(\"old\")\n")
	write("cache/4", "go test fuzz v1\nstring(\""+strings.Repeat("x", maxEntry)+"\")\n")
	g := target{folder: dir, name: "FuzzX", types: []string{"string"}}
	all, failures, err := candidates(g, filepath.Join(dir, "cache"))
	if err != nil || len(failures) != 1 {
		t.Fatal(failures, err)
	}
	var got []string
	for _, c := range all {
		got = append(got, c.Note+":"+c.Values[0].(string))
	}
	if want := []string{"from a client:long by hand", failedOnce + ":crash", ":a", ":b"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	write("testdata/corpus/FuzzX.txt", "go test fuzz v1\n\nbool(true)\n")
	if _, _, err := candidates(g, dir); err == nil {
		t.Error("a corpus of another form is taken")
	}
}

func TestThin(t *testing.T) {
	all := make([]candidate, 3*maxCandidates)
	for i := range all {
		all[i] = candidate{text: fmt.Sprint(i), mine: i%maxCandidates == 7}
	}
	some := thin(all)
	if n := len(some); n != maxCandidates+3 {
		t.Errorf("%d are left", n)
	}
	large := slices.IndexFunc(some, func(c candidate) bool { return len(c.text) == 4 })
	if mine := slices.ContainsFunc(some, func(c candidate) bool { return c.text == "807" && c.mine }); !mine || large < 0 {
		t.Errorf("ours %v, a large one %d", mine, large)
	}
	if few := thin(all[:10]); len(few) != 10 {
		t.Errorf("%d of ten", len(few))
	}
}

// TestRun runs the tool on a module of one package whose targets fail, hold on and end well.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"cmd/x/doc.go": "package x\n",
		"go.mod":       "module " + module + "\n\ngo 1.26\n",
		"internal/x/x_test.go": `package x

import "testing"

func FuzzGood(f *testing.F) { f.Fuzz(func(*testing.T, []byte) {}) }

func FuzzBad(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, n uint8) {
		if n > 7 {
			t.Fatal("so")
		}
	})
}
`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	t.Setenv("GOFLAGS", "-mod=mod")
	err := command(t.Context(), []string{"run", "-time", "1s"})
	if err == nil || err.Error() != "failed: internal/x FuzzBad" {
		t.Errorf("%v", err)
	}
	if kept, err := filepath.Glob("internal/x/testdata/fuzz/FuzzBad/*"); err != nil || len(kept) != 1 {
		t.Errorf("%q is kept, %v", kept, err)
	}
	if err := command(t.Context(), []string{"run", "-time", "100ms", "Good"}); err != nil {
		t.Error(err)
	}
	if err := command(t.Context(), []string{"run", "-time", "1s", "-within", "1s"}); err != nil {
		t.Errorf("what there is no time for has failed: %v", err)
	}
}

func TestAnyOrder(t *testing.T) {
	was := []target{{folder: "a", name: "1"}, {folder: "a", name: "2"}, {folder: "b", name: "1"}, {folder: "c", name: "1"}, {folder: "c", name: "2"}}
	first := make(map[string]bool)
	for range 100 {
		now := slices.Clone(was)
		anyOrder(now)
		first[now[0].folder] = true
		for i, o := range now {
			if i > 0 && o.name == "2" && (now[i-1].folder != o.folder || now[i-1].name != "1") {
				t.Fatalf("%v", now)
			}
		}
	}
	if len(first) != 3 {
		t.Errorf("only %v come first", first)
	}
}
