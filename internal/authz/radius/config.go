package radius

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"concentrator/internal/tenant"
)

// Values of ServerConfig.MessageAuthenticator.
const (
	// ModeRequire drops replies without a Message-Authenticator.
	ModeRequire = "REQUIRE"
	// ModeAuto drops them from the first reply on that had one, and until then takes both.
	ModeAuto = "AUTO"
	// ModeOff takes both. One that is present is verified all the same.
	ModeOff = "OFF"
)

// Defaults and bounds of a ServerConfig.
const (
	DefaultAuthPort = 1812 // RFC 2865 section 3
	DefaultTimeout  = 3 * time.Second
	DefaultTries    = 3

	maxTimeout = time.Minute
	maxTries   = 10
	// maxString is the longest value of an attribute in octets, RFC 2865 section 5.
	maxString = 253
)

// Config is what New needs.
type Config struct {
	Servers []ServerConfig // exactly one for now
	Log     *slog.Logger   // nil: slog.Default()
}

// ServerConfig is one RADIUS server.
type ServerConfig struct {
	Name     string // for logs and details, for example "tenants/acme/radiusServers/one"
	Address  string // IP address or DNS name
	AuthPort int    // UDP; 0: 1812

	// Secrets are all valid at once: requests are signed with the first, replies may be signed with any. So a secret is
	// changed without a moment of outage: add the new one behind, change the server, swap, remove the old one.
	Secrets []tenant.Secret

	Timeout time.Duration // wait for a reply before the next try; 0: 3 s
	Tries   int           // datagrams sent in all; 0: 3

	MessageAuthenticator string // ModeRequire, ModeAuto or ModeOff; empty: ModeRequire

	SourceAddress netip.Addr // our address towards the server; zero: what the route says
	NASIdentifier string     // NAS-Identifier; empty: left out
}

// withDefaults returns c checked and with its zero values replaced. Errors name the field as the API spells it.
func (c ServerConfig) withDefaults() (ServerConfig, error) {
	if c.AuthPort == 0 {
		c.AuthPort = DefaultAuthPort
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Tries == 0 {
		c.Tries = DefaultTries
	}
	if c.MessageAuthenticator == "" {
		c.MessageAuthenticator = ModeRequire
	}
	c.SourceAddress = c.SourceAddress.Unmap()
	switch {
	case c.Address == "":
		return c, errors.New("address is empty, want an IP address or a DNS name")
	case c.AuthPort < 1 || c.AuthPort > 65535:
		return c, fmt.Errorf("authPort %d is not between 1 and 65535", c.AuthPort)
	case c.Timeout < time.Millisecond || c.Timeout > maxTimeout:
		return c, fmt.Errorf("timeout %s is not between 1ms and %s", c.Timeout, maxTimeout)
	case c.Tries < 1 || c.Tries > maxTries:
		return c, fmt.Errorf("tries %d is not between 1 and %d", c.Tries, maxTries)
	case len(c.Secrets) == 0:
		return c, errors.New("secrets is empty, want at least one")
	case len(c.NASIdentifier) > maxString:
		return c, fmt.Errorf("NAS identifier is %d octets long, at most %d fit", len(c.NASIdentifier), maxString)
	}
	for i, s := range c.Secrets {
		if len(s) == 0 {
			return c, fmt.Errorf("secrets[%d] is empty", i)
		}
	}
	switch c.MessageAuthenticator {
	case ModeRequire, ModeAuto, ModeOff:
	default:
		return c, fmt.Errorf("messageAuthenticator %q is none of %s, %s, %s",
			c.MessageAuthenticator, ModeRequire, ModeAuto, ModeOff)
	}
	if a, err := netip.ParseAddr(c.Address); err == nil && c.SourceAddress.IsValid() && a.Unmap().Is4() != c.SourceAddress.Is4() {
		return c, fmt.Errorf("sourceAddress %s and address %s are of different families", c.SourceAddress, a)
	}
	return c, nil
}
