//go:build interop

package interop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Swept is what the program sweep has found.
type Swept struct {
	Asked   int
	Answers []string // lines as it prints them
}

// Sweep has the guest ask through the link, at a rate of so many questions a second: what, as the program sweep takes it.
func (l *Link) Sweep(t testing.TB, rate int, what ...string) (s Swept) {
	t.Helper()
	build := exec.Command("go", "build", "-tags=interop", "-o", l.Guest.Dir+"/", "concentrator/test/interop/sweep")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	out, status, err := l.Guest.Sh(ctx, fmt.Sprintf("exec /lab/sweep %s %d %s", l.Local, rate, strings.Join(what, " ")))
	if err != nil || status != 0 {
		t.Fatalf("sweep: %v, status %d: %s", err, status, out)
	}
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if count, is := strings.CutPrefix(line, "asked "); is {
			if s.Asked, err = strconv.Atoi(count); err != nil {
				t.Fatalf("sweep said %q", line)
			}
			continue
		}
		s.Answers = append(s.Answers, line)
	}
	return s
}

// Has says whether one of the answers begins so.
func (s Swept) Has(prefix string) bool {
	return slices.ContainsFunc(s.Answers, func(a string) bool { return strings.HasPrefix(a, prefix) })
}
