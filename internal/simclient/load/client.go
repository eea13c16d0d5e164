package load

import (
	"cmp"
	"net/netip"
	"time"

	"concentrator/internal/ike/ikev1"
	simike "concentrator/internal/simclient/ike"
	siml2tp "concentrator/internal/simclient/l2tp"
	simppp "concentrator/internal/simclient/ppp"
	simpptp "concentrator/internal/simclient/pptp"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
	wirepptp "concentrator/internal/wire/pptp"
)

// host is what clients call themselves.
const host = "loadgen"

// hello is Config.Hello where it says nothing.
const hello = 20 * time.Second

// ppp is how client number n logs in by PPP.
func (c Config) ppp(n int, encrypt bool) simppp.Config {
	p := simppp.Pppd(numbered(c.User, n), numbered(c.Password, n))
	p.Methods, p.EAP, p.KeyLog = []tenant.AuthMethod{c.Auth}, c.EAP, c.KeyLog
	p.NewPassword, p.EAP.Identity = numbered(c.NewPassword, n), numbered(c.EAP.Identity, n)
	if len(c.Certificates) > 0 {
		p.EAP.TLS.Certificate = c.Certificates[(n-c.First)%len(c.Certificates)]
	}
	if !encrypt || c.Auth == tenant.AuthPAP || c.Auth == tenant.AuthCHAP {
		p.CCPMode, p.CCP = simppp.CCPNone, nil
	}
	return p
}

// l2tp is a client's tunnel: xl2tpd's.
func (c Config) l2tp(tunnelID uint16) siml2tp.Config {
	l := siml2tp.Xl2tpd(host, tunnelID)
	l.Hello, l.Secret = cmp.Or(c.Hello, hello), c.TunnelSecret
	return l
}

// pptp is a client's control connection and call: Windows'.
func (c Config) pptp(callID uint16) (simpptp.Config, wirepptp.OutgoingCallRequest) {
	return simpptp.Config{Start: simpptp.WindowsStart()}, simpptp.WindowsCall(callID, callID, [16]byte{})
}

// ike is how clients negotiate: strongSwan with one proposal for each phase.
func (c Config) ike() simike.Client {
	k := simike.NetworkManagerStrongSwan()
	k.Name = host
	k.Phase1 = []ikev1.Phase1Proposal{{
		Encryption: wireike.EncryptionAESCBC, KeyBits: 128, Hash: wireike.HashSHA256, Group: c.Group,
		Lifetime: cmp.Or(c.IKELifetime, 3*time.Hour),
	}}
	k.ESP, k.Lifetime = []ikev1.ESPProposal{c.Cipher}, cmp.Or(c.ESPLifetime, k.Lifetime)
	if c.PFS {
		k.PFS = c.Group
	}
	return k
}

// private is the address that client i says it has behind its NAT.
func private(i int) netip.Addr {
	const first = 2
	return netip.AddrFrom4([4]byte{192, 168, byte((i + first) >> 8), byte(i + first)})
}
