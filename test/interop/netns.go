//go:build interop

package interop

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// netnsDir is where `ip netns` keeps named network namespaces.
const netnsDir = "/run/netns"

// run runs a command to its end; what it printed is in the error.
func run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// inNamespace runs f on a thread in the network namespace ns. A socket that f opens stays there. f must not start
// goroutines that open sockets, nor processes.
func inNamespace(ns string, f func() error) error {
	// The thread goes back afterwards, it is not thrown away: the end of a thread would kill the processes that it has
	// started with Pdeathsig.
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open our own namespace: %w", err)
	}
	defer home.Close()
	if err := enter(filepath.Join(netnsDir, ns)); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	result := f()
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		panic(fmt.Sprintf("can't leave namespace %s: %v", ns, err)) // no test can be right after that
	}
	runtime.UnlockOSThread()
	return result
}

// enter moves the thread to the namespace at path.
func enter(path string) error {
	handle, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("enter namespace: %w", err)
	}
	defer handle.Close()
	if err := unix.Setns(int(handle.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter namespace %s: %w", path, err)
	}
	return nil
}

// listenIn opens a TCP listener in the namespace ns.
func listenIn(ns, address string) (l net.Listener, err error) {
	err = inNamespace(ns, func() error {
		l, err = net.Listen("tcp4", address)
		return err
	})
	return l, err
}

// dialIn returns a dialer whose connections start in the namespace ns. It takes IP addresses, no names.
func dialIn(ns string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (c net.Conn, err error) {
		err = inNamespace(ns, func() error {
			d := net.Dialer{Timeout: 5 * time.Second}
			c, err = d.DialContext(ctx, network, address)
			return err
		})
		return c, err
	}
}

// inside makes the command line that runs a program in the namespace ns. It is nsenter, not `ip netns exec`: namespaces
// that the program makes could not be entered from outside under the latter's private mounts.
func inside(ns, name string, args ...string) []string {
	return append([]string{"nsenter", "--net=" + filepath.Join(netnsDir, ns), name}, args...)
}
