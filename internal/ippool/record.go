package ippool

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	recordVersion = 1
	// maxUser is the longest user name that is kept, in octets. A longer one loses its address at a restart.
	maxUser = 256
	// MaxValue is more than any value in a Storage has: 256 names of maxUser octets in base64, and what is around them.
	MaxValue = 256 * (maxUser*4/3 + 64)
)

// record is the value of a block.
type record struct {
	Version int           `json:"v"`
	Leases  []recordLease `json:"leases"`
}

// recordLease is who had an address last.
type recordLease struct {
	Host     uint32 `json:"host"`               // the address behind the block's first
	User     []byte `json:"user,omitempty"`     // octets as a client sent them, which need not be UTF-8
	Released int64  `json:"released,omitempty"` // Unix seconds; 0: it was held
}

// encodeBlock makes a value of the addresses of one block; those with a time of zero are held. nil: there is nothing to
// keep.
func encodeBlock(list []released) []byte {
	r := record{Version: recordVersion}
	for _, l := range list {
		if len(l.user) > maxUser {
			continue
		}
		one := recordLease{Host: l.addr & (1<<(32-blockBits) - 1), User: []byte(l.user)}
		if !l.at.IsZero() {
			one.Released = l.at.Unix()
		}
		r.Leases = append(r.Leases, one)
	}
	if len(r.Leases) == 0 {
		return nil
	}
	value, err := json.Marshal(r)
	if err != nil {
		return nil // can't be: a record holds numbers and octets
	}
	return value
}

// decodeBlock is the inverse of encodeBlock. No address is twice in what it returns.
func decodeBlock(b block, value []byte) ([]released, error) {
	if len(value) > MaxValue {
		return nil, fmt.Errorf("%d octets, at most %d", len(value), MaxValue)
	}
	var r record
	if err := json.Unmarshal(value, &r); err != nil {
		return nil, err
	}
	if r.Version != recordVersion {
		return nil, fmt.Errorf("version %d, not %d", r.Version, recordVersion)
	}
	list := make([]released, 0, min(len(r.Leases), 1<<(32-blockBits)))
	var seen [1 << (32 - blockBits)]bool
	for _, l := range r.Leases {
		if l.Host >= uint32(len(seen)) || seen[l.Host] || len(l.User) > maxUser || l.Released < 0 {
			return nil, errors.New("an address that can't be, or is there twice")
		}
		seen[l.Host] = true
		one := released{addr: b.base + l.Host, user: string(l.User)}
		if l.Released > 0 {
			one.at = time.Unix(l.Released, 0)
		}
		list = append(list, one)
	}
	return list, nil
}
