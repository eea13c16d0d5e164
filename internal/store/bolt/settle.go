package bolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bbolt "go.etcd.io/bbolt"
)

// metaPages is how many pages at the begin of the file name the newest transaction: each is written by every second one.
const metaPages = 2

// settle sees that the disk has what the file is read as. It does something before the first transaction of a process and
// after one that failed.
//
// When the disk refuses a page the kernel keeps it in memory, takes it for written, and reports the error once. So a
// transaction of which only the last step failed can be read from then on, in this process and the next, and is not on the
// disk: the next transaction would take pages for free that are still those of what is there, and a power cut in the middle of
// it would leave neither. So the last step is done again first. Who made that transaction was told that it failed; as it is
// there after all, it gets its place among the revisions.
func (d *DB) settle() error {
	if !d.doubtful {
		return nil
	}
	if err := rewrite(d.file, metaPages*d.db.Info().PageSize); err != nil {
		return err
	}
	err := d.db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		is := readRev(meta.Get(revisionKey))
		if known, _ := d.state(); is == known {
			return nil
		}
		log := changeLog{maxRevisions: d.log.maxRevisions, maxBytes: d.log.maxBytes}
		if err := log.load(tx.Bucket(logBucket), readRev(meta.Get(compactedKey)), is); err != nil {
			return err
		}
		d.log = log
		d.advance(is)
		return nil
	})
	d.doubtful = err != nil
	return err
}

// rewrite has the first octets of a file, as they are read, written to the disk, and the file's name with them.
func rewrite(f *os.File, n int) error {
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil {
		return err
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(f.Name()))
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err = errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("make names durable: %w", err)
	}
	return nil
}
