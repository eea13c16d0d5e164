//go:build interop

package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

var demoLine = regexp.MustCompile(`Server (\S+), user (\S+), password (\S+)`)

// TestDemo starts what `make run` starts, on a machine of its own with nothing but the programs, and logs in with what it
// prints, as does what `make try` starts beside it. A second start shows the same password.
func TestDemo(t *testing.T) {
	t.Parallel()
	g := borrow(t, 1)[0]
	dir := filepath.Join(world.lab.Dir, "demo")
	if err := os.MkdirAll(filepath.Join(dir, "tools"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"demo.sh", "try.sh"} {
		script, err := os.ReadFile(filepath.Join("..", "..", "tools", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "tools", name), script, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(world.bin, filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}

	start := func(log string) (*process, []string) {
		t.Helper()
		p, err := startProcess(filepath.Join(dir, log), inside(world.lab.NS("demo"), filepath.Join(dir, "tools", "demo.sh"))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = p.stop(syscall.SIGKILL, time.Second) })
		var shown []string
		if err := p.wait(func() bool {
			shown = demoLine.FindStringSubmatch(readAll(t, p.log))
			return shown != nil && demoCtl(dir, "instance", "list") == nil
		}, 15*time.Second); err != nil {
			t.Fatal(err)
		}
		return p, shown
	}
	p, shown := start("log1")
	if shown[1] != demoAddress {
		t.Errorf("make run says that the server is %s, want %s", shown[1], demoAddress)
	}
	link := dial(t, g, Dial{Server: shown[1], User: shown[2], Password: shown[3], Auth: AuthMSCHAPv2, Cipher: CipherMPPE128})
	link.Route(t, link.Remote.String())
	if pings := link.Ping(t, link.Remote.String(), 3, 50*time.Millisecond); pings.Received < 3 {
		t.Errorf("the gateway answers %+v", pings)
	}
	link.HangUp(t)
	try := inside(world.lab.NS("demo"), filepath.Join(dir, "tools", "try.sh"))
	if out, err := exec.Command(try[0], try[1:]...).CombinedOutput(); err != nil || !strings.Contains(string(out), "L2TP_IPSEC  OPEN") ||
		!strings.Contains(string(out), "the password of user \"demo\" is wrong") {
		t.Errorf("make try: %v\n%s", err, out)
	}
	if state, err := p.stop(syscall.SIGTERM, 15*time.Second); err != nil || !state.Success() {
		t.Errorf("make run ended with %v, %v", state, err)
	}

	if _, again := start("log2"); again[3] != shown[3] {
		t.Errorf("the second start shows the password %s, the first %s", again[3], shown[3])
	}
}

// demoCtl runs ctl as the demo tells people to.
func demoCtl(dir string, args ...string) error {
	cmd := exec.Command("bin/ctl", append([]string{"--socket", "run/api.sock"}, args...)...)
	cmd.Dir = dir
	return cmd.Run()
}

func readAll(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
