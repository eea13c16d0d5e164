package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// grace is how long a target may take beyond its time, for the corpus that it begins with and for its end.
const grace = 2 * time.Minute

// outcome is how the run of one target went.
type outcome struct {
	progress
	missed bool // the time was up before it could begin
	took   time.Duration
	err    error
	text   string // the end of what it wrote, of a failure
}

// run fuzzes the targets, one in each lane at a time, and prints a line when one is done. An input that fails a target
// stays in its package's testdata/fuzz.
func run(ctx context.Context, o options, targets []target) error {
	cache, err := goOutput(ctx, "env", "GOCACHE")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "fuzz-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	begin := time.Now()
	building := ctx
	if o.within > 0 {
		anyOrder(targets)
		var cancel context.CancelFunc
		building, cancel = context.WithTimeout(ctx, o.within-o.time)
		defer cancel()
	}
	built := binaries(dir, targets, func(string) []string { return []string{"-fuzz=."} })
	var total outcome
	var failed, missed []string
	inLanes(o.lanes, targets, func(t target) outcome {
		b := built[t.folder]
		defer b.done()
		err := b.get(building)
		if building.Err() != nil && ctx.Err() == nil {
			return outcome{missed: true}
		}
		if err != nil {
			return outcome{err: err}
		}
		return fuzz(ctx, o, t, b.path, filepath.Join(cache, "fuzz", module, t.folder))
	}, func(t target, r outcome) {
		if r.missed {
			missed = append(missed, t.String())
			return
		}
		r.print(t)
		total.execs += r.execs
		total.fresh += r.fresh
		if r.err != nil {
			failed = append(failed, t.String())
		}
	})
	fmt.Printf("%d targets, %d executions, %d new interesting inputs, %d failed, %.0f s\n",
		len(targets)-len(missed), total.execs, total.fresh, len(failed), time.Since(begin).Seconds())
	if len(missed) > 0 {
		fmt.Printf("no time for %d of them: %s\n", len(missed), strings.Join(missed, ", "))
	}
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return ctx.Err()
}

// anyOrder shuffles packages, whose targets stay together: where the time ends is not always the same.
func anyOrder(targets []target) {
	order := make(map[string]int)
	for _, t := range targets {
		if _, ok := order[t.folder]; !ok {
			order[t.folder] = rand.Int()
		}
	}
	slices.SortStableFunc(targets, func(a, b target) int {
		return cmp.Or(cmp.Compare(order[a.folder], order[b.folder]), strings.Compare(a.folder, b.folder))
	})
}

// print writes the line of a target, and of one that has failed the end of what it said.
func (r outcome) print(t target) {
	verdict := "ok"
	switch {
	case r.err != nil:
		verdict = "FAILED: " + r.err.Error()
	case r.execs == 0:
		verdict = "ok, but the time was up before it had tried what it knows already"
	}
	fmt.Printf("%-31s  %-23s  %6.1f s  %10d execs  %5d new  %s\n%s",
		t.folder, t.name, r.took.Seconds(), r.execs, r.fresh, verdict, r.text)
}

// inLanes calls do for each target, in several lanes, and then for each done, one at a time.
func inLanes[R any](lanes int, targets []target, do func(target) R, done func(target, R)) {
	next := make(chan target)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range lanes {
		wg.Go(func() {
			for t := range next {
				r := do(t)
				mu.Lock()
				done(t, r)
				mu.Unlock()
			}
		})
	}
	for _, t := range targets {
		next <- t
	}
	close(next)
	wg.Wait()
}

// fuzz runs one target.
func fuzz(ctx context.Context, o options, t target, binary, cache string) (r outcome) {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, o.time+grace)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.run=^$", "-test.fuzz=^"+t.name+"$", "-test.fuzztime="+o.time.String(),
		"-test.parallel=1", "-test.fuzzminimizetime=10x", "-test.fuzzcachedir="+cache)
	cmd.Dir = t.folder
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	out, in, err := os.Pipe()
	if err != nil {
		return outcome{err: err}
	}
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		return outcome{err: err}
	}
	in.Close()
	var last tail
	lines := bufio.NewScanner(io.TeeReader(out, &last))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		r.read(lines.Text())
	}
	_, _ = io.Copy(&last, out) // what the scanner has given up on
	out.Close()
	r.err, r.took = cmd.Wait(), time.Since(begin)
	if r.err = verdict(r.err, last.b, r.stuck()); r.err != nil {
		r.text = string(last.b)
	}
	return r
}

var errStuck = errors.New("an input does not end")

// verdict tells whether a run was good. The fuzzer fails now and then with its own deadline, when no input has: that is
// let pass (go.dev/issue/56238 and others like it).
func verdict(err error, output []byte, stuck bool) error {
	switch {
	case stuck:
		return errStuck
	case err != nil && bytes.Contains(output, []byte("context deadline exceeded")) &&
		!bytes.Contains(output, []byte("Failing input written")) && !bytes.Contains(output, []byte("panic:")):
		return nil
	}
	return err
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	const most = 4 << 10
	t.b = append(t.b, p...)
	t.b = t.b[max(0, len(t.b)-most):]
	return len(p), nil
}
