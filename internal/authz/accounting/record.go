package accounting

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"concentrator/internal/authz"
	"concentrator/internal/tenant"
)

// Session is what every record of one session says of it.
type Session struct {
	authz.Caller
	User            string // as the backend calls the user in accounting, otherwise as the peer logged in
	Domain          string // the Windows domain that decided; may be empty
	Method          tenant.AuthMethod
	Local           bool   // the own user table let it in, not a RADIUS server: Acct-Authentic, RFC 2866 section 5.6
	Server          string // resource name of the RADIUS server that let it in; may be empty
	Address         netip.Addr
	Routes          []netip.Prefix // networks behind the peer
	Class           [][]byte       // RFC 2865 section 5.25: unread and in order
	Started         time.Time
	InterimInterval time.Duration // between interim records; 0: none
}

// Counters are what a session has carried since its begin, inner packets only. In is from the client (RFC 2866 section
// 5.3: octets that "have been received from the port"), Out to the client.
type Counters struct {
	InBytes, OutBytes, InPackets, OutPackets uint64
}

// Live is what one live session has carried so far.
type Live struct {
	ID       string // Session.SessionID
	Counters Counters
}

// Status is what a record tells: Acct-Status-Type, RFC 2866 section 5.1.
type Status uint8

// The kinds of records. On and Off are of a tenant and have no Session.
const (
	Start   Status = iota + 1
	Interim        // Interim-Update
	Stop
	On  // Accounting-On: this server has started, no session from before lives
	Off // Accounting-Off: it goes down, all sessions have ended
)

// statusWords are the statuses as they are stored and shown.
var statusWords = [...]string{Start: "START", Interim: "INTERIM", Stop: "STOP", On: "ON", Off: "OFF"}

// String implements fmt.Stringer.
func (s Status) String() string {
	if s < Start || s > Off {
		return fmt.Sprintf("Status(%d)", uint8(s))
	}
	return statusWords[s]
}

// barrier says whether a record is of the tenant as a whole, so that its place among all others counts.
func (s Status) barrier() bool { return s == On || s == Off }

// Record is one thing that happened, to be told to a Sink.
type Record struct {
	ID       uint64 // order in the ledger; no two records of one Storage ever have the same
	Status   Status
	Tenant   string    // ID of the tenant
	Time     time.Time // when it happened, which may be long ago
	Session  *Session  // nil with On and Off
	Counters Counters
	Duration time.Duration // of the session so far
	Cause    tenant.Reason // of a Stop; empty when Crash is set
	Detail   string        // of a Stop; one sentence for operators
	// Crash says of a Stop that the session ended because this process did (NAS-Reboot): Counters and Time are what was
	// last known of it.
	Crash bool
	// Attempts is how often a Sink has failed to take the record, since the process started.
	Attempts int
}

// Sink takes records. Implementations are safe for concurrent use; records of one session come one after the other.
type Sink interface {
	// Account tells one record. Nil means that it is acknowledged and need not be told again; with any error, the same
	// record comes again later. It may block until ctx ends, and keeps nothing of r after it returns.
	Account(ctx context.Context, r Record) error
}

// Item is one key of a Storage with its value.
type Item struct {
	Key   string // at most 1024 octets
	Value []byte // at most 512 KiB; borrowed until the call that it is given to returns
}

// MaxOps is how many puts and deletions one Storage.Commit is given at most.
const MaxOps = 100

// Storage is where a Ledger keeps its items, which are all that it holds. Only one Ledger may use it at a time.
// Implementations are safe for concurrent use.
type Storage interface {
	// Load calls fn with every item, in any order, and ends with fn's error if that is not nil. The value is borrowed
	// until fn returns.
	Load(fn func(key string, value []byte) error) error
	// Get returns the value of one key, the caller's own. A key that is not there is an error.
	Get(key string) ([]byte, error)
	// Commit does all puts and deletions, at most MaxOps together and no key twice, or nothing. Once it has returned
	// nil, they survive the death of the process. Deleting a key that is not there is no error.
	Commit(puts []Item, deletes []string) error
}
