package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CONCENTRATOR_REAL") == "1" {
		t.Fatal("CONCENTRATOR_REAL=1, but not root: network namespaces can't be made")
	}
	t.Skip("needs root to make network namespaces")
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"acme": true, "a.b": true, "": false, ".": false, "..": false, "a/b": false, "a\x00": false,
		strings.Repeat("n", 255): true, strings.Repeat("n", 256): false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func sysctlIn(t *testing.T, h *Handle, path string) string {
	t.Helper()
	var v string
	if err := h.Do(func() (err error) {
		v, err = ReadSysctl(path)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return v
}

func inode(t *testing.T, fd int) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestMadeNamespace(t *testing.T) {
	needRoot(t)
	name := fmt.Sprintf("cctest-made-%d", os.Getpid())
	h, made, err := Ensure(name)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	t.Cleanup(func() {
		if err := Remove(name); err != nil {
			t.Error(err)
		}
	})
	if !made {
		t.Error("a fresh namespace is not ours")
	}
	if got := sysctlIn(t, h, "net/ipv4/ip_forward"); got != "1" {
		t.Errorf("ip_forward is %s", got)
	}
	if got := sysctlIn(t, h, "net/ipv6/conf/all/disable_ipv6"); got != "1" {
		t.Errorf("disable_ipv6 is %s", got)
	}
	own, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if inode(t, own.FD()) == inode(t, h.FD()) {
		t.Fatal("the new namespace is our own")
	}

	// A second run after a crash finds it and knows it.
	h2, made, err := Ensure(name)
	if err != nil {
		t.Fatal(err)
	}
	if !made || inode(t, h2.FD()) != inode(t, h.FD()) {
		t.Errorf("left over from a crash: ours %v, same %v", made, inode(t, h2.FD()) == inode(t, h.FD()))
	}
	if err := h2.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Remove(name); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(Dir, name)); !os.IsNotExist(err) {
		t.Errorf("still there after Remove: %v", err)
	}
	if _, err := Open(name); !errors.Is(err, ErrNotFound) {
		t.Errorf("Open after Remove: %v", err)
	}
	if err := Remove(name); err != nil {
		t.Errorf("a second Remove: %v", err)
	}
}

func TestForeignNamespaceStays(t *testing.T) {
	needRoot(t)
	name := fmt.Sprintf("cctest-foreign-%d", os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Fatalf("ip netns add: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", name).CombinedOutput(); err != nil {
			t.Errorf("ip netns del: %v\n%s", err, out)
		}
	})
	h, made, err := Ensure(name)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if made {
		t.Error("an operator's namespace is taken for ours")
	}
	if got := sysctlIn(t, h, "net/ipv4/ip_forward"); got != "0" {
		t.Errorf("ip_forward of a foreign namespace was set to %s", got)
	}
	if err := Remove(name); !errors.Is(err, ErrNotOurs) {
		t.Errorf("Remove of a foreign namespace: %v", err)
	}
}

// TestPlainFile is what a crash in the middle of making a namespace leaves.
func TestPlainFile(t *testing.T) {
	needRoot(t)
	name := fmt.Sprintf("cctest-plain-%d", os.Getpid())
	if err := os.MkdirAll(Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(Dir, name), nil, 0o444); err != nil {
		t.Fatal(err)
	}
	h, made, err := Ensure(name)
	if err != nil {
		t.Fatal(err)
	}
	if !made {
		t.Error("not ours")
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if err := Remove(name); err != nil {
		t.Error(err)
	}
}

// TestDoComesBack: no goroutine may ever find itself in a foreign namespace.
func TestDoComesBack(t *testing.T) {
	needRoot(t)
	own, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	name := fmt.Sprintf("cctest-do-%d", os.Getpid())
	h, _, err := Ensure(name)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	t.Cleanup(func() {
		if err := Remove(name); err != nil {
			t.Error(err)
		}
	})
	for range 50 {
		abroad := errors.New("abroad")
		if err := h.Do(func() error { return abroad }); !errors.Is(err, abroad) {
			t.Fatalf("Do hides the error: %v", err)
		}
		here, err := Open("")
		if err != nil {
			t.Fatal(err)
		}
		if inode(t, here.FD()) != inode(t, own.FD()) {
			t.Fatal("a goroutine runs in a foreign namespace")
		}
		if err := here.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
