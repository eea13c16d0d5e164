package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"concentrator/internal/tenant"
)

// Purpose is what a server is asked for.
type Purpose uint8

// The purposes.
const (
	Access     Purpose = iota // logins
	Accounting                // accounting records

	numPurposes = int(iota)
)

// String returns "access" or "accounting", as metrics have it.
func (p Purpose) String() string {
	if p == Accounting {
		return "accounting"
	}
	return "access"
}

// Values of ServerConfig.Transport.
const (
	UDP = "UDP"
	TLS = "TLS" // RADIUS over TLS, RFC 6614, called RadSec
)

// Values of ServerConfig.MessageAuthenticator. They are about replies to Access-Requests only: accounting has none. One
// that is present is verified under each of them, in accounting too.
const (
	// ModeRequire drops replies without a Message-Authenticator.
	ModeRequire = "REQUIRE"
	// ModeAuto drops them from the first reply on that had one, and until then takes both.
	ModeAuto = "AUTO"
	// ModeOff takes both.
	ModeOff = "OFF"
)

// Defaults of a ServerConfig.
const (
	DefaultAuthPort       = 1812 // RFC 2865 section 3
	DefaultAcctPort       = 1813 // RFC 2866 section 3
	DefaultTLSPort        = 2083 // RFC 6614 section 2.1
	DefaultTLSSecret      = "radsec"
	DefaultTimeout        = 3 * time.Second
	DefaultTries          = 3
	DefaultMaxOutstanding = 256
	DefaultDeadTime       = 30 * time.Second
)

// Bounds of a ServerConfig.
const (
	minTimeout     = time.Millisecond
	maxTimeout     = time.Minute
	maxTries       = 10
	maxDeadTime    = time.Hour
	maxOutstanding = 2048
	maxWeight      = 65535
	maxSecrets     = 8
	maxServers     = 32
	maxString      = 253 // octets of an attribute's value, RFC 2865 section 5
)

// Config is the servers of one tenant.
type Config struct {
	Servers []ServerConfig // with different names, at most 32; may be empty
	Dial    Dialer         // nil: DialHost
	Log     *slog.Logger   // nil: slog.Default()

	// Incoming is called for each CoA- or Disconnect-Request that a server sends over its TLS connection, with the server's
	// name and the packet, which belongs to the callee. Nothing of it is verified but its Length. reply may be called once
	// or not at all, from any goroutine, and does not block. At most 16 calls are under way for one connection; what comes
	// beyond that is dropped. With it a connection to each server with TLS is kept up, whether requests need one or not.
	// nil: all of it is dropped.
	Incoming func(server string, packet []byte, reply func([]byte))
}

// ServerConfig is one RADIUS server.
type ServerConfig struct {
	Name     string    // for logs and details, for example "tenants/acme/radiusServers/one"; unique
	Address  string    // IP address or DNS name
	AuthPort int       // 0: 1812; with TLS the one TCP port for everything, 0: 2083
	AcctPort int       // 0: 1813; not used with TLS
	Purposes []Purpose // nil: both

	Transport string // UDP (also "") or TLS
	TLS       TLSConfig

	// Secrets are all valid at once: requests are signed with the first, replies may be signed with any. So a secret is
	// changed without a moment of outage: add the new one behind, change the server, swap, remove the old one. At most 8.
	// With TLS none means "radsec" (RFC 6614 section 2.3).
	Secrets []tenant.Secret

	Timeout time.Duration // wait for a reply before the next try; 0: 3 s; at most a minute
	Tries   int           // datagrams sent in all; 0: 3; at most 10. With TLS Tries × Timeout is the wait, and one is sent

	Priority int // servers with a lower number are asked first
	Weight   int // its share among those of the same priority; 0: 1; at most 65535

	// MaxOutstanding is how many requests of each purpose may be under way to the server at once; others wait in order.
	// 0: 256; at most 2048.
	MaxOutstanding int
	// DeadTime is how long a dead server is left alone before one live request tries it; probes go out three times as
	// often. 0: 30 s; at most an hour.
	DeadTime time.Duration

	// MessageAuthenticator is ModeRequire, ModeAuto or ModeOff. Empty: ModeRequire with UDP. With TLS it is ModeAuto: there
	// TLS keeps forgers out, and a server behind it may be old.
	MessageAuthenticator string

	SourceAddress   netip.Addr // our address towards the server; zero: what the route says
	SourceInterface string     // device that packets leave through; empty: what the route says
	Namespace       string     // network namespace; empty: the daemon's own. DialHost knows no other
	NASIdentifier   string     // for Target, at most 253 octets
}

// TLSConfig is what a server with the transport TLS needs. All of it is PEM.
type TLSConfig struct {
	CACertificates   []string      // whom the server's certificate must come from; empty: the system's roots
	CertificateChain string        // ours, the leaf first; empty: the server asks for none
	CertificateKey   tenant.Secret // of the leaf
	ServerName       string        // DNS name or IP address that the server's certificate must have; empty: Address
}

// settings is a ServerConfig that was checked, its zero values replaced. It is never changed.
type settings struct {
	ServerConfig
	tls   *tls.Config // nil with UDP
	named bool        // Address is a name
}

// Check says what New would refuse c for, as New says it.
func (c ServerConfig) Check() error {
	_, err := c.check()
	return err
}

// check returns c with its defaults. Errors name the field as the API spells it.
func (c ServerConfig) check() (*settings, error) {
	c.SourceAddress = c.SourceAddress.Unmap()
	c.Purposes = slices.Clone(c.Purposes)
	c.Secrets = slices.Clone(c.Secrets)
	c.TLS.CACertificates = slices.Clone(c.TLS.CACertificates)
	setDefault(&c.Transport, UDP)
	setDefault(&c.Timeout, DefaultTimeout)
	setDefault(&c.Tries, DefaultTries)
	setDefault(&c.Weight, 1)
	setDefault(&c.MaxOutstanding, DefaultMaxOutstanding)
	setDefault(&c.DeadTime, DefaultDeadTime)
	if len(c.Purposes) == 0 {
		c.Purposes = []Purpose{Access, Accounting}
	}
	switch c.Transport {
	case UDP:
		setDefault(&c.AuthPort, DefaultAuthPort)
		setDefault(&c.AcctPort, DefaultAcctPort)
		setDefault(&c.MessageAuthenticator, ModeRequire)
	case TLS:
		setDefault(&c.AuthPort, DefaultTLSPort)
		setDefault(&c.MessageAuthenticator, ModeAuto)
		c.AcctPort = c.AuthPort
		if len(c.Secrets) == 0 {
			c.Secrets = []tenant.Secret{tenant.Secret(DefaultTLSSecret)}
		}
	default:
		return nil, fmt.Errorf("transport %q is none of %s, %s", c.Transport, UDP, TLS)
	}
	if err := c.checkValues(); err != nil {
		return nil, err
	}
	_, err := netip.ParseAddr(c.Address)
	s := &settings{ServerConfig: c, named: err != nil}
	if c.Transport == TLS {
		t, err := c.TLS.build(c.Address)
		if err != nil {
			return nil, err
		}
		s.tls = t
	}
	return s, nil
}

func (c *ServerConfig) checkValues() error {
	switch {
	case c.Name == "":
		return errors.New("name is empty")
	case c.Address == "":
		return errors.New("address is empty, want an IP address or a DNS name")
	case c.AuthPort < 1 || c.AuthPort > 65535:
		return fmt.Errorf("authPort %d is not between 1 and 65535", c.AuthPort)
	case c.AcctPort < 1 || c.AcctPort > 65535:
		return fmt.Errorf("acctPort %d is not between 1 and 65535", c.AcctPort)
	case c.Timeout < minTimeout || c.Timeout > maxTimeout:
		return fmt.Errorf("timeout %s is not between %s and %s", c.Timeout, minTimeout, maxTimeout)
	case c.Tries < 1 || c.Tries > maxTries:
		return fmt.Errorf("tries %d is not between 1 and %d", c.Tries, maxTries)
	case c.Weight < 1 || c.Weight > maxWeight:
		return fmt.Errorf("weight %d is not between 1 and %d", c.Weight, maxWeight)
	case c.MaxOutstanding < 1 || c.MaxOutstanding > maxOutstanding:
		return fmt.Errorf("maxOutstanding %d is not between 1 and %d", c.MaxOutstanding, maxOutstanding)
	case c.DeadTime < minTimeout || c.DeadTime > maxDeadTime:
		return fmt.Errorf("deadTime %s is not between %s and %s", c.DeadTime, minTimeout, maxDeadTime)
	case len(c.Secrets) == 0:
		return errors.New("secrets is empty, want at least one")
	case len(c.Secrets) > maxSecrets:
		return fmt.Errorf("secrets has %d entries, at most %d are possible", len(c.Secrets), maxSecrets)
	case len(c.NASIdentifier) > maxString:
		return fmt.Errorf("NAS identifier is %d octets long, at most %d fit", len(c.NASIdentifier), maxString)
	}
	for i, s := range c.Secrets {
		if len(s) == 0 {
			return fmt.Errorf("secrets[%d] is empty", i)
		}
	}
	for i, p := range c.Purposes {
		if int(p) >= numPurposes || slices.Contains(c.Purposes[:i], p) {
			return fmt.Errorf("purposes[%d] is unknown or repeated", i)
		}
	}
	switch c.MessageAuthenticator {
	case ModeRequire, ModeAuto, ModeOff:
	default:
		return fmt.Errorf("messageAuthenticator %q is none of %s, %s, %s",
			c.MessageAuthenticator, ModeRequire, ModeAuto, ModeOff)
	}
	if a, err := netip.ParseAddr(c.Address); err == nil && c.SourceAddress.IsValid() && a.Unmap().Is4() != c.SourceAddress.Is4() {
		return fmt.Errorf("sourceAddress %s and address %s are of different families", c.SourceAddress, a)
	}
	return nil
}

// samePath says whether requests that are under way under s may go on, and new ones use the same sockets, under o.
func (s *settings) samePath(o *settings) bool {
	return s.Name == o.Name && s.Address == o.Address && s.AuthPort == o.AuthPort && s.AcctPort == o.AcctPort &&
		s.Transport == o.Transport && s.TLS.equal(o.TLS) && slices.Equal(s.Purposes, o.Purposes) &&
		s.SourceAddress == o.SourceAddress && s.SourceInterface == o.SourceInterface && s.Namespace == o.Namespace
}

// tries is how often one packet is sent, and how long each of them waits at the most. Over TCP nothing is sent again (RFC
// 6613 section 2.6.1).
func (s *settings) tries(limit int) (n int, each time.Duration) {
	n = s.Tries
	if limit > 0 {
		n = min(n, limit)
	}
	if s.Transport == TLS {
		return 1, time.Duration(n) * s.Timeout
	}
	return n, s.Timeout
}

func setDefault[T comparable](at *T, value T) {
	var zero T
	if *at == zero {
		*at = value
	}
}
