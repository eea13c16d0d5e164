//go:build interop

package crash

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"concentrator/test/reliability/lab"
)

const (
	// held sessions are up while the disk fails, and must be up afterwards.
	held = 6
	// comers log in meanwhile.
	comers = 6
	// toldIn is how soon a fault must be seen, and healedIn how soon all must be well when its cause is gone.
	toldIn   = 10 * time.Second
	healedIn = 15 * time.Second
)

// stateDisk is a file system of its own under a daemon's state directory.
type stateDisk struct{ image, dir string }

func newStateDisk(t testing.TB, l *lab.Lab, d *lab.Daemon) *stateDisk {
	t.Helper()
	s := &stateDisk{image: filepath.Join(l.Dir, "state.img"), dir: filepath.Join(d.Dir, "state")}
	if err := errors.Join(os.WriteFile(s.image, nil, 0o600), os.Truncate(s.image, diskSize), os.Mkdir(s.dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	lab.Run(t, "mkfs.ext4", "-q", "-m", "0", s.image)
	s.mount(t)
	t.Cleanup(func() { _ = exec.Command("umount", s.dir).Run() })
	return s
}

func (s *stateDisk) mount(t testing.TB) {
	t.Helper()
	lab.Run(t, "mount", "-t", "ext4", "-o", "loop,errors=remount-ro", s.image, s.dir)
}

func (s *stateDisk) ballast() string { return filepath.Join(s.dir, "ballast") }

// fill takes all room that is left.
func (s *stateDisk) fill(t testing.TB) {
	t.Helper()
	f, err := os.OpenFile(s.ballast(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size >= 512; {
		if _, err = f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func (s *stateDisk) empty(t testing.TB) {
	t.Helper()
	if err := os.Remove(s.ballast()); err != nil {
		t.Fatal(err)
	}
}

// fail has the file system find itself broken: from then on it is read-only, under the daemon's open files.
func (s *stateDisk) fail(t testing.TB) {
	t.Helper()
	loop, _, _ := strings.Cut(lab.Run(t, "losetup", "-j", s.image), ":")
	if err := os.WriteFile("/sys/fs/ext4/"+filepath.Base(loop)+"/trigger_fs_error", []byte("a test"), 0o200); err != nil {
		t.Fatal(err)
	}
}

// fault finds a fault that stands.
func fault(t testing.TB, d *lab.Daemon, name string) (found lab.Fault, stands bool) {
	t.Helper()
	for _, f := range d.Instance(t).Faults {
		if f.Type == name {
			return f, true
		}
	}
	return lab.Fault{}, false
}

// mustFault waits for a fault, which log and metrics must have too.
func mustFault(t testing.TB, d *lab.Daemon, name string) {
	t.Helper()
	took := lab.Eventually(t, toldIn, "fault "+name, func() bool { _, stands := fault(t, d, name); return stands })
	f, _ := fault(t, d, name)
	t.Logf("fault %s of %s after %v: %s", f.Type, f.Subject, took.Round(time.Millisecond), f.Detail)
	if v := d.Metrics(t)[`concentrator_faults{fault="`+name+`"}`]; v < 1 {
		t.Errorf("metrics say %v faults %s", v, name)
	}
	if !strings.Contains(d.Log(t), `"msg":"fault","fault":"`+name+`"`) {
		t.Errorf("the log does not name fault %s\n%s", name, d.Tail(5))
	}
}

// user makes a user and notes it when that was acknowledged.
func (s *told) user(t testing.TB, r *rest, name string) error {
	t.Helper()
	s.note(func() { s.users[name] = step{0, 1} })
	err := r.call(t.Context(), http.MethodPost, users+"?userId="+name,
		map[string]any{"password": strings.Repeat("long", 60), "maxSessions": 1}, nil)
	if err == nil {
		s.note(func() { s.users[name] = step{1, 1}; s.calls++ })
	}
	return err
}

// refuses makes users until that is refused, by its name.
func (s *told) refuses(t testing.TB, r *rest, prefix string) {
	t.Helper()
	for n := range 200 {
		err := s.user(t, r, fmt.Sprint(prefix, n))
		if err == nil {
			continue
		}
		a, ok := refused(err)
		if !ok || a.code != http.StatusServiceUnavailable || !strings.Contains(a.text, "STATE_NOT_WRITTEN") {
			t.Fatalf("a change that can't be written: %v", err)
		}
		t.Logf("change %d is refused: %s", n, a.text)
		return
	}
	t.Fatal("200 users were made on a disk without room")
}

// hold brings sessions up, and returns when they are.
func hold(t testing.TB, l *lab.Lab, d *lab.Daemon) {
	t.Helper()
	l.StartLoad(t, "hold", "--protocol", "MIX", "--count", fmt.Sprint(held), "--duration", "1h", "--source-net", "10.200.0.0/28")
	still(t, d)
}

// still waits until no session but those of hold is up, and all of those.
func still(t testing.TB, d *lab.Daemon) {
	t.Helper()
	lab.Eventually(t, 10*time.Second, fmt.Sprint(held, " sessions are up"), func() bool { return d.Instance(t).Sessions == held })
}

// comeAndGo logs clients in and out: what can't be written down must not keep them out.
func comeAndGo(t testing.TB, l *lab.Lab) {
	t.Helper()
	if r := l.Login(t, "MIX", fmt.Sprint(comers), "--source-net", "10.200.1.0/28"); r.OK != comers {
		t.Errorf("%d of %d log-ins succeed: %v", r.OK, comers, r.Failed)
	}
}

// TestFullDisk fills the disk under a daemon, twice: the first time until it has room again, the second time until it dies.
func TestFullDisk(t *testing.T) {
	l := lab.New(t)
	d := l.NewDaemon(t, lab.Documents)
	s := newStateDisk(t, l, d)
	d.Start(t)
	r, said := newREST(t, l, d), newTold()
	hold(t, l, d)
	if err := said.user(t, r, "before"); err != nil {
		t.Fatal(err)
	}
	said.look(t.Context(), r)
	s.fill(t)
	mustFault(t, d, "DISK")
	said.refuses(t, r, "full")
	mustFault(t, d, "STORE")
	lab.Eventually(t, toldIn, "not ready", func() bool { return !d.Instance(t).Ready() })
	for n := 0; ; n++ {
		comeAndGo(t, l)
		if _, stands := fault(t, d, "ACCOUNTING"); stands || n == 3 {
			break
		}
	}
	mustFault(t, d, "ACCOUNTING")
	still(t, d)

	s.empty(t)
	took := lab.Eventually(t, healedIn, "no fault, and ready", func() bool {
		i := d.Instance(t)
		return len(i.Faults) == 0 && i.Ready()
	})
	t.Logf("all is well %v after there is room", took.Round(time.Millisecond))
	if err := said.user(t, r, "healed"); err != nil {
		t.Fatal(err)
	}
	comeAndGo(t, l)
	still(t, d)

	s.fill(t)
	said.refuses(t, r, "again")
	d.Kill()
	if err := d.Begin(t); err != nil {
		t.Fatal(err)
	}
	switch err := d.Ready(startTime); {
	case d.Alive():
		t.Logf("a start on a full disk: %v", err)
	case strings.Contains(d.Tail(3), "no space left on device"):
		t.Logf("a start on a full disk is refused: %s", d.Tail(1))
	default:
		t.Errorf("a start on a full disk: %v", err)
	}
	s.empty(t)
	d.Kill()
	d.Start(t)
	said.check(t, newREST(t, l, d))
	d.Stop(t)
	checkAccounting(t, d, said.live)
}

// TestReadOnlyDisk has the file system under a daemon turn read-only for good, as one does that finds itself broken.
func TestReadOnlyDisk(t *testing.T) {
	l := lab.New(t)
	d := l.NewDaemon(t, lab.Documents)
	s := newStateDisk(t, l, d)
	d.Start(t)
	r, said := newREST(t, l, d), newTold()
	hold(t, l, d)
	if err := said.user(t, r, "before"); err != nil {
		t.Fatal(err)
	}
	said.look(t.Context(), r)
	s.fail(t)
	mustFault(t, d, "DISK")
	said.refuses(t, r, "readonly")
	mustFault(t, d, "STORE")
	comeAndGo(t, l)
	mustFault(t, d, "ACCOUNTING")
	still(t, d)

	d.Kill()
	if err := d.Begin(t); err != nil {
		t.Fatal(err)
	}
	if err := d.Ready(startTime); d.Alive() || !strings.Contains(d.Tail(1), "read-only file system") {
		t.Errorf("a start on a read-only disk: %v", err)
	}
	t.Logf("a start is refused: %s", d.Tail(1))
	lab.Run(t, "umount", s.dir)
	s.mount(t)
	d.Start(t)
	if i := d.Instance(t); len(i.Faults) != 0 {
		t.Errorf("faults after the repair: %+v", i.Faults)
	}
	said.check(t, newREST(t, l, d))
	d.Stop(t)
	checkAccounting(t, d, said.live)
}
