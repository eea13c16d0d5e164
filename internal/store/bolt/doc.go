// Package bolt is the store's key-value contract on one bbolt file, for an instance that stands alone.
//
// It owns the file and its lock. The daemon opens it once; a second process is refused with store.ErrLocked. Open
// starts one goroutine, the writer, which ends with Close; it alone writes, and takes all commits that wait for it into
// one transaction, so that many of them cost one fsync and a lone one waits for nobody.
//
// The file has three buckets:
//
//	meta  format, epoch, revision, compacted
//	kv    key → revision (8 octets, big-endian), value
//	log   revision (8 octets, big-endian) → the operations of that commit; the oldest are trimmed
package bolt
