package eap

import (
	"crypto/rand"
	"io"

	wire "concentrator/internal/wire/eap"
)

// Config is who logs in by EAP, and how.
type Config struct {
	// Methods are the methods that we take, the favourite first; whatever else the server proposes is answered with a Nak
	// that names them. Those that there are: TypeMD5, TypeMSCHAPv2, TypeTLS and TypePEAP.
	Methods []byte
	// Identity is the answer to the server's first question. Empty: Name. With PEAP it may hide who logs in.
	Identity string
	// Name is the login; with PEAP it is said inside.
	Name string
	// Passwords are tried one after the other as long as the server allows another attempt (EAP-MSCHAPv2). The first one
	// is MD5's. None: an empty one.
	Passwords []string
	// NewPassword takes the place of one of which the server says that it has expired (EAP-MSCHAPv2). Empty: it is not
	// changed.
	NewPassword string
	TLS         TLS
	// MTU is the longest packet that we send, in octets; what TLS has to say goes in parts of it. 0: 1020, what any link
	// carries (RFC 3748 section 3.1).
	MTU  int
	Rand io.Reader // peer challenges; nil: crypto/rand
}

const defaultMTU = 1020

func (c Config) withDefaults() Config {
	if c.Identity == "" {
		c.Identity = c.Name
	}
	if len(c.Passwords) == 0 {
		c.Passwords = []string{""}
	}
	if c.MTU <= 0 {
		c.MTU = defaultMTU
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	return c
}

// MSCHAPv2 logs in by EAP-MSCHAPv2.
func MSCHAPv2() Config { return Config{Methods: []byte{wire.TypeMSCHAPv2}} }

// EAPTLS logs in by EAP-TLS. t needs a Certificate.
func EAPTLS(t TLS) Config { return Config{Methods: []byte{wire.TypeTLS}, TLS: t} }

// PEAP logs in by EAP-MSCHAPv2 inside PEAP. identity is what is said outside; empty: the login.
func PEAP(t TLS, identity string) Config {
	return Config{Methods: []byte{wire.TypePEAP}, TLS: t, Identity: identity}
}
