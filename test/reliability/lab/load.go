package lab

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Report is what loadgen says at its end.
type Report struct {
	OK           int
	Failed       map[string]int
	P50Ms, P99Ms float64
	Lost         int
	LostReasons  map[string]int
	Examples     map[string]string
	Protocols    map[string]struct{ OK, Failed int }
	Open         int
	HangUpFailed int
	Rebound      int
	Pings        struct{ Sent, Answered int }
	Rekeys       struct{ OK, Failed int }
	SAs          struct{ IKE, ESP int } // of IPsec, the first ones of each log-in included
	Traffic      struct{ Up, Down Way }
}

// Way is the traffic of one direction.
type Way struct{ Sent, Received, Lost, Duplicates int }

// Load is loadgen at work in a part.
type Load struct {
	cmd    *exec.Cmd
	out    bytes.Buffer
	errs   bytes.Buffer
	waited bool
}

// StartLoad starts `loadgen VERB` in the part gen, with clients of Documents unless flags say otherwise.
func (l *Lab) StartLoad(t testing.TB, verb string, flags ...string) *Load {
	t.Helper()
	args := append([]string{
		verb, "--server", Server, "--user", "lab", "--password", Password, "--psk", PSK, "--nat-t", "-q", "-o", "json",
	}, flags...)
	line := l.inside("gen", filepath.Join(Bin(t), "loadgen"), args...)
	g := &Load{cmd: exec.Command(line[0], line[1:]...)}
	g.cmd.Stdout, g.cmd.Stderr = &g.out, &g.errs
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Kill)
	return g
}

// Wait waits for its end and returns what it says.
func (g *Load) Wait(t testing.TB) (r Report) {
	t.Helper()
	err := g.cmd.Wait() // failed log-ins are an error too, and in the report
	g.waited = true
	if jerr := json.Unmarshal(g.out.Bytes(), &r); jerr != nil {
		t.Fatalf("loadgen: %v, %v\n%s\n%s", err, jerr, g.out.String(), g.errs.String())
	}
	return r
}

// Interrupt asks it to hang up and to report.
func (g *Load) Interrupt() { _ = g.cmd.Process.Signal(syscall.SIGINT) }

// Kill ends it as a power cut would.
func (g *Load) Kill() {
	if !g.waited {
		g.waited = true
		_ = g.cmd.Process.Kill()
		_ = g.cmd.Wait()
	}
}

// Login logs count clients of a protocol in and out again.
func (l *Lab) Login(t testing.TB, protocol string, count string, flags ...string) Report {
	t.Helper()
	return l.StartLoad(t, "login", append([]string{"--protocol", protocol, "--count", count}, flags...)...).Wait(t)
}
