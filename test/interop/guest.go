//go:build interop

package interop

import (
	"bufio"
	"context"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

//go:embed guest
var scripts embed.FS

// bootTime is how long a guest may take from its start to its first word.
const bootTime = 30 * time.Second

// Guest is a Linux machine with a VPN client: a User-Mode Linux kernel on a tap of the switch. Its files are the host's;
// what it writes is gone with it, except in Dir, which is /lab in the guest.
type Guest struct {
	Name string
	Addr netip.Addr // outer, as the daemon sees it: of the guest itself or of the NAT that it is behind
	Dir  string

	own    netip.Addr // of its interface
	bridge string     // the switch that it is plugged into
	lab    *Lab
	index  int
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the guest's process is gone

	line    sync.Mutex // one script at a time
	scripts uint64
	in      *os.File // to the guest's serial line
	out     *os.File // from it
	reader  *bufio.Reader

	calls atomic.Uint32 // names the calls
}

// NewGuest describes guest number index (0 and up); Boot starts it.
func (l *Lab) NewGuest(index int) *Guest {
	name := fmt.Sprintf("guest%d", index)
	return &Guest{
		Name: name, Addr: GuestAddr(index), Dir: filepath.Join(l.Dir, name),
		own: GuestAddr(index), bridge: bridge0, lab: l, index: index,
	}
}

// PrivateAddr is the address of a guest behind a NAT, where nothing else is asked for.
func PrivateAddr(guest int) netip.Addr {
	return netip.MustParseAddr(privatePrefix + strconv.Itoa(firstGuest+guest))
}

// gateway is the guest's router: the concentrator itself, which is there for the neighbour's entry only, or the NAT.
func (g *Guest) gateway() string {
	if g.bridge == bridge0 {
		return outerPrefix + "1"
	}
	return privatePrefix + "1"
}

// GoBehind moves the guest behind NAT number n, with a private address. It comes back when the test ends.
func (g *Guest) GoBehind(t testing.TB, n int, own netip.Addr) {
	t.Helper()
	if err := g.move(NATAddr(n), own, natBridge(n)); err != nil {
		t.Fatalf("move %s behind NAT %d: %v", g.Name, n, err)
	}
}

// move plugs the guest into another switch and gives it another address.
func (g *Guest) move(addr, own netip.Addr, bridge string) error {
	g.Addr, g.own, g.bridge = addr, own, bridge
	if err := g.lab.moveTap(g.index, bridge); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, status, err := g.Sh(ctx, fmt.Sprintf(`
		ip addr flush dev vec0 && ip neigh flush dev vec0 && ip addr add %s/24 dev vec0 && ip route add default via %s`, own, g.gateway()))
	if err == nil && status != 0 {
		err = errors.New(out)
	}
	return err
}

// errBadKernel is returned when a guest came up without what the tests need; the next time it will have it.
var errBadKernel = errors.New("no MPPE in its kernel, or no network")

// Boot starts the guest and returns when it has its network. After a power cut it may be booted again.
func (g *Guest) Boot() (err error) {
	for range 3 {
		if err = g.boot(); err == nil {
			return nil
		}
		g.PowerCut()
		if !errors.Is(err, errBadKernel) {
			break
		}
	}
	return fmt.Errorf("boot %s: %w\n%s%s", g.Name, err, tail(filepath.Join(g.Dir, "console.log"), 10), tail(filepath.Join(g.Dir, "agent.log"), 10))
}

func (g *Guest) boot() error {
	if err := os.MkdirAll(g.Dir, 0o755); err != nil {
		return err
	}
	env := fmt.Sprintf("GUEST_NAME=%s\nGUEST_ADDRESS=%s/24\nGUEST_GATEWAY=%s\n", g.Name, g.own, g.gateway())
	if err := os.WriteFile(filepath.Join(g.Dir, "env"), []byte(env), 0o644); err != nil {
		return err
	}
	tap, err := g.lab.addTap(g.index, g.bridge)
	if err != nil {
		return err
	}
	// The guest has no other view of this checkout: its /tmp, where that may be, is its own.
	for _, name := range []string{"init", "agent"} {
		script, err := scripts.ReadFile("guest/" + name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(g.Dir, name), script, 0o755); err != nil {
			return err
		}
	}
	console, err := os.OpenFile(filepath.Join(g.Dir, "console.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer console.Close()
	guestIn, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer guestIn.Close()
	out, guestOut, err := os.Pipe()
	if err != nil {
		in.Close()
		return err
	}
	defer guestOut.Close()

	args := inside(g.lab.NS("sw"), "linux.uml",
		"mem=96M", "quiet", "con=null", "con0=null,fd:1", "ssl0=fd:3,fd:4", // ExtraFiles begin at 3
		"root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "init="+filepath.Join(g.Dir, "init"),
		fmt.Sprintf("umid=%s-%d", g.Name, os.Getpid()), "uml_dir="+g.Dir+"/",
		fmt.Sprintf("vec0:transport=tap,ifname=%s,depth=128,gro=0,mac=02:00:5e:00:00:%02x", tap, g.index),
		"lab="+g.Dir)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = console, console
	cmd.ExtraFiles = []*os.File{guestIn, guestOut}
	// A session of its own, so that a power cut takes the guest's helper processes along.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		in.Close()
		out.Close()
		return err
	}
	g.cmd, g.in, g.out, g.reader, g.ended = cmd, in, out, bufio.NewReader(out), make(chan struct{})
	go func(ended chan struct{}) {
		_ = cmd.Wait() // its exit status says nothing: a guest ends by SIGKILL
		close(ended)
	}(g.ended)

	g.scripts = 0
	_ = out.SetReadDeadline(time.Now().Add(bootTime))
	greeting, status, err := g.answer()
	if err != nil {
		return err
	}
	if status != 0 || !strings.Contains(greeting, g.own.String()+"/24") {
		return fmt.Errorf("%w: %s", errBadKernel, greeting)
	}
	return nil
}

// Sh runs a bash script in the guest and returns what it printed, both to stdout and stderr, and its exit status. It is
// safe for concurrent use, but scripts wait for one another.
func (g *Guest) Sh(ctx context.Context, script string) (output string, status int, err error) {
	g.line.Lock()
	defer g.line.Unlock()
	if g.in == nil {
		return "", 0, fmt.Errorf("%s is off", g.Name)
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = g.out.SetReadDeadline(deadline)
	} else {
		_ = g.out.SetReadDeadline(time.Time{})
	}
	g.scripts++
	path := filepath.Join(g.Dir, fmt.Sprintf("script.%d", g.scripts))
	if err = os.WriteFile(path, []byte(script), 0o600); err == nil {
		_, err = fmt.Fprintf(g.in, "%d\n", g.scripts)
	}
	if err != nil {
		return "", 0, fmt.Errorf("give %s a script: %w", g.Name, err)
	}
	output, status, err = g.answer()
	if err != nil {
		return "", 0, fmt.Errorf("script in %s: %w\n%s", g.Name, err, script)
	}
	return output, status, nil
}

// Must runs a script that has to succeed.
func (g *Guest) Must(t testing.TB, script string) string {
	t.Helper()
	out, status, err := g.Sh(t.Context(), script)
	if err != nil {
		t.Fatal(err)
	}
	if status != 0 {
		t.Fatalf("script in %s ended with status %d:\n%s\n%s", g.Name, status, script, out)
	}
	return out
}

// answer reads the answer to the last script. An answer to an earlier one, which was given up, is passed over.
func (g *Guest) answer() (output string, status int, err error) {
	for {
		line, err := g.reader.ReadString('\n')
		if err != nil {
			return "", 0, fmt.Errorf("wait for its answer: %w", err)
		}
		fields := strings.Split(strings.TrimRight(line, "\r\n"), " ")
		if len(fields) != 3 {
			return "", 0, fmt.Errorf("it said %q", line)
		}
		number, err := strconv.ParseUint(fields[0], 10, 64)
		if err != nil {
			return "", 0, fmt.Errorf("it said %q", line)
		}
		if number < g.scripts {
			continue
		}
		status, err := strconv.Atoi(fields[1])
		text, err2 := base64.StdEncoding.DecodeString(fields[2])
		if err := errors.Join(err, err2); err != nil {
			return "", 0, fmt.Errorf("it said %q: %w", line, err)
		}
		return string(text), status, nil
	}
}

// PowerCut ends the guest at once, without a word to anybody. It returns when the guest is gone.
func (g *Guest) PowerCut() {
	if g.cmd == nil {
		return
	}
	_ = syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL)
	<-g.ended
	// A script that is waiting for its answer gets an error before the line is locked.
	g.in.Close()
	g.out.Close()
	g.line.Lock()
	defer g.line.Unlock()
	g.cmd, g.in, g.out = nil, nil, nil
}

// Syslog is what pptp and pppd have sent to the guest's syslog.
func (g *Guest) Syslog(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(g.Dir, "syslog"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// reset ends all calls of the guest, takes it home from behind a NAT, and boots it if it is off.
func (g *Guest) reset() error {
	outside := GuestAddr(g.index)
	if g.cmd == nil {
		g.Addr, g.own, g.bridge = outside, outside, bridge0
		return g.Boot()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, status, err := g.Sh(ctx, hangUpAll+`
		busybox killall -q -KILL pppd pptp
		for _ in {1..100}; do compgen -G '/sys/class/net/ppp*' >/dev/null || exit 0; sleep .05; done
		echo a ppp interface is left; exit 1`)
	if err != nil {
		return err
	}
	if status != 0 {
		return errors.New(out)
	}
	if g.bridge == bridge0 {
		return nil
	}
	return g.move(outside, outside, bridge0)
}

// tail returns the last lines of a file, for an error message.
func tail(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	all = all[max(0, len(all)-lines):]
	return filepath.Base(filepath.Dir(path)) + "/" + filepath.Base(path) + ":\n\t" + strings.Join(all, "\n\t") + "\n"
}
