//go:build interop

package interop

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// apiServer is the address of the listener that clients of the API make.
const apiServer = "198.51.100.22"

// Token is the administrator's token, which the daemon made at first start.
func (d *Daemon) Token(t testing.TB) string {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(d.Dir, "state", "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(token))
}

// Certificate is the file of the certificate that the API shows.
func (d *Daemon) Certificate() string { return filepath.Join(d.Dir, "state", "tls.crt") }

// npm runs a command of the client in test/rest, and installs what that needs where it is not installed yet.
func npm(ctx context.Context, args ...string) error {
	const folder = "../rest"
	in := func(args ...string) error {
		cmd := exec.CommandContext(ctx, "npm", args...)
		cmd.Dir = folder
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("npm %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	lock, err := os.Stat(filepath.Join(folder, "package-lock.json"))
	if err != nil {
		return err
	}
	// npm writes this file last.
	if done, err := os.Stat(filepath.Join(folder, "node_modules", ".package-lock.json")); err != nil || done.ModTime().Before(lock.ModTime()) {
		if err := in("ci", "--no-audit", "--no-fund"); err != nil {
			return err
		}
	}
	return in(args...)
}

// talker is a program that prints what it sees, one thing a line, and is told when to go on.
type talker struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr *bytes.Buffer
	ended  chan struct{}
	err    error // how it ended; written before ended is closed

	mu    sync.Mutex
	lines []string
}

// talk starts a program. It ends with the test at the latest.
func talk(t *testing.T, cmd *exec.Cmd) *talker {
	t.Helper()
	p := &talker{cmd: cmd, stderr: new(bytes.Buffer), ended: make(chan struct{})}
	cmd.Stderr = p.stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, lines.Text())
			p.mu.Unlock()
		}
		p.err = cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return p
}

// expect waits for a line that begins so, and returns its words.
func (p *talker) expect(t *testing.T, word string, limit time.Duration) (words []string) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for over := false; ; {
		p.mu.Lock()
		for _, line := range p.lines {
			if found := strings.Fields(line); len(found) > 0 && found[0] == word {
				words = found
			}
		}
		lines := strings.Join(p.lines, "\n")
		p.mu.Unlock()
		if words != nil {
			return words
		}
		if over {
			t.Fatalf("it ended without %q: %v\n%s\n%s", word, p.err, lines, p.stderr)
		}
		select {
		case <-p.ended:
			over = true // look once more
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			_ = p.cmd.Process.Kill()
			<-p.ended
			t.Fatalf("no %q after %v\n%s\n%s", word, limit, lines, p.stderr)
		}
	}
}

// say sends a line.
func (p *talker) say(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		t.Error(err)
	}
}

// ends waits until the program ends by itself, without an error.
func (p *talker) ends(t *testing.T, limit time.Duration) {
	t.Helper()
	select {
	case <-p.ended:
		if p.err != nil {
			t.Errorf("%v\n%s", p.err, p.stderr)
		}
	case <-time.After(limit):
		_ = p.cmd.Process.Kill()
		t.Errorf("it still runs after %v", limit)
	}
}
