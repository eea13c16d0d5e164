//go:build interop

package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"concentrator/internal/authz/accounting"
	"concentrator/internal/ippool"
	"concentrator/internal/session"
	"concentrator/internal/store"
	"concentrator/internal/store/bolt"
	"concentrator/internal/tenant"
)

// writerDir in the environment makes this test binary the writer: of the guest whose disk is recorded. It writes what the daemon
// does, by the daemon's own code, into that folder.
const writerDir = "CRASH_WRITER"

// writerSteps in the folder of the binary says how much.
const writerSteps = "steps"

// ack is something that was acknowledged. One with a higher number came later.
type ack struct {
	Number int
	What   string // user, start, stop, lease
	Name   string
	Step   int    // of a user
	Value  string // of a lease: the address
}

// marker numbers what is acknowledged, prints it, and puts its number among the writes.
type marker struct {
	mu   sync.Mutex
	next int
	err  error
}

func (m *marker) ack(a ack) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	a.Number = m.next
	line, err := json.Marshal(a)
	if err == nil {
		_, err = os.Stdout.Write(append(line, '\n'))
	}
	m.err = errors.Join(m.err, err, mark(strconv.Itoa(a.Number)))
}

// mark tells the device-mapper's target "log", as `dmsetup message log 0 mark TEXT` does in ten times the time.
func mark(text string) error {
	const (
		headLen = 312     // struct dm_ioctl of linux/dm-ioctl.h
		nameAt  = 48      // in it
		message = 14      // DM_TARGET_MSG
		group   = 0xfd    // of the device-mapper's ioctls
		both    = 3 << 30 // it is written and read
		version = 4       // of the interface
		msgLen  = 8       // struct dm_target_msg: a sector, then the text
		target  = "log"   // the name of the device
		prefix  = "mark " // what to do
		control = "/dev/mapper/control"
	)
	b := make([]byte, headLen+msgLen, headLen+msgLen+len(prefix)+len(text)+1)
	b = append(append(append(b, prefix...), text...), 0)
	head := (*[5]uint32)(unsafe.Pointer(&b[0]))
	head[0], head[3], head[4] = version, uint32(len(b)), headLen
	copy(b[nameAt:], target)
	f, err := os.OpenFile(control, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	request := uintptr(both | headLen<<16 | group<<8 | message)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(&b[0]))); errno != 0 {
		return fmt.Errorf("mark %s: %w", text, errno)
	}
	return nil
}

// books are the files of a state directory, open as the daemon has them.
type books struct {
	state, leases, accounts *bolt.DB
	store                   *store.Store
	pools                   *ippool.Pools
	storage                 ippool.Storage
	ledger                  *accounting.Ledger
}

// The names of the files, which docs/operations.md gives to operators.
const (
	stateFile   = "state.db"
	leasesFile  = "leases.db"
	ledgerFile  = "accounting.db"
	recordsFile = "accounting.log"
	poolName    = "tenants/acme/pools/main"
)

// openBooks opens or makes them. Records go to sink.
func openBooks(dir string, sink accounting.Sink) (b *books, err error) {
	b = &books{pools: ippool.New()}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.state, err = bolt.Open(filepath.Join(dir, stateFile)); err != nil {
		return b, err
	}
	if b.store, err = store.Open(context.Background(), b.state, filepath.Join(dir, "master.key")); err != nil {
		return b, err
	}
	short := bolt.Options{LogRevisions: 1, LogBytes: 1}
	if b.leases, err = bolt.OpenWith(filepath.Join(dir, leasesFile), short); err != nil {
		return b, err
	}
	b.storage = session.LeaseStorage(b.leases)
	if err = b.pools.Load(b.storage); err != nil {
		return b, err
	}
	if err = b.pools.Configure(poolName, ippool.Spec{Ranges: []string{"10.8.0.0/16"}}); err != nil {
		return b, err
	}
	if b.accounts, err = bolt.OpenWith(filepath.Join(dir, ledgerFile), short); err != nil {
		return b, err
	}
	b.ledger, err = accounting.Open(accounting.Config{
		Storage: session.LedgerStorage(b.accounts), Log: slog.New(slog.DiscardHandler),
		Sink: func(string) (accounting.Sink, bool) { return sink, true },
	})
	return b, err
}

// check walks over the files page by page.
func (b *books) check() error {
	return errors.Join(b.state.Check(), b.leases.Check(), b.accounts.Check())
}

func (b *books) close() (err error) {
	for _, db := range []*bolt.DB{b.state, b.leases, b.accounts} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	return err
}

// writer is the program in the guest.
func writer(dir string) error {
	text, err := os.ReadFile(filepath.Join(filepath.Dir(os.Args[0]), writerSteps))
	if err != nil {
		return err
	}
	steps, err := strconv.Atoi(string(text))
	if err != nil {
		return err
	}
	file, err := accounting.NewFile(filepath.Join(dir, recordsFile), 0)
	if err != nil {
		return err
	}
	b, err := openBooks(dir, file)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	running := make(chan error, 1)
	go func() { running <- b.ledger.Run(ctx) }()
	var m marker
	failed := make(chan error, 3)
	for _, f := range []func(*books, int, *marker) error{writeUsers, writeSessions, writeLeases} {
		go func() { failed <- f(b, steps, &m) }()
	}
	err = errors.Join(<-failed, <-failed, <-failed, m.err)
	cancel()
	<-running //nolint:errcheck // ctx's own
	return errors.Join(err, file.Close(), b.close())
}

// writeUsers takes users through their steps, each with its event of the audit trail, as the API does.
func writeUsers(b *books, steps int, m *marker) error {
	if err := store.Create(b.store, &store.Tenant{Meta: store.Meta{Name: "tenants/acme"}}); err != nil {
		return err
	}
	for n := range steps {
		name := fmt.Sprintf("%s/u%d", users, n/lastStep)
		i := n%lastStep + 1
		also := store.WithAudit(&store.AuditEvent{Tenant: "tenants/acme", Method: "Step", Resource: name, Code: "OK"}, nil)
		u := &store.User{Meta: store.Meta{Name: name}, Password: tenant.Secret("secret"), MaxSessions: i}
		var err error
		switch i {
		case 1:
			err = store.Create(b.store, u, also)
		case lastStep:
			err = store.Delete[store.User](b.store, name, "", also)
		default:
			err = store.Update(b.store, u, also)
		}
		if err != nil {
			return err
		}
		m.ack(ack{What: "user", Name: name, Step: i})
	}
	return nil
}

// writeSessions begins and ends sessions, two at a time.
func writeSessions(b *books, steps int, m *marker) error {
	stop := func(id string) error {
		err := b.ledger.Stop(id, accounting.Counters{InBytes: 9, InPackets: 1}, tenant.ReasonUserRequest, "", time.Now())
		if err == nil {
			m.ack(ack{What: "stop", Name: id})
		}
		return err
	}
	for n := range steps / 2 {
		s := accounting.Session{User: "alice", Started: time.Now()}
		s.Tenant, s.SessionID = "acme", fmt.Sprintf("s%d", n)
		if err := b.ledger.Start(s); err != nil {
			return err
		}
		m.ack(ack{What: "start", Name: s.SessionID})
		if n > 0 {
			if err := stop(fmt.Sprintf("s%d", n-1)); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeLeases gives users addresses and saves them.
func writeLeases(b *books, steps int, m *marker) error {
	for n := range steps {
		user := fmt.Sprintf("user%d", n)
		addr, err := b.pools.Lease(poolName, user, "sessions/"+user)
		if err != nil {
			return err
		}
		if err := b.pools.Save(b.storage); err != nil {
			return err
		}
		m.ack(ack{What: "lease", Name: user, Value: addr.String()})
	}
	return nil
}
