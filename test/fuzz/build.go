package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// module is the path that the folders of targets are below.
const module = "concentrator"

// binary is the test binary of a package. It is built when it is first needed and deleted when the last of its targets
// is done: all of them at once would be gigabytes. Safe for concurrent use.
type binary struct {
	folder string
	path   string
	flags  []string
	next   *binary // of the package whose turn is next

	once sync.Once
	err  error

	mu   sync.Mutex
	left int // targets that still need it
}

// binaries makes one for each package of the targets; their files lie below dir. The flags are given to go test.
func binaries(dir string, targets []target, flags func(folder string) []string) map[string]*binary {
	all := make(map[string]*binary)
	last := &binary{}
	for _, t := range targets {
		b := all[t.folder]
		if b == nil {
			b = &binary{
				folder: t.folder, flags: flags(t.folder),
				path: filepath.Join(dir, strings.ReplaceAll(t.folder, string(filepath.Separator), "_")+".test"),
			}
			all[t.folder] = b
			last.next, last = b, b
		}
		b.left++
	}
	return all
}

// get makes the file, once, and begins with that of the next package: the targets of this one leave a processor time for
// it.
func (b *binary) get(ctx context.Context) error {
	err := b.build(ctx)
	if b.next != nil {
		go func() { _ = b.next.build(ctx) }() // who needs it gets the error
	}
	return err
}

func (b *binary) build(ctx context.Context) error {
	b.once.Do(func() {
		args := append([]string{"test", "-c", "-o", b.path}, b.flags...)
		out, err := exec.CommandContext(ctx, "go", append(args, "./"+b.folder)...).CombinedOutput()
		if err != nil {
			b.err = fmt.Errorf("build the tests of %s: %w\n%s", b.folder, err, out)
		}
	})
	return b.err
}

// done says that one target needs the binary no more.
func (b *binary) done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left--; b.left == 0 {
		_ = os.Remove(b.path) // its folder is removed anyway
	}
}

// goOutput runs the go command and returns what it writes, without the white space around it.
func goOutput(ctx context.Context, args ...string) (string, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, &stderr)
	}
	return string(bytes.TrimSpace(out)), nil
}
