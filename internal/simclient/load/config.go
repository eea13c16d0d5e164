package load

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"concentrator/internal/ike/ikev1"
	"concentrator/internal/simclient/eap"
	"concentrator/internal/tenant"
	wireeap "concentrator/internal/wire/eap"
	wireike "concentrator/internal/wire/ike"
)

// Config is what a Dialer's clients are.
type Config struct {
	Server netip.Addr // IPv4
	// Protocols are taken in turn by the clients.
	Protocols []tenant.Protocol
	// User and Password are those of all clients; a %d in them is the client's number, which begins with First.
	User, Password string
	NewPassword    string // in the place of a Password that has expired; %d as there; empty: none
	First          int
	// Auth is the one method that the clients take, and EAP which one of EAP's. With PAP and CHAP, PPTP has no MPPE. A %d
	// in EAP.Identity is the client's number.
	Auth tenant.AuthMethod
	EAP  eap.Config
	// Certificates are the clients' own, for EAP-TLS and PEAP, which they take in turn. EAP-TLS needs some.
	Certificates []*tls.Certificate

	PSK          tenant.Secret // IPsec's pre-shared key
	TunnelSecret tenant.Secret // L2TP's; nil: none
	Cipher       ikev1.ESPProposal
	Group        wireike.GroupID
	PFS          bool // a Diffie-Hellman of the same group in Quick Mode too
	// IKELifetime and ESPLifetime are how long SAs live, in whole seconds; the client makes new ones at 85 to 90 % of that.
	// 0: three hours and one hour, as strongSwan has them.
	IKELifetime, ESPLifetime time.Duration
	// Hello is the silence after which an L2TP client asks whether the server is alive; 0: 20 s.
	Hello time.Duration
	// KeyLog is told the keys of every session, by a name; it must be safe for concurrent use. The octets are borrowed. nil:
	// nobody is.
	KeyLog func(name string, key []byte)
	// NATT makes IPsec clients look as if they were behind a NAT: each says that it has a private address, and sends all
	// from a UDP port of its own. Else each sends from port 500 and by raw ESP, for which it needs an address of its own.
	NATT bool
	// Sources are the machine's own addresses that clients send from, in turn. None: the one that leads to the server.
	Sources []netip.Addr
}

// ErrConfig is returned for a Config that can't work.
var ErrConfig = errors.New("unusable configuration")

// check says what is wrong for count clients.
func (c Config) check(count int) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrConfig, fmt.Sprintf(format, args...))
	}
	ipsec := slices.Contains(c.Protocols, tenant.ProtocolL2TPIPsec)
	switch {
	case !c.Server.Is4():
		return wrong("%v is no IPv4 address", c.Server)
	case len(c.Protocols) == 0:
		return wrong("no protocol")
	case count < 1 || count > maxClients:
		return wrong("%d clients; 1 to %d can be", count, maxClients)
	case c.Auth == tenant.AuthEAP && slices.Contains(c.EAP.Methods, wireeap.TypeTLS) && len(c.Certificates) == 0:
		return wrong("%s needs a certificate", nameEAPTLS)
	case ipsec && len(c.PSK) == 0:
		return wrong("%s needs a pre-shared key", tenant.ProtocolL2TPIPsec)
	case !lifetime(c.IKELifetime) || !lifetime(c.ESPLifetime):
		return wrong("lifetimes of SAs are whole seconds, at least %v", minLifetime)
	case ipsec && !c.NATT && len(c.Sources) > 0 && len(c.Sources) < count:
		return wrong("%d clients by raw ESP need as many source addresses, not %d", count, len(c.Sources))
	case ipsec && !c.NATT && len(c.Sources) == 0 && count > 1:
		return wrong("%d clients by raw ESP need as many source addresses; without any, NAT traversal does it", count)
	}
	return nil
}

// minLifetime is the shortest life of an SA: an exchange whose first message gets lost takes four seconds.
const minLifetime = 4 * time.Second

func lifetime(d time.Duration) bool { return d == 0 || d >= minLifetime && d%time.Second == 0 }

// maxClients is how many there can be: call IDs of PPTP have 16 bits.
const maxClients = 60_000

// numbered puts a client's number into a pattern.
func numbered(pattern string, n int) string {
	return strings.ReplaceAll(pattern, "%d", strconv.Itoa(n))
}

// Protocols reads a list of protocols, separated by commas; MIX is all that a tenant usually has.
func Protocols(text string) ([]tenant.Protocol, error) {
	if strings.EqualFold(text, "MIX") {
		return []tenant.Protocol{tenant.ProtocolPPTP, tenant.ProtocolL2TPIPsec, tenant.ProtocolL2TP}, nil
	}
	var out []tenant.Protocol
	for word := range strings.SplitSeq(text, ",") {
		p := tenant.Protocol(strings.ToUpper(strings.TrimSpace(word)))
		switch p {
		case tenant.ProtocolPPTP, tenant.ProtocolL2TP, tenant.ProtocolL2TPIPsec:
			out = append(out, p)
		default:
			return nil, fmt.Errorf("%w: protocol %q is none of PPTP, L2TP, L2TP_IPSEC, MIX", ErrConfig, word)
		}
	}
	return out, nil
}

// named is something with the name that it has on the command line.
type named[T any] struct {
	name  string
	value T
}

func byName[T any](what, name string, table []named[T]) (T, error) {
	for _, n := range table {
		if strings.EqualFold(n.name, name) {
			return n.value, nil
		}
	}
	var none T
	return none, fmt.Errorf("%w: %s %q is none of %s", ErrConfig, what, name, strings.Join(names(table), ", "))
}

func names[T any](table []named[T]) []string {
	var out []string
	for _, n := range table {
		out = append(out, n.name)
	}
	return out
}

func espOf(id wireike.ESPTransformID, bits int, auth wireike.ESPAuthID) ikev1.ESPProposal {
	return ikev1.ESPProposal{Transform: id, KeyBits: bits, Auth: auth}
}

var ciphers = []named[ikev1.ESPProposal]{
	{"AES-128-CBC-SHA1", espOf(wireike.ESPAESCBC, 128, wireike.ESPAuthSHA1)},
	{"AES-192-CBC-SHA1", espOf(wireike.ESPAESCBC, 192, wireike.ESPAuthSHA1)},
	{"AES-256-CBC-SHA1", espOf(wireike.ESPAESCBC, 256, wireike.ESPAuthSHA1)},
	{"AES-128-CBC-SHA256", espOf(wireike.ESPAESCBC, 128, wireike.ESPAuthSHA256)},
	{"AES-256-CBC-SHA256", espOf(wireike.ESPAESCBC, 256, wireike.ESPAuthSHA256)},
	{"AES-128-GCM", espOf(wireike.ESPAESGCM16, 128, wireike.ESPAuthNone)},
	{"AES-256-GCM", espOf(wireike.ESPAESGCM16, 256, wireike.ESPAuthNone)},
	{"3DES-CBC-SHA1", espOf(wireike.ESP3DES, 0, wireike.ESPAuthSHA1)},
}

// Ciphers are the names that Cipher knows.
func Ciphers() []string { return names(ciphers) }

// Cipher is the transform of ESP by its name, as a session of the API shows it: AES-128-CBC-SHA1.
func Cipher(name string) (ikev1.ESPProposal, error) { return byName("cipher", name, ciphers) }

var groups = []named[wireike.GroupID]{
	{"ecp256", wireike.GroupECP256},
	{"ecp384", wireike.GroupECP384},
	{"ecp521", wireike.GroupECP521},
	{"modp1024", wireike.GroupMODP1024},
	{"modp1536", wireike.GroupMODP1536},
	{"modp2048", wireike.GroupMODP2048},
	{"modp3072", wireike.GroupMODP3072},
	{"modp4096", wireike.GroupMODP4096},
}

// Groups are the names that Group knows.
func Groups() []string { return names(groups) }

// Group is the Diffie-Hellman group by its name.
func Group(name string) (wireike.GroupID, error) { return byName("group", name, groups) }

// Sources are the addresses of a network but for the first and the last, which are none of a host's; all of a /31 or /32.
func Sources(network netip.Prefix) ([]netip.Addr, error) {
	network = network.Masked()
	if !network.Addr().Is4() || network.Bits() < 8 {
		return nil, fmt.Errorf("%w: %v is no IPv4 network of /8 or smaller", ErrConfig, network)
	}
	var out []netip.Addr
	for a := network.Addr(); network.Contains(a) && len(out) < maxClients+2; a = a.Next() {
		out = append(out, a)
	}
	if network.Bits() <= 30 {
		out = out[1:]
		if last := out[len(out)-1]; !network.Contains(last.Next()) {
			out = out[:len(out)-1]
		}
	}
	return out, nil
}
