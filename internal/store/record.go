package store

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"concentrator/internal/tenant"
)

// Meta is what all records have. The store sets everything but Name.
type Meta struct {
	Name       string    `json:"-"` // full resource name
	Etag       string    `json:"-"` // changes with every write; opaque
	CreateTime time.Time `json:"createTime"`
	UpdateTime time.Time `json:"updateTime"`
}

// Tenant is tenants/{tenant}.
type Tenant struct {
	Meta
	DisplayName      string         `json:"displayName,omitempty"`
	Realms           []string       `json:"realms,omitempty"`
	RealmStripping   bool           `json:"realmStripping,omitempty"`
	Suspended        bool           `json:"suspended,omitempty"`
	Limits           tenant.Limits  `json:"limits,omitzero"`
	Network          Network        `json:"network,omitzero"`
	IPsec            IPsec          `json:"ipsec,omitzero"`
	L2TPTunnelSecret tenant.Secret  `json:"-"`
	Backend          tenant.Backend `json:"backend,omitempty"`
}

// Network is where a tenant's traffic goes.
type Network struct {
	Namespace      string `json:"namespace,omitempty"` // empty: the daemon's; else /run/netns/{namespace}
	Device         string `json:"device,omitempty"`    // name of the TUN device; empty: chosen by the daemon
	MTU            int    `json:"mtu,omitempty"`       // octets; 0: 1500
	Masquerade     bool   `json:"masquerade,omitempty"`
	ProxyArp       bool   `json:"proxyArp,omitempty"`
	ClientToClient bool   `json:"clientToClient,omitempty"`
	Uplink         Uplink `json:"uplink,omitzero"`
}

// Uplink is the veth pair between a namespace that the daemon made and its own.
type Uplink struct {
	Address string `json:"address,omitempty"`
	Gateway string `json:"gateway,omitempty"`
}

// IPsec is a tenant's part in IKE.
type IPsec struct {
	PSKs           []PSK         `json:"psks,omitempty"`
	LegacyClients  bool          `json:"legacyClients,omitempty"`
	AggressiveMode bool          `json:"aggressiveMode,omitempty"`
	GroupName      string        `json:"groupName,omitempty"`
	CACertificates []string      `json:"caCertificates,omitempty"` // PEM, each one certificate
	CRLs           []string      `json:"crls,omitempty"`           // PEM, each one list
	IKELifetime    time.Duration `json:"ikeLifetime,omitempty"`    // 0: 8 h
	ESPLifetime    time.Duration `json:"espLifetime,omitempty"`    // 0: 1 h
}

// What a tenant's IPsec has where it says nothing.
const (
	DefaultIKELifetime = 8 * time.Hour
	DefaultESPLifetime = time.Hour
)

// PSK is one pre-shared key; an empty ID is the tenant's for every peer.
type PSK struct {
	ID     string        `json:"id,omitempty"`
	Secret tenant.Secret `json:"-"`
}

// Profile is tenants/{tenant}/profiles/{profile}.
type Profile struct {
	Meta
	AuthMethods         []tenant.AuthMethod `json:"authMethods,omitempty"` // in the order offered
	AllowPlaintext      bool                `json:"allowPlaintext,omitempty"`
	MPPE                tenant.MPPE         `json:"mppe,omitzero"`
	Pool                string              `json:"pool,omitempty"` // full resource name
	DNSServers          []netip.Addr        `json:"dnsServers,omitempty"`
	WINSServers         []netip.Addr        `json:"winsServers,omitempty"`
	ClientRoutes        []netip.Prefix      `json:"clientRoutes,omitempty"` // handed to the client
	DNSSuffix           string              `json:"dnsSuffix,omitempty"`    // handed to the client
	MTU                 int                 `json:"mtu,omitempty"`          // octets of an inner IP packet
	Echo                tenant.Echo         `json:"echo,omitzero"`
	IdleTimeout         time.Duration       `json:"idleTimeout,omitempty"`         // 0: none
	SessionTimeout      time.Duration       `json:"sessionTimeout,omitempty"`      // 0: none
	AcctInterimInterval time.Duration       `json:"acctInterimInterval,omitempty"` // 0: none
	RateLimit           tenant.RateLimit    `json:"rateLimit,omitzero"`
	DSCP                tenant.DSCP         `json:"dscp,omitempty"`
	ACL                 string              `json:"acl,omitempty"`          // full resource name; empty: everything may pass
	AllowedHours        []tenant.HourWindow `json:"allowedHours,omitempty"` // none: always
	TimeZone            string              `json:"timeZone,omitempty"`     // of AllowedHours, for tenant.Zone
}

// What a profile has where it says nothing.
const (
	DefaultMTU          = 1400 // octets: fits any carrier with PPTP or L2TP/IPsec around it
	DefaultEchoInterval = 20 * time.Second
	DefaultEchoFailures = 3
)

// WithDefaults returns the profile with its unset fields filled: MSCHAPV2, MPPE REQUIRED with 128 bits and stateless,
// echo every 20 s with 3 failures, MTU 1400, DSCP PIPE. It changes nothing in p, and what it returns shares p's slices.
func (p Profile) WithDefaults() Profile {
	if len(p.AuthMethods) == 0 {
		p.AuthMethods = []tenant.AuthMethod{tenant.AuthMSCHAPv2}
	}
	if p.MPPE.Policy == "" {
		p.MPPE.Policy = tenant.MPPERequired
	}
	if len(p.MPPE.KeyBits) == 0 {
		p.MPPE.KeyBits = []int{128}
	}
	if p.MTU == 0 {
		p.MTU = DefaultMTU
	}
	if p.Echo.Interval == 0 {
		p.Echo.Interval = DefaultEchoInterval
	}
	if p.Echo.Failures == 0 {
		p.Echo.Failures = DefaultEchoFailures
	}
	if p.DSCP == "" {
		p.DSCP = tenant.DSCPPipe
	}
	return p
}

// User is tenants/{tenant}/users/{user}, the last part percent-encoded.
type User struct {
	Meta
	Password      tenant.Secret  `json:"-"`
	Profile       string         `json:"profile,omitempty"` // full resource name; empty: the tenant's "default"
	StaticAddress netip.Addr     `json:"staticAddress,omitzero"`
	FramedRoutes  []netip.Prefix `json:"framedRoutes,omitempty"` // behind the client
	Disabled      bool           `json:"disabled,omitempty"`
	MaxSessions   int            `json:"maxSessions,omitempty"` // 0: the tenant's limit
	ExpireTime    time.Time      `json:"expireTime,omitzero"`
}

// Pool is tenants/{tenant}/pools/{pool}; package ippool says what its fields may hold.
type Pool struct {
	Meta
	Ranges     []string      `json:"ranges,omitempty"`
	Gateway    netip.Addr    `json:"gateway,omitzero"`
	Exclude    []string      `json:"exclude,omitempty"`
	Quarantine time.Duration `json:"quarantine,omitempty"` // of a released address, for all but its user; 0: none
}

// ACL is tenants/{tenant}/acls/{acl}. Its rules are as tenant.CheckACL wants them.
type ACL struct {
	Meta
	DisplayName string           `json:"displayName,omitempty"`
	Rules       []tenant.ACLRule `json:"rules,omitempty"` // the first that matches decides
}

// RadiusServer is tenants/{tenant}/radiusServers/{server}.
type RadiusServer struct {
	Meta
	Address              string          `json:"address,omitempty"`
	AuthPort             int             `json:"authPort,omitempty"`
	AcctPort             int             `json:"acctPort,omitempty"`
	Secrets              []tenant.Secret `json:"-"` // the first signs, all are tried on replies
	Transport            string          `json:"transport,omitempty"`
	Timeout              time.Duration   `json:"timeout,omitempty"`
	Tries                int             `json:"tries,omitempty"`
	Priority             int             `json:"priority,omitempty"`
	Weight               int             `json:"weight,omitempty"`
	MessageAuthenticator string          `json:"messageAuthenticator,omitempty"` // REQUIRE, AUTO or OFF
	SourceAddress        string          `json:"sourceAddress,omitempty"`
	SourceInterface      string          `json:"sourceInterface,omitempty"`
	Namespace            string          `json:"namespace,omitempty"`
	TLS                  RadiusTLS       `json:"tls,omitzero"`
	Purposes             []RadiusPurpose `json:"purposes,omitempty"`       // empty: all
	MaxOutstanding       int             `json:"maxOutstanding,omitempty"` // of each purpose; 0: DefaultMaxOutstanding
	DeadTime             time.Duration   `json:"deadTime,omitempty"`       // 0: DefaultDeadTime
	CoASources           []netip.Prefix  `json:"coaSources,omitempty"`     // over UDP; empty: Address, if it is an IP address
	CoADisabled          bool            `json:"coaDisabled,omitempty"`
}

// RadiusTLS is what RADIUS over TLS needs, RFC 6614.
type RadiusTLS struct {
	CACertificates   []string      `json:"caCertificates,omitempty"`   // PEM, each one certificate; empty: the system's
	CertificateChain string        `json:"certificateChain,omitempty"` // PEM, its own first; empty: none is shown
	CertificateKey   tenant.Secret `json:"-"`                          // PEM
	ServerName       string        `json:"serverName,omitempty"`       // what its certificate is for; empty: the address
}

// RadiusPurpose is what a RADIUS server is asked for.
type RadiusPurpose string

// The purposes.
const (
	RadiusAuthentication RadiusPurpose = "AUTHENTICATION"
	RadiusAccounting     RadiusPurpose = "ACCOUNTING"
)

// How a RADIUS server is reached; an empty Transport is TransportUDP.
const (
	TransportUDP = "UDP"
	TransportTLS = "TLS" // RFC 6614
)

// What a RADIUS server has where it says nothing.
const (
	DefaultMaxOutstanding = 256
	DefaultDeadTime       = 30 * time.Second
)

// For says whether the server is asked for p.
func (r *RadiusServer) For(p RadiusPurpose) bool {
	return len(r.Purposes) == 0 || slices.Contains(r.Purposes, p)
}

// Listener is listeners/{listener}.
type Listener struct {
	Meta
	Address          string            `json:"address,omitempty"`
	Protocols        []tenant.Protocol `json:"protocols,omitempty"`
	Tenants          []string          `json:"tenants,omitempty"` // full resource names
	DefaultTenant    string            `json:"defaultTenant,omitempty"`
	Namespace        string            `json:"namespace,omitempty"`
	MaxPPTPSessions  *int              `json:"maxPptpSessions,omitempty"` // nil: no limit of its own; 0: none
	MaxL2TPSessions  *int              `json:"maxL2tpSessions,omitempty"`
	CertificateChain string            `json:"certificateChain,omitempty"` // PEM, its own first; empty: no certificate
	CertificateKey   tenant.Secret     `json:"-"`                          // PEM
}

// APIToken is tenants/{tenant}/apiTokens/{apiToken} or apiTokens/{apiToken}: a caller of the API.
type APIToken struct {
	Meta
	DisplayName  string        `json:"displayName,omitempty"`
	Role         tenant.Role   `json:"role,omitempty"`
	ExpireTime   time.Time     `json:"expireTime,omitzero"`
	Hash         Fingerprint   `json:"hash,omitzero"`          // of what its holder sends; zero: nothing that one could send
	Certificates []Fingerprint `json:"certificates,omitempty"` // of what its holder may show instead
}

// Fingerprint is a SHA-256 hash.
type Fingerprint [sha256.Size]byte

// MarshalText spells the hash in hexadecimal.
func (f Fingerprint) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, f[:]), nil }

// UnmarshalText reads 64 hexadecimal digits.
func (f *Fingerprint) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(f) {
		return fmt.Errorf("%q is not %d hexadecimal digits", text, 2*len(f))
	}
	copy(f[:], b)
	return nil
}

// Record is any kind of record.
type Record interface {
	Tenant | Profile | User | Pool | ACL | RadiusServer | Listener | APIToken | Operation | OperationInput
}

// secretSlot is one secret of a record: where it lies, and the field that its ciphertext is bound to.
type secretSlot struct {
	field string
	value *tenant.Secret
}

// record is what the generic code needs of a pointer to a Record.
type record interface {
	kind() Kind
	meta() *Meta
	// secretSlots lists the record's secrets. When the record is being read, stored says which fields have a
	// ciphertext, so that a list of secrets can be made as long as it was; else it is nil.
	secretSlots(stored map[string][]byte) []secretSlot
}

func (m *Meta) meta() *Meta { return m }

func (*Tenant) kind() Kind       { return KindTenant }
func (*Profile) kind() Kind      { return KindProfile }
func (*User) kind() Kind         { return KindUser }
func (*Pool) kind() Kind         { return KindPool }
func (*ACL) kind() Kind          { return KindACL }
func (*RadiusServer) kind() Kind { return KindRadiusServer }
func (*Listener) kind() Kind     { return KindListener }
func (*APIToken) kind() Kind     { return KindAPIToken }

func (t *Tenant) secretSlots(map[string][]byte) []secretSlot {
	slots := []secretSlot{{"l2tp.tunnelSecret", &t.L2TPTunnelSecret}}
	for i := range t.IPsec.PSKs {
		slots = append(slots, secretSlot{fmt.Sprintf("ipsec.psks[%d].secret", i), &t.IPsec.PSKs[i].Secret})
	}
	return slots
}

func (u *User) secretSlots(map[string][]byte) []secretSlot {
	return []secretSlot{{"password", &u.Password}}
}

func (r *RadiusServer) secretSlots(stored map[string][]byte) []secretSlot {
	field := func(i int) string { return fmt.Sprintf("secrets[%d]", i) }
	for stored[field(len(r.Secrets))] != nil {
		r.Secrets = append(r.Secrets, nil)
	}
	slots := []secretSlot{{"tls.privateKey", &r.TLS.CertificateKey}}
	for i := range r.Secrets {
		slots = append(slots, secretSlot{field(i), &r.Secrets[i]})
	}
	return slots
}

func (l *Listener) secretSlots(map[string][]byte) []secretSlot {
	return []secretSlot{{"certificate.privateKeyPem", &l.CertificateKey}}
}

func (*Profile) secretSlots(map[string][]byte) []secretSlot { return nil }
func (*Pool) secretSlots(map[string][]byte) []secretSlot    { return nil }
func (*ACL) secretSlots(map[string][]byte) []secretSlot     { return nil }

// What is kept of a token is a hash of 256 random bits: there is nothing to hide.
func (*APIToken) secretSlots(map[string][]byte) []secretSlot { return nil }
