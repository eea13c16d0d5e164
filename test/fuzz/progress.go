package main

import (
	"regexp"
	"strconv"
	"time"
)

// progress is what a running target has told.
type progress struct {
	elapsed time.Duration
	execs   int64
	fresh   int // new interesting inputs

	moved time.Duration // when execs last grew
	begun bool          // it has counted executions
}

// report is a line of the fuzzer with figures.
var report = regexp.MustCompile(`^fuzz: elapsed: ([0-9hms]+), execs: (\d+) \(\d+/sec\)(?:, new interesting: (\d+))?`)

// read takes one line of a target's output.
func (p *progress) read(line string) {
	m := report.FindStringSubmatch(line)
	if m == nil {
		return
	}
	elapsed, err := time.ParseDuration(m[1])
	if err != nil {
		return
	}
	execs, err := strconv.ParseInt(m[2], 10, 64)
	if err != nil {
		return
	}
	if execs != p.execs || !p.begun {
		p.moved = elapsed
	}
	p.elapsed, p.execs, p.begun = elapsed, execs, true
	if n, err := strconv.Atoi(m[3]); err == nil {
		p.fresh = n
	}
}

// stuck says that an input does not end: nothing has been tried for so long. The fuzzer itself says nothing then.
func (p *progress) stuck() bool { return p.elapsed-p.moved >= stuckAfter }

const stuckAfter = 6 * time.Second
