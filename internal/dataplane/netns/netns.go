package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Dir is where named namespaces are mounted.
const Dir = "/run/netns"

// mark is the alias of the loopback device in namespaces that Ensure made.
const mark = "made by concentrator"

// maxName is the longest file name that Linux takes, in octets.
const maxName = 255

// ErrName is returned for a name that can't be a file below Dir.
var ErrName = errors.New("netns: not a namespace name")

// ErrNotFound is returned when no namespace of that name exists.
var ErrNotFound = errors.New("netns: no such namespace")

// ErrNotOurs is returned by Remove for a namespace that Ensure did not make.
var ErrNotOurs = errors.New("netns: namespace was not made by the concentrator")

// Handle is an open namespace. The descriptor keeps the namespace alive until Close.
type Handle struct {
	fd  int
	own bool // of the process: nobody has to go there, which would take CAP_SYS_ADMIN even so
}

// FD is the descriptor, owned by the Handle.
func (h *Handle) FD() int { return h.fd }

// Own says whether it is the namespace that the process runs in.
func (h *Handle) Own() bool { return h.own }

// Close lets the namespace go.
func (h *Handle) Close() error {
	if h.fd < 0 {
		return nil
	}
	err := unix.Close(h.fd)
	h.fd = -1
	return err
}

// Named says whether the namespace called name is there, and is this one.
func (h *Handle) Named(name string) (same, there bool, err error) {
	id, err := Identity(name)
	if errors.Is(err, ErrNotFound) {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(h.fd, &st); err != nil {
		return false, false, fmt.Errorf("look at a namespace: %w", err)
	}
	return st.Ino == id, true, nil
}

// Identity is the number of the namespace that is called name now: another one of that name has another. ErrNotFound.
func Identity(name string) (uint64, error) {
	path := "/proc/self/ns/net"
	if name != "" {
		if err := CheckName(name); err != nil {
			return 0, err
		}
		path = filepath.Join(Dir, name)
		mounted, err := isNamespace(path)
		if err != nil {
			return 0, fmt.Errorf("look at namespace %s: %w", name, err)
		}
		if !mounted {
			return 0, fmt.Errorf("%w: %s", ErrNotFound, path)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, fmt.Errorf("look at namespace %s: %w", path, err)
	}
	return st.Ino, nil
}

// CheckName says whether name can name a namespace.
func CheckName(name string) error {
	if name == "" || len(name) > maxName || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%w: %q", ErrName, name)
	}
	return nil
}

// Open opens the namespace called name; "" is the one the process runs in. ErrNotFound if there is none.
func Open(name string) (*Handle, error) {
	if name == "" {
		fd, err := openOwn()
		if err != nil {
			return nil, err
		}
		return &Handle{fd: fd, own: true}, nil
	}
	if err := CheckName(name); err != nil {
		return nil, err
	}
	path := filepath.Join(Dir, name)
	mounted, err := isNamespace(path)
	if err != nil {
		return nil, fmt.Errorf("look at namespace %s: %w", name, err)
	}
	if !mounted {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, path)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open namespace %s: %w", path, err)
	}
	return &Handle{fd: fd}, nil
}

// Ensure opens the namespace called name and makes it if it is missing. made says that it is one of ours: made by this
// call, or by an earlier run that did not come to remove it. In our own namespaces it sees to loopback being up,
// forwarding on and IPv6 off, which is not supported inside yet and must not go past the policy.
func Ensure(name string) (h *Handle, made bool, err error) {
	h, err = Open(name)
	switch {
	case err == nil && name == "":
		return h, false, nil
	case err == nil:
		made, err = marked(h)
	case errors.Is(err, ErrNotFound):
		if err = mount(name); err != nil {
			return nil, false, err
		}
		if h, err = Open(name); err == nil {
			made = true
			err = putMark(h)
		}
	}
	if err == nil && made {
		err = h.Do(prepare)
	}
	if err != nil {
		if h != nil {
			err = errors.Join(err, h.Close())
		}
		return nil, false, fmt.Errorf("namespace %s: %w", name, err)
	}
	return h, made, nil
}

// Remove takes away the namespace called name if Ensure made it; what still runs in it goes on until it ends.
// A namespace that is already gone is no error.
func Remove(name string) error {
	h, err := Open(name)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil || name == "" {
		return errors.Join(err, closeOf(h))
	}
	ours, err := marked(h)
	err = errors.Join(err, h.Close())
	if err != nil {
		return fmt.Errorf("remove namespace %s: %w", name, err)
	}
	if !ours {
		return fmt.Errorf("%w: %s", ErrNotOurs, name)
	}
	path := filepath.Join(Dir, name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount namespace %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove namespace %s: %w", path, err)
	}
	return nil
}

func closeOf(h *Handle) error {
	if h == nil {
		return nil
	}
	return h.Close()
}

// Do runs f on a thread inside the namespace and waits for it. f must not start goroutines that rely on that.
func (h *Handle) Do(f func() error) error {
	if h.own {
		return f()
	}
	return onThread(func() error {
		if err := unix.Setns(h.fd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return f()
	})
}

// openOwn opens the namespace of the calling thread. Every thread that runs ordinary goroutines is in the daemon's.
func openOwn() (int, error) {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open own network namespace: %w", err)
	}
	return fd, nil
}

// onThread runs f, which may change the thread's namespace, on a locked thread and brings the thread back. Where that
// fails the goroutine ends locked and the runtime throws the thread away: no other goroutine ever runs abroad.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		own, err := openOwn()
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		err = f()
		back := unix.Setns(own, unix.CLONE_NEWNET)
		if back == nil {
			runtime.UnlockOSThread()
		}
		done <- errors.Join(err, unix.Close(own))
	}()
	return <-done
}

// Netlink opens a netlink handle that works inside the namespace. The caller closes it.
func (h *Handle) Netlink() (*netlink.Handle, error) {
	at := vnetns.None()
	if !h.own {
		at = vnetns.NsHandle(h.fd)
	}
	nl, err := netlink.NewHandleAt(at, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink in namespace: %w", err)
	}
	return nl, nil
}

// mount makes a fresh namespace and mounts it at Dir/name, as ip-netns(8) does, so that its tools see it.
func mount(name string) error {
	if err := os.MkdirAll(Dir, 0o755); err != nil { //nolint:gosec // as ip-netns(8) makes it: anybody may list names
		return fmt.Errorf("make %s: %w", Dir, err)
	}
	if err := shareDir(); err != nil {
		return err
	}
	path := filepath.Join(Dir, name)
	// A plain file of that name is what a crash between here and the mount leaves: taken over.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o444) //nolint:gosec // as ip-netns(8) makes it: empty
	if err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		if err := unix.Mount("/proc/thread-self/ns/net", path, "none", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount namespace at %s: %w", path, err)
		}
		return nil
	})
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// sharing serialises shareDir: two at once would mount Dir twice.
var sharing sync.Mutex

// shareDir makes Dir a shared mount, so that a namespace made or removed here is so in every mount namespace.
func shareDir() error {
	sharing.Lock()
	defer sharing.Unlock()
	err := unix.Mount("", Dir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) { // not a mount point yet
		if err = unix.Mount(Dir, Dir, "none", unix.MS_BIND|unix.MS_REC, ""); err == nil {
			err = unix.Mount("", Dir, "none", unix.MS_SHARED|unix.MS_REC, "")
		}
	}
	if err != nil {
		return fmt.Errorf("share %s: %w", Dir, err)
	}
	return nil
}

// isNamespace says whether a namespace is mounted at path; a plain file is not one.
func isNamespace(path string) (bool, error) {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return st.Type == unix.NSFS_MAGIC || st.Type == unix.PROC_SUPER_MAGIC, nil
}

func marked(h *Handle) (bool, error) {
	lo, nl, err := loopback(h)
	if err != nil {
		return false, err
	}
	defer nl.Close()
	return lo.Attrs().Alias == mark, nil
}

func putMark(h *Handle) error {
	lo, nl, err := loopback(h)
	if err != nil {
		return err
	}
	defer nl.Close()
	if err := nl.LinkSetAlias(lo, mark); err != nil {
		return fmt.Errorf("mark namespace: %w", err)
	}
	if err := nl.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set loopback up: %w", err)
	}
	return nil
}

func loopback(h *Handle) (netlink.Link, *netlink.Handle, error) {
	nl, err := h.Netlink()
	if err != nil {
		return nil, nil, err
	}
	lo, err := nl.LinkByName("lo")
	if err != nil {
		nl.Close()
		return nil, nil, fmt.Errorf("find loopback: %w", err)
	}
	return lo, nl, nil
}

// prepare sets what a namespace of ours needs. It runs inside the namespace.
func prepare() error {
	for _, s := range []struct{ path, value string }{
		{"net/ipv4/ip_forward", "1"},
		{"net/ipv4/conf/all/send_redirects", "0"},
		{"net/ipv4/conf/default/send_redirects", "0"},
		{"net/ipv6/conf/all/disable_ipv6", "1"},
		{"net/ipv6/conf/default/disable_ipv6", "1"},
	} {
		if err := Sysctl(s.path, s.value); err != nil {
			return err
		}
	}
	return nil
}

// Sysctl writes /proc/sys/path. Call it inside Do: /proc/sys/net shows the namespace of the thread that opens it.
// A kernel without the feature (IPv6 compiled out) is no error.
func Sysctl(path, value string) error {
	err := os.WriteFile("/proc/sys/"+path, []byte(value), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("set %s to %s: %w", path, value, err)
	}
	return nil
}

// ReadSysctl reads /proc/sys/path. Call it inside Do.
func ReadSysctl(path string) (string, error) {
	b, err := os.ReadFile("/proc/sys/" + path)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return strings.TrimSpace(string(b)), nil
}
