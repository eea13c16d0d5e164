package tenant

import (
	"log/slog"
	"time"
)

// Protocol is what a listener accepts and a session was built over.
type Protocol string

// The protocols of the product.
const (
	ProtocolPPTP      Protocol = "PPTP"
	ProtocolL2TPIPsec Protocol = "L2TP_IPSEC"
	ProtocolL2TP      Protocol = "L2TP"
)

// AuthMethod is a PPP authentication method.
type AuthMethod string

// The methods a profile may list. MS-CHAPv1 does not exist here.
const (
	AuthPAP      AuthMethod = "PAP"
	AuthCHAP     AuthMethod = "CHAP" // CHAP with MD5, RFC 1994
	AuthMSCHAPv2 AuthMethod = "MSCHAPV2"
	AuthEAP      AuthMethod = "EAP"
)

// MPPEPolicy says whether a PPTP session must, may or must not be encrypted.
type MPPEPolicy string

// MPPE policies. OPTIONAL and DISABLED let a session in the clear only if the profile also allows plaintext.
const (
	MPPERequired MPPEPolicy = "REQUIRED"
	MPPEOptional MPPEPolicy = "OPTIONAL"
	MPPEDisabled MPPEPolicy = "DISABLED"
)

// MPPE is a profile's encryption policy, RFC 3078.
type MPPE struct {
	Policy        MPPEPolicy `json:"policy"`
	KeyBits       []int      `json:"keyBits"` // allowed key lengths, from 128, 56, 40
	AllowStateful bool       `json:"allowStateful"`
}

// DuplicatePolicy says what happens when a user at the limit logs in again.
type DuplicatePolicy string

// Duplicate policies; REPLACE is the default.
const (
	DuplicateDeny    DuplicatePolicy = "DENY"
	DuplicateReplace DuplicatePolicy = "REPLACE"
)

// Backend decides a tenant's logins.
type Backend string

// The backends.
const (
	BackendLocal  Backend = "LOCAL"
	BackendRADIUS Backend = "RADIUS"
)

// Limits bound what one tenant may use. Zero means "no limit of its own" unless a field says otherwise.
type Limits struct {
	MaxSessions        int             `json:"maxSessions,omitempty"`
	MaxSessionsPerUser int             `json:"maxSessionsPerUser,omitempty"`
	DuplicatePolicy    DuplicatePolicy `json:"duplicatePolicy,omitempty"`
	HalfOpenPerSource  *int            `json:"halfOpenPerSource,omitempty"` // nil: 8; 0: off
	LoginsPerSecond    int             `json:"loginsPerSecond,omitempty"`
}

// Echo is a profile's LCP keepalive.
type Echo struct {
	Interval time.Duration `json:"interval"`
	Failures int           `json:"failures"`
}

// RateLimit bounds a session's inner packets, in bits a second, each way of its own; 0: no limit.
type RateLimit struct {
	UpBps   uint64 `json:"upBps,omitempty"`   // from the client
	DownBps uint64 `json:"downBps,omitempty"` // to the client
}

// Bounds of a rate limit in bits a second: what makes sense, and what a shard can count.
const (
	MinRateBps uint64 = 8_000
	MaxRateBps uint64 = 100_000_000_000
)

// DSCP says how the Differentiated Services fields of inner and outer packets are tied, RFC 2983.
type DSCP string

// The models; PIPE is the default.
const (
	DSCPPipe    DSCP = "PIPE"
	DSCPUniform DSCP = "UNIFORM"
)

// KeyPair holds the MPPE start keys as the concentrator uses them: Send encrypts towards the client.
// They are the start keys of RFC 3079 section 3.3, or RADIUS's MS-MPPE-Send-Key and MS-MPPE-Recv-Key; 8 or 16 octets
// count, more are ignored.
type KeyPair struct {
	Send, Recv Secret
}

// Secret is a value that must never be shown. It prints, logs and marshals as "redacted".
type Secret []byte

// String implements fmt.Stringer.
func (Secret) String() string { return "redacted" }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return "redacted" }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue("redacted") }

// MarshalText implements encoding.TextMarshaler, so that no encoder prints a secret by accident.
func (Secret) MarshalText() ([]byte, error) { return []byte("redacted"), nil }
