//go:build interop

package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// GenReport is what loadgen says at its end.
type GenReport struct {
	OK     int
	Failed map[string]int
	P50Ms  float64
	P99Ms  float64
}

// Gen is loadgen at work in the part "gen".
type Gen struct {
	cmd    *exec.Cmd
	out    bytes.Buffer
	errs   bytes.Buffer
	waited bool
}

// StartGen starts `loadgen VERB` with simulated PPTP clients called user ('u%d@spare.example'), of the daemon "acc" unless
// the flags name another server.
func StartGen(t testing.TB, verb, user string, flags ...string) *Gen {
	t.Helper()
	args := append([]string{
		verb, "--server", accAddress, "--protocol", "PPTP", "--user", user, "--password", "gen-9", "-o", "json",
	}, flags...)
	line := inside(world.lab.NS("gen"), filepath.Join(world.bin, "loadgen"), args...)
	g := &Gen{cmd: exec.Command(line[0], line[1:]...)}
	g.cmd.Stdout, g.cmd.Stderr = &g.out, &g.errs
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Kill)
	return g
}

// Wait waits for its end and returns what it says.
func (g *Gen) Wait(t testing.TB) (r GenReport) {
	t.Helper()
	err := g.cmd.Wait() // failed log-ins are an error too, and in the report
	g.waited = true
	if jerr := json.Unmarshal(g.out.Bytes(), &r); jerr != nil {
		t.Fatalf("loadgen: %v, %v\n%s\n%s", err, jerr, g.out.String(), g.errs.String())
	}
	return r
}

// Kill ends it as a power cut would.
func (g *Gen) Kill() {
	if !g.waited {
		g.waited = true
		_ = g.cmd.Process.Kill()
		_ = g.cmd.Wait()
	}
}

// loginBy logs one simulated client in and out again, and returns how long the login took.
func loginBy(t testing.TB, user string) time.Duration {
	t.Helper()
	r := StartGen(t, "login", user, "--count", "1").Wait(t)
	if r.OK != 1 {
		t.Fatalf("loadgen login as %s: %+v", user, r)
	}
	return time.Duration(r.P50Ms * float64(time.Millisecond))
}

// output runs a command to its end and returns what it printed.
func output(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// String names a report for a failure.
func (r GenReport) String() string { return fmt.Sprintf("%d in, failed %v", r.OK, r.Failed) }
