package ppp

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	"time"

	"concentrator/internal/ppp/automaton"
	"concentrator/internal/simclient/eap"
	"concentrator/internal/tenant"
	wireccp "concentrator/internal/wire/ccp"
	wireipcp "concentrator/internal/wire/ipcp"
	wirelcp "concentrator/internal/wire/lcp"
	wire "concentrator/internal/wire/ppp"
)

// CCPMode is what a client does about CCP.
type CCPMode uint8

// The modes.
const (
	// CCPNone: CCP is unknown and Protocol-Rejected.
	CCPNone CCPMode = iota
	// CCPAsk: asks for MPPE and answers; goes on without if it must.
	CCPAsk
	// CCPRequire: the same, but nothing goes on without.
	CCPRequire
	// CCPReject: knows CCP and rejects MPPE.
	CCPReject
	// CCPMute: says nothing about CCP at all.
	CCPMute
)

// Config is which client a Machine imitates, and who logs in. Zero numbers mean RFC 1661's defaults.
type Config struct {
	Name string // the login, exactly as it is sent
	// Passwords are tried one after the other as long as the server allows another attempt. Never empty.
	Passwords []string
	// NewPassword takes the place of one of which the server says that it has expired, with MS-CHAPv2 and EAP-MSCHAPv2.
	// Empty: it is not changed.
	NewPassword string
	// Methods are the authentication methods that we take, the favourite first. None: authentication is rejected.
	Methods []tenant.AuthMethod
	// EAP says how we log in where Methods has EAP. Name, passwords and Rand are those of this Config; MTU is at most what
	// the server takes.
	EAP eap.Config

	// LCP, CCP and IPCP are the options of the first Configure-Requests; what the server rejects is left out later, what
	// it proposes is taken. A magic number of zero is replaced by a random one.
	LCP, CCP, IPCP []wire.Option
	// LCPRejects are types of LCP options of the server that we do not know.
	LCPRejects []byte
	// Idents are LCP Identifications that are sent once LCP is open.
	Idents []string
	// IPv6CP says that we ask for IPv6 before anything else.
	IPv6CP bool
	// CCPMode says what we do about CCP; MPPE is what we take of the server: the strengths, and only stateless mode if
	// Stateless is in it.
	CCPMode CCPMode
	MPPE    wireccp.MPPE
	// NoAddress says that we take no address even if we are told to.
	NoAddress bool
	// Deaf says that we answer no Echo-Request.
	Deaf bool

	// KeyLog is told the start keys of MPPE that the login has given, by a name. The octets are borrowed. nil: nobody is.
	KeyLog func(name string, key []byte)

	RestartTimer time.Duration // RFC 1661 section 4.6; default 3 s
	MaxConfigure int           // RFC 1661 section 4.6; default 10
	Rand         io.Reader     // magic number and peer challenges; default crypto/rand
}

// Values of RFC 1661 section 4.6, and how long a link that the server terminated still answers repetitions.
const (
	defaultRestartTimer = 3 * time.Second
	defaultMaxConfigure = 10
	maxTerminate        = 2
	maxFailure          = 5
	linger              = time.Second
)

func (c Config) withDefaults() Config {
	if c.RestartTimer <= 0 {
		c.RestartTimer = defaultRestartTimer
	}
	if c.MaxConfigure <= 0 {
		c.MaxConfigure = defaultMaxConfigure
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if len(c.Passwords) == 0 {
		c.Passwords = []string{""}
	}
	return c
}

func (c Config) machine() automaton.Config {
	return automaton.Config{
		Restart: c.RestartTimer, First: c.RestartTimer, Linger: linger,
		Limit:        2 * time.Duration(c.MaxConfigure) * c.RestartTimer,
		MaxConfigure: c.MaxConfigure, MaxTerminate: maxTerminate, MaxFailure: maxFailure,
	}
}

func option(typ byte, value ...byte) wire.Option { return wire.Option{Type: typ, Value: value} }

// zero is an option that asks for an address, or announces a magic number or character map.
func zero(typ byte) wire.Option { return option(typ, 0, 0, 0, 0) }

func mppeOption(m wireccp.MPPE) wire.Option {
	return option(wireccp.OptionMPPE, binary.BigEndian.AppendUint32(nil, uint32(m))...)
}

// Pppd is pppd 2.4.9 with require-mppe-128.
func Pppd(name, password string) Config {
	return Config{
		Name: name, Passwords: []string{password},
		Methods: []tenant.AuthMethod{tenant.AuthMSCHAPv2, tenant.AuthCHAP, tenant.AuthPAP},
		LCP: []wire.Option{
			zero(wirelcp.OptionACCM), zero(wirelcp.OptionMagic), option(wirelcp.OptionPFC), option(wirelcp.OptionACFC),
		},
		CCP: []wire.Option{mppeOption(wireccp.Stateless | wireccp.Bits128)},
		IPCP: []wire.Option{
			option(wireipcp.OptionCompression, 0, 0x2d, 15, 1), zero(wireipcp.OptionAddress),
			zero(wireipcp.OptionPrimaryDNS), zero(wireipcp.OptionSecondaryDNS),
		},
		CCPMode: CCPRequire, MPPE: wireccp.Stateless | wireccp.Bits128,
	}
}

// Windows is the built-in client of Windows 7 to 11.
func Windows(name, password string) Config {
	return Config{
		Name: name, Passwords: []string{password}, Methods: []tenant.AuthMethod{tenant.AuthMSCHAPv2},
		LCP: []wire.Option{
			option(wirelcp.OptionMRU, 1400>>8, 1400&0xff), zero(wirelcp.OptionMagic),
			option(wirelcp.OptionPFC), option(wirelcp.OptionACFC), option(wirelcp.OptionCallback, 6),
		},
		CCP: []wire.Option{mppeOption(wireccp.Stateless)},
		IPCP: []wire.Option{
			zero(wireipcp.OptionAddress), zero(wireipcp.OptionPrimaryDNS), zero(wireipcp.OptionPrimaryNBNS),
			zero(wireipcp.OptionSecondaryDNS), zero(wireipcp.OptionSecondaryNBNS),
		},
		Idents: []string{"MSRASV5.20", "MSRAS-0-DESKTOP"}, IPv6CP: true,
		CCPMode: CCPAsk, MPPE: wireccp.Stateless | wireccp.Bits128,
	}
}

// MacOS is the client of macOS: pppd without CCP, and with IPv6.
func MacOS(name, password string) Config {
	c := Pppd(name, password)
	c.CCPMode, c.CCP, c.IPv6CP = CCPNone, nil, true
	return c
}

// Android is the client of Android up to 11 without encryption: pppd with nomppe.
func Android(name, password string) Config {
	c := Pppd(name, password)
	c.CCPMode, c.CCP = CCPReject, nil
	c.LCP = append([]wire.Option{option(wirelcp.OptionMRU, 1400>>8, 1400&0xff)}, c.LCP...)
	return c
}
