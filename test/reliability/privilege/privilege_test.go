//go:build interop

package privilege

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"concentrator/test/reliability/lab"
)

// The capabilities that the daemon keeps: NET_BIND_SERVICE, NET_ADMIN, NET_RAW, BPF; and SYS_ADMIN for namespaces.
const (
	kept      = 1<<10 | 1<<12 | 1<<13 | 1<<39
	withSpace = kept | 1<<21
)

// threads reads the status of every thread of a process.
func threads(t *testing.T, pid int) []map[string]string {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		one := make(map[string]string)
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(line, ":")
			one[key] = strings.TrimSpace(value)
		}
		all = append(all, one)
	}
	return all
}

// checkThreads wants every thread to have caps, and nothing else in any of its sets, and its system calls filtered.
func checkThreads(t *testing.T, pid int, caps uint64) {
	t.Helper()
	all := threads(t, pid)
	if len(all) < 6 {
		t.Fatalf("%d threads seen", len(all))
	}
	for _, one := range all {
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
			got, err := strconv.ParseUint(one[set], 16, 64)
			if err != nil || got&^caps != 0 || got != caps && (set == "CapEff" || set == "CapPrm") {
				t.Errorf("thread %s: %s is %x, want %x", one["Pid"], set, got, caps)
			}
		}
		if one["NoNewPrivs"] != "1" || one["Seccomp"] != "2" {
			t.Errorf("thread %s: NoNewPrivs %s, Seccomp %s", one["Pid"], one["NoNewPrivs"], one["Seccomp"])
		}
	}
	if name := all[0]["Name"]; name != "concentrator" {
		t.Errorf("the process is called %q", name)
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil || !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max core file size 0 0 ") {
		t.Errorf("core dumps are possible: %v\n%s", err, limits)
	}
	var mem syscall.Stat_t
	if err := syscall.Stat(fmt.Sprintf("/proc/%d/mem", pid), &mem); err != nil || mem.Uid != 0 {
		t.Errorf("the memory is of user %d: %v", mem.Uid, err)
	}
}

// clients logs some in by each protocol.
func clients(t *testing.T, l *lab.Lab) {
	t.Helper()
	for _, protocol := range []string{"PPTP", "L2TP", "L2TP_IPSEC"} {
		if r := l.Login(t, protocol, "3"); r.OK != 3 {
			t.Errorf("%s: %+v", protocol, r)
		}
	}
}

// blue is a tenant in a namespace that the daemon makes, with a way out of it.
const blue = `---
kind: Tenant
name: tenants/blue
network: {namespace: %[1]s, uplink: {address: 10.255.0.2/30, gateway: 10.255.0.1}, masquerade: true}
---
kind: Pool
name: tenants/blue/pools/main
ranges: [10.65.0.0/24]
`

// Without namespaces the daemon gives up CAP_SYS_ADMIN too. What would need it is refused, with the way to it.
func TestRights(t *testing.T) {
	l := lab.New(t)
	d := l.NewDaemon(t, lab.Documents)
	d.Start(t)
	clients(t, l)
	checkThreads(t, d.PID(), kept)

	_, err := d.TryCtl(t.Context(), "tenant", "create", "blue", "--network.namespace", l.NS("blue"))
	if err == nil || !strings.Contains(err.Error(), "privileges: {namespaces: always}") {
		t.Errorf("a namespace that can't be made: %v", err)
	}
	d.Ctl(t, "tenant", "create", "blue")
	d.Ctl(t, "instance", "backup", "--file", filepath.Join(d.Dir, "backup.tar.gz"))
	d.Stop(t)

	// What is applied at the start decides anew, and what is stored from then on.
	space := l.NS("blue")
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", space).Run() })
	d.Write(t, "apply.yaml", lab.Documents+fmt.Sprintf(blue, space))
	for _, with := range []string{"applied", "stored"} {
		d.Start(t)
		checkThreads(t, d.PID(), withSpace)
		lab.Eventually(t, 5*time.Second, "the network of tenants/blue, "+with, func() bool {
			return exec.Command("ip", "-n", space, "link", "show", "uplink").Run() == nil
		})
		clients(t, l)
		d.Stop(t)
		d.Write(t, "apply.yaml", lab.Documents)
	}
	d.Start(t)
	d.Ctl(t, "pool", "delete", "main", "--tenant", "blue")
	d.Ctl(t, "tenant", "delete", "blue")
	lab.Eventually(t, 5*time.Second, "the namespace of tenants/blue is gone", func() bool {
		_, err := os.Stat(filepath.Join("/run/netns", space))
		return os.IsNotExist(err)
	})
	d.Stop(t)
}

// As the unit in deploy/systemd starts it: another user, with the capabilities that he needs and a directory of his own.
func TestAsUser(t *testing.T) {
	const nobody = 65534
	l := lab.New(t)
	d := l.NewDaemon(t, lab.Documents)
	for _, path := range []string{l.Dir, lab.Bin(t)} { // others must get through
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	err := filepath.WalkDir(d.Dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, nobody, nobody))
	})
	if err != nil {
		t.Fatal(err)
	}
	// Everywhere but here udev lets everybody open /dev/net/tun.
	tun := filepath.Join(l.Dir, "tun")
	lab.Run(t, "mknod", "-m", "666", tun, "c", "10", "200")
	caps := "+net_admin,+net_raw,+net_bind_service,+bpf"
	d.Through = []string{
		"unshare", "--mount", "sh", "-c", `mount --bind "$0" /dev/net/tun && exec "$@"`, tun,
		"setpriv", "--reuid", strconv.Itoa(nobody), "--regid", strconv.Itoa(nobody), "--clear-groups",
		"--inh-caps", caps, "--ambient-caps", caps, "--bounding-set", "-all," + caps,
	}
	d.Start(t)
	checkThreads(t, d.PID(), kept)
	clients(t, l)
	d.Stop(t)
}
