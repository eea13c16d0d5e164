package bolt

import (
	"encoding/binary"
	"fmt"
	"strings"

	bbolt "go.etcd.io/bbolt"

	"concentrator/internal/store"
)

// changeLog counts what is in the log bucket, so that trimming need not. It belongs to the writer.
type changeLog struct {
	maxRevisions, maxBytes int

	compacted int64 // the last revision that was trimmed, or that never was in the log
	revisions int
	bytes     int
}

// load counts the log of a file and sees that it has each revision after compacted up to rev.
func (l *changeLog) load(log *bbolt.Bucket, compacted, rev int64) error {
	l.compacted = compacted
	want := compacted
	err := log.ForEach(func(k, v []byte) error {
		want++
		if readRev(k) != want {
			return fmt.Errorf("%w: change log has revision %d where %d should be", store.ErrCorrupt, readRev(k), want)
		}
		l.revisions++
		l.bytes += len(v)
		_, err := appendEvents(nil, want, v, "")
		return err
	})
	if err == nil && want != rev {
		return fmt.Errorf("%w: change log ends at revision %d, not %d", store.ErrCorrupt, want, rev)
	}
	return err
}

// add writes the operations of one commit, and returns how the log then is; the caller takes that over when the
// transaction is through.
func (l changeLog) add(log *bbolt.Bucket, rev int64, ops []store.Op) (changeLog, error) {
	v := encodeOps(ops)
	l.revisions++
	l.bytes += len(v)
	return l, log.Put(appendRev(nil, rev), v)
}

// trim drops the oldest commits when there are more than an eighth too many: not one with each commit, since that
// would touch the pages at both ends each time. The newest always stays.
func (l changeLog) trim(log *bbolt.Bucket) (changeLog, error) {
	if l.revisions <= l.maxRevisions+l.maxRevisions/8 && l.bytes <= l.maxBytes+l.maxBytes/8 {
		return l, nil
	}
	c := log.Cursor()
	for l.revisions > 1 && (l.revisions > l.maxRevisions || l.bytes > l.maxBytes) {
		k, v := c.First()
		l.compacted = readRev(k)
		l.revisions--
		l.bytes -= len(v)
		if err := c.Delete(); err != nil {
			return l, err
		}
	}
	return l, nil
}

// The operations of a commit lie in the log one after the other: a 0 for a put or 1 for a deletion, then key and, for a
// put, value, each behind its length as a varint.
const (
	logPut    = 0
	logDelete = 1
)

func encodeOps(ops []store.Op) []byte {
	size := 0
	for _, op := range ops {
		size += 1 + 2*binary.MaxVarintLen32 + len(op.Key) + len(op.Value)
	}
	b := make([]byte, 0, size)
	for _, op := range ops {
		if op.Delete {
			b = appendText(append(b, logDelete), op.Key)
			continue
		}
		b = appendText(append(b, logPut), op.Key)
		b = appendText(b, string(op.Value))
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendEvents appends the operations in b on keys that begin with prefix. The events own their memory.
func appendEvents(events []store.Event, rev int64, b []byte, prefix string) ([]store.Event, error) {
	corrupt := fmt.Errorf("%w: change log at revision %d", store.ErrCorrupt, rev)
	text := func() (string, bool) {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return "", false
		}
		s := string(b[used : used+int(n)])
		b = b[used+int(n):]
		return s, true
	}
	for len(b) > 0 {
		e := store.Event{Rev: rev, Deleted: b[0] == logDelete}
		if b[0] > logDelete {
			return nil, corrupt
		}
		b = b[1:]
		var ok bool
		if e.Key, ok = text(); !ok {
			return nil, corrupt
		}
		if !e.Deleted {
			value, ok := text()
			if !ok {
				return nil, corrupt
			}
			e.Value = []byte(value)
		}
		if strings.HasPrefix(e.Key, prefix) {
			events = append(events, e)
		}
	}
	return events, nil
}
