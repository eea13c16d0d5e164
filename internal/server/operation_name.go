package server

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
	"sync"
	"time"
)

// operationIDs makes IDs whose order is that of time. It is safe for concurrent use.
type operationIDs struct {
	mu   sync.Mutex
	last time.Time
}

// next makes an ID: the time in UTC to the millisecond, each only once, and four characters that can't be guessed, so that
// another start with another clock does not make it again.
func (i *operationIDs) next(now time.Time) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	now = now.UTC().Truncate(time.Millisecond)
	if !now.After(i.last) {
		now = i.last.Add(time.Millisecond)
	}
	i.last = now
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	random := strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))[:4]
	return strings.Replace(now.Format("20060102-150405.000"), ".", "", 1) + "-" + random
}

// operationName is the resource name of an operation of a tenant, or with an empty parent of none.
func operationName(parent, id string) string {
	if parent == "" {
		return "operations/" + id
	}
	return parent + "/operations/" + id
}
