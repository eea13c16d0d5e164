//go:build interop

package crash

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"concentrator/internal/authz/accounting"
	"concentrator/internal/store"
	"concentrator/test/reliability/lab"
)

//go:embed guest/init
var guestInit []byte

const (
	// shortSteps is how many changes each of the three writers makes, and shortCuts after how many of the flushes, spread evenly
	// over all, the power goes.
	shortSteps = 12
	shortCuts  = 30
	// diskSize has room for much more than is written.
	diskSize = 16 << 20
)

// TestPowerCuts has the daemon's files written on a disk whose writes are recorded, and looks at what is there if the power goes
// after a flush of that disk, or between two of them: the files open, and have all that was acknowledged before.
func TestPowerCuts(t *testing.T) { powerCuts(t, shortSteps, shortCuts) }

// powerCuts looks after at most so many flushes, 0 for all.
func powerCuts(t *testing.T, steps, most int) {
	seed := seedOf(t)
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	lab.Run(t, "mount", "-t", "tmpfs", "disks", dir)
	t.Cleanup(func() { lab.Run(t, "umount", "--lazy", dir) })
	empty, all, acks := recordDisk(t, dir, steps)
	list := cuts(all)
	// Nobody saw the disk before the guest had mounted it.
	list = slices.DeleteFunc(list, func(c cut) bool { return c.last < firstWrite(all) })
	total := len(list)
	if most > 0 && total > most {
		for i := range most {
			list[i] = list[i*total/most+rnd.IntN(max(1, total/most))]
		}
		list = list[:most]
	}
	d, next, torn := slices.Clone(empty), 0, 0
	for _, c := range list {
		for ; next <= c.last; next++ {
			d.write(&all[next])
		}
		said := acks[:c.mark]
		if err := checkDisk(t, dir, d, said); err != nil {
			t.Errorf("power cut after entry %d, %d things acknowledged: %v", c.last, len(said), err)
		}
		// Of what was written until the next flush any part may have come to the disk, in any order.
		half := slices.Clone(d)
		for i := next; i < len(all) && !all[i].is(flagFlush|flagFUA); i++ {
			half.tear(&all[i], rnd)
		}
		if slices.Equal(half, d) {
			continue
		}
		torn++
		if err := checkDisk(t, dir, half, said); err != nil {
			t.Errorf("power cut between entry %d and the next flush, %d things acknowledged: %v", c.last, len(said), err)
		}
		if t.Failed() {
			t.FailNow() // one tells enough
		}
	}
	t.Logf("%d things acknowledged in %d writes; power cut after %d of %d flushes, and between two of them %d times", len(acks), len(all), len(list), total, torn)
	if len(acks) < 3*steps-3 || len(list) < 20 || torn < 5 {
		t.Errorf("too little was going on to show anything")
	}
}

// firstWrite is the first entry that writes something.
func firstWrite(all []entry) int {
	return slices.IndexFunc(all, func(e entry) bool { return len(e.data) > 0 })
}

// recordDisk runs the writer in a guest and returns the disk as it was before, what was written to it, and what was acknowledged
// meanwhile, in the order of its numbers.
func recordDisk(t testing.TB, dir string, steps int) (empty disk, all []entry, acks []ack) {
	t.Helper()
	path := func(name string) string { return filepath.Join(dir, name) }
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"writer": program, writerSteps: fmt.Append(nil, steps), "disk": nil, "record": nil,
	} {
		if err := os.WriteFile(path(name), content, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Truncate(path("disk"), diskSize), os.Truncate(path("record"), 1<<30)); err != nil {
		t.Fatal(err)
	}
	lab.Run(t, "mkfs.ext4", "-q", "-m", "0", "-J", "size=4", "-E", "lazy_itable_init=0,lazy_journal_init=0", path("disk"))
	if empty, err = os.ReadFile(path("disk")); err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Guest(t, dir, guestInit, 256, "ubda="+path("disk"), "ubdb="+path("record")); err != nil {
		t.Fatal(err)
	}
	record, err := os.Open(path("record"))
	if err != nil {
		t.Fatal(err)
	}
	defer record.Close()
	if all, err = readRecord(record); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path("acks"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var a ack
		if err := json.Unmarshal([]byte(line), &a); err != nil || a.Number != len(acks)+1 {
			t.Fatalf("%q is no acknowledgement number %d: %v", line, len(acks)+1, err)
		}
		acks = append(acks, a)
	}
	return empty, all, acks
}

// checkDisk mounts a disk, as the next start after a power cut does, and holds what is on it against what was acknowledged.
func checkDisk(t testing.TB, dir string, d disk, said []ack) (err error) {
	t.Helper()
	image, mounted := filepath.Join(dir, "image"), filepath.Join(dir, "mounted")
	if err := errors.Join(os.WriteFile(image, d, 0o600), os.MkdirAll(mounted, 0o700)); err != nil {
		return err
	}
	if out, err := exec.Command("mount", "-t", "ext4", "-o", "loop", image, mounted).CombinedOutput(); err != nil {
		return fmt.Errorf("mount: %w: %s", err, out)
	}
	defer func() {
		// Lazily, since a file that could not be opened may still be open.
		if out, uerr := exec.Command("umount", "--lazy", mounted).CombinedOutput(); uerr != nil {
			err = errors.Join(err, fmt.Errorf("umount: %w: %s", uerr, out))
		}
	}()
	file, err := accounting.NewFile(filepath.Join(mounted, recordsFile), 0)
	if err != nil {
		return err
	}
	defer file.Close()
	b, err := openBooks(mounted, file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.check(); err != nil {
		return err
	}
	return errors.Join(checkUsers(b, said), checkLeases(b, said), checkSessions(b, filepath.Join(mounted, recordsFile), said))
}

// checkUsers: each user is at the step that was acknowledged last, or at the one after it, and each step has its audit event.
func checkUsers(b *books, said []ack) error {
	step := make(map[string]int)
	for _, a := range said {
		if a.What == "user" {
			step[a.Name] = a.Step
		}
	}
	report, err := b.store.VerifyAudit(context.Background(), store.Fingerprint{})
	if err != nil || report.Problem != "" {
		return fmt.Errorf("audit trail: %w, %s", err, report.Problem)
	}
	events, err := b.store.AuditEvents(context.Background(), 1, report.Last, "")
	if err != nil {
		return err
	}
	audited := make(map[string]int)
	for _, e := range events {
		audited[e.Resource]++
	}
	for name, acked := range step {
		u, err := store.Get[store.User](b.store, name)
		now := 0
		switch {
		case err == nil:
			now = u.MaxSessions
		case !errors.Is(err, store.ErrNotFound):
			return err
		case acked >= lastStep-1:
			now = lastStep
		}
		if now != acked && now != acked+1 || audited[name] != now {
			return fmt.Errorf("%s: step %d was acknowledged, found %d with %d audit events", name, acked, now, audited[name])
		}
	}
	return nil
}

// checkLeases: each user gets the address that was saved.
func checkLeases(b *books, said []ack) error {
	for _, a := range said {
		if a.What != "lease" {
			continue
		}
		addr, err := b.pools.Lease(poolName, a.Name, "sessions/new")
		if err != nil || addr.String() != a.Value {
			return fmt.Errorf("lease of %s: %v, %w, saved was %s", a.Name, addr, err, a.Value)
		}
	}
	return nil
}

// checkSessions: when the ledger has sent what it has, each session that has begun has one Start and one Stop.
func checkSessions(b *books, path string, said []ack) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var running sync.WaitGroup
	run, stop := context.WithCancel(context.Background())
	running.Go(func() { _ = b.ledger.Run(run) }) // ends with run
	err := b.ledger.Drain(ctx)
	stop()
	running.Wait()
	if err != nil {
		return err
	}
	found, err := readRecords(path)
	if err != nil {
		return err
	}
	for _, a := range said {
		if a.What == "start" && len(found.starts[a.Name]) != 1 {
			return fmt.Errorf("session %s has begun, and has %d Starts", a.Name, len(found.starts[a.Name]))
		}
	}
	return found.balanced()
}
