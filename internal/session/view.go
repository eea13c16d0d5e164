package session

import (
	"errors"
	"net/netip"
	"time"

	"concentrator/internal/tenant"
)

// ErrNotFound is returned when a session name is not, or no longer, that of a live session.
var ErrNotFound = errors.New("session: no such session")

// ErrNoLockout is returned when a lockout's name is not, or no longer, that of one.
var ErrNoLockout = errors.New("session: no such lockout")

// ErrExpired is returned by a watch whose token is older than the events kept, or of another run of the daemon.
var ErrExpired = errors.New("session: watch token expired")

// State is where a session stands.
type State string

// The states of a session in their usual order.
const (
	StateEstablishing   State = "ESTABLISHING"
	StateAuthenticating State = "AUTHENTICATING"
	StateOpen           State = "OPEN"
	StateClosing        State = "CLOSING"
)

// Info is what one session looks like from outside, at one moment.
type Info struct {
	Name          string // tenants/{tenant}/sessions/{session}
	Tenant        string // tenants/{tenant}; empty before the tenant is known
	User          string
	Protocol      tenant.Protocol
	State         State
	Listener      string
	ClientAddress netip.AddrPort // outer
	NATDetected   bool
	Address       netip.Addr // inner
	Profile       string
	AuthMethod    tenant.AuthMethod
	Cipher        string // "MPPE-128", "NONE", …; empty before it is negotiated
	MTU           int
	Shard         int
	StartTime     time.Time
	IdleTime      time.Duration
	InBytes       uint64 // octets of inner IP packets from the client
	OutBytes      uint64
	InPackets     uint64
	OutPackets    uint64
	Drops         map[string]uint64 // by reason, only those that happened
	RateLimit     tenant.RateLimit  // its profile's, or the backend's
	ACL           string            // full resource name of its access list; empty: none
}

// Outcome of a login attempt.
type Outcome string

// The outcomes.
const (
	OutcomeAccepted Outcome = "ACCEPTED"
	OutcomeRefused  Outcome = "REFUSED"
)

// LoginAttempt is one login that succeeded or failed, kept for the question "why did this login fail?".
type LoginAttempt struct {
	Name          string // tenants/{tenant}/logins/{login}, or logins/{login} before the tenant is known
	Tenant        string
	Time          time.Time
	Protocol      tenant.Protocol
	ClientAddress netip.AddrPort
	User          string
	Stage         tenant.Stage
	Outcome       Outcome
	Reason        tenant.Reason
	Detail        string
	Trace         LoginTrace // of the last verdict
}

// LoginFilter chooses login attempts; an empty field matches all.
type LoginFilter struct {
	Tenant  string // tenants/{tenant}
	User    string
	Peer    netip.Addr
	Outcome Outcome
}

// InstanceInfo describes the running instance.
type InstanceInfo struct {
	Name        string
	Version     string
	StartTime   time.Time
	Shards      int
	MaxSessions int
	Sessions    int
	Draining    bool
	Accepted    int64 // log-ins since the start
	Refused     int64
	ShardStats  []ShardInfo
}

// ShardInfo is one shard's counters since start.
type ShardInfo struct {
	Shard      int
	Sessions   int
	InPackets  uint64
	OutPackets uint64
	WrongShard uint64
	CPUTime    time.Duration
	Drops      map[string]uint64
}
