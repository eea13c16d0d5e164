package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"

	bbolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"concentrator/internal/store"
)

// format is the version of the file's layout.
const format = 1

var (
	metaBucket = []byte("meta")
	kvBucket   = []byte("kv")
	logBucket  = []byte("log")

	formatKey    = []byte("format")
	epochKey     = []byte("epoch")
	revisionKey  = []byte("revision")
	compactedKey = []byte("compacted")
	probeKey     = []byte("probe") // not there but during a probe, or when one was cut off; see try
)

// Options change how a file is opened; zero fields have defaults.
type Options struct {
	LockTimeout  time.Duration // how long to wait for another process to let go; default 1 s
	LogRevisions int           // commits that a watch can go back to, within LogBytes; default 16384
	LogBytes     int           // octets of operations that the log keeps at most; default 32 MiB

	// Committed is told of each commit how long it took, waiting for others included, and its error. It is called by whoever
	// commits, by several at once, and must not block. nil: nobody wants to know.
	Committed func(took time.Duration, err error)

	// Written is told of each transaction whether it could be written, in their order, before those who wait for it are. It is
	// called by the writer, and must not block. nil: nobody wants to know.
	Written func(err error)
}

func (o Options) withDefaults() Options {
	if o.LockTimeout == 0 {
		o.LockTimeout = time.Second
	}
	if o.LogRevisions == 0 {
		o.LogRevisions = 1 << 14
	}
	if o.LogBytes == 0 {
		o.LogBytes = 32 << 20
	}
	return o
}

// DB is a store.KV on one file.
type DB struct {
	db        *bbolt.DB
	file      *os.File // the db's
	epoch     string
	committed func(time.Duration, error) // may be nil
	written   func(error)                // may be nil

	requests chan *request // to the writer; unbuffered, so that what was sent is answered
	closing  chan struct{}
	closed   chan struct{} // the writer has ended
	once     sync.Once
	closeErr error

	mu      sync.Mutex
	rev     int64
	changed chan struct{} // closed and replaced when rev rises

	log      changeLog // the writer's
	doubtful bool      // the writer's: the disk may not have what the file is read as, see settle
	refused  int       // the writer's: octets of the last group that could not be written
}

var _ store.KV = (*DB)(nil)

// Open opens the file at path, and makes it and its directory when missing. Errors: store.ErrLocked when another
// process has it open, store.ErrCorrupt when its pages can't be read, store.ErrSchemaTooNew when a newer program made
// it.
func Open(path string) (*DB, error) { return OpenWith(path, Options{}) }

// OpenWith is Open with other bounds than the defaults.
func OpenWith(path string, o Options) (*DB, error) {
	o = o.withDefaults()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	if err := errors.Join(dropUnborn(path), checkSize(path, o)); err != nil {
		return nil, openError(path, err)
	}
	var b *bbolt.DB
	var file *os.File
	options := &bbolt.Options{
		Timeout: o.LockTimeout, FreelistType: bbolt.FreelistMapType,
		OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		},
	}
	err := guard(func() (err error) {
		b, err = bbolt.Open(path, 0o600, options)
		return err
	})
	if err != nil {
		return nil, openError(path, err)
	}
	d := &DB{
		db: b, file: file, committed: o.Committed, written: o.Written, doubtful: true,
		requests: make(chan *request),
		closing:  make(chan struct{}),
		closed:   make(chan struct{}),
		changed:  make(chan struct{}),
		log:      changeLog{maxRevisions: o.LogRevisions, maxBytes: o.LogBytes},
	}
	if err := guard(d.load); err != nil {
		return nil, openError(path, errors.Join(err, b.Close()))
	}
	go d.write()
	return d, nil
}

// dropUnborn empties a file that was being made when the power went, and has only zeros: no commit leaves that, so nothing is lost. It
// leaves alone what another process has open.
func dropUnborn(path string) (err error) {
	info, err := os.Stat(path)
	if err != nil || info.Size() == 0 || info.Size() > int64(bornSize) || !info.Mode().IsRegular() {
		return nil //nolint:nilerr // whoever opens it says so
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil //nolint:nilerr // likewise
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return nil
	}
	content := make([]byte, bornSize+1)
	n, err := io.ReadFull(f, content)
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(bytes.Trim(content[:n], "\x00")) > 0 {
		return nil
	}
	return f.Truncate(0)
}

// checkSize refuses a file that was cut off: bbolt would map pages that are not there, and reading them kills the
// process. It opens the file for reading first, since only then no page but the first two is touched.
func checkSize(path string, o Options) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return guard(func() error {
		b, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: o.LockTimeout, ReadOnly: true})
		_, system := errors.AsType[syscall.Errno](err)
		switch {
		case err == nil:
		case system, errors.Is(err, bolterrors.ErrTimeout):
			return err
		default:
			return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
		}
		err = b.View(func(tx *bbolt.Tx) error {
			if info, err = os.Stat(path); err != nil {
				return err
			}
			if tx.Size() > info.Size() {
				return fmt.Errorf("%w: %d octets long, should be %d", store.ErrCorrupt, info.Size(), tx.Size())
			}
			return nil
		})
		return errors.Join(err, b.Close())
	})
}

// guard turns what bbolt does on a damaged page, a panic or a fault on mapped memory, into an error.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", store.ErrCorrupt, p)
		}
	}()
	return f()
}

func openError(path string, err error) error {
	if errors.Is(err, bolterrors.ErrTimeout) {
		return fmt.Errorf("state directory %s is %w", filepath.Dir(path), store.ErrLocked)
	}
	return fmt.Errorf("open %s: %w", path, err)
}

// bornSize is how long bbolt makes a new file, in octets: four pages. The first commit makes it longer.
var bornSize = 4 * os.Getpagesize()

// errEmpty is how load's reading says that the file is a new one.
var errEmpty = errors.New("no buckets yet")

// load makes the buckets of a new file, or reads the state of an old one and walks over all its keys once. It writes to
// an old one nothing: a file that is damaged must not be damaged more.
func (d *DB) load() error {
	err := d.read()
	if errors.Is(err, errEmpty) {
		return d.db.Update(d.create)
	}
	return err
}

func (d *DB) read() error {
	return d.db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		if meta == nil {
			if name, _ := tx.Cursor().First(); name != nil {
				return fmt.Errorf("%w: not a file of this program", store.ErrCorrupt)
			}
			return errEmpty
		}
		version, err := strconv.Atoi(string(meta.Get(formatKey)))
		if err != nil || version < 1 {
			return fmt.Errorf("%w: file format %q", store.ErrCorrupt, meta.Get(formatKey))
		}
		if version > format {
			return fmt.Errorf("file format %d, this program knows up to %d: %w", version, format, store.ErrSchemaTooNew)
		}
		d.epoch = string(meta.Get(epochKey))
		d.rev = readRev(meta.Get(revisionKey))
		kv, log := tx.Bucket(kvBucket), tx.Bucket(logBucket)
		if d.epoch == "" || d.rev < 1 || kv == nil || log == nil {
			return fmt.Errorf("%w: incomplete", store.ErrCorrupt)
		}
		if err := kv.ForEach(func(k, v []byte) error {
			if len(v) < revSize {
				return fmt.Errorf("%w: key %q", store.ErrCorrupt, k)
			}
			return nil
		}); err != nil {
			return err
		}
		return d.log.load(log, readRev(meta.Get(compactedKey)), d.rev)
	})
}

func (d *DB) create(tx *bbolt.Tx) error {
	for _, name := range [][]byte{metaBucket, kvBucket, logBucket} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	d.epoch, d.rev = string(newEpoch()), 1
	d.log.compacted = 1
	meta := tx.Bucket(metaBucket)
	for _, e := range []struct{ k, v []byte }{
		{formatKey, strconv.AppendInt(nil, format, 10)},
		{epochKey, []byte(d.epoch)},
		{revisionKey, appendRev(nil, d.rev)},
		{compactedKey, appendRev(nil, d.log.compacted)},
	} {
		if err := meta.Put(e.k, e.v); err != nil {
			return err
		}
	}
	return nil
}

// Close implements store.KV.
func (d *DB) Close() error {
	d.once.Do(func() {
		close(d.closing)
		<-d.closed
		d.wake()
		d.closeErr = d.db.Close()
	})
	return d.closeErr
}

// Check walks over the whole file and returns the first thing that is wrong with it, for tests and after a restore.
func (d *DB) Check() error {
	return d.db.View(func(tx *bbolt.Tx) error {
		var errs []error
		for err := range tx.Check() {
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

// Epoch implements store.KV.
func (d *DB) Epoch() string { return d.epoch }

// Revision implements store.KV.
func (d *DB) Revision(ctx context.Context) (int64, error) {
	if err := d.usable(ctx); err != nil {
		return 0, err
	}
	rev, _ := d.state()
	return rev, nil
}

// usable returns why a call can't begin.
func (d *DB) usable(ctx context.Context) error {
	select {
	case <-d.closing:
		return store.ErrClosed
	default:
		return ctx.Err()
	}
}

// state returns the revision, and a channel that is closed when there is a higher one.
func (d *DB) state() (rev int64, changed <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rev, d.changed
}
