package coa

import (
	"net/netip"
	"slices"

	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/tenant"
)

// Source is one RADIUS server that may send requests.
type Source struct {
	Tenant string // ID of the tenant whose sessions it may end and change
	Server string // resource name of the server, "tenants/acme/radiusServers/one"
	// Prefixes are where it sends from over UDP. Of a server that is reached over TLS there should be none: its secret,
	// "radsec", is known to everybody.
	Prefixes []netip.Prefix
	// Secrets are all valid; a reply is signed with the one of its request. Without any, the requests of a TLS connection
	// are verified with "radsec" (RFC 6614 section 2.3), and there is nothing to verify those over UDP with.
	Secrets []tenant.Secret
}

// radsec is the secret of RADIUS over TLS, RFC 6614 section 2.3.
var radsec = []tenant.Secret{tenant.Secret("radsec")}

// origin is where a request came from.
type origin struct {
	server string         // over TLS: the Server of the connection; empty over UDP
	from   netip.AddrPort // over UDP
}

// String is for logs.
func (o origin) String() string {
	if o.server != "" {
		return o.server
	}
	return o.from.String()
}

// sends says whether requests from o are c's.
func (c *Source) sends(o origin) bool {
	if o.server != "" {
		return c.Server == o.server
	}
	a := o.from.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(c.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// signer is who a genuine request is from.
type signer struct {
	tenants []string // one, unless several share address and secret
	server  string   // the first of them
	secret  tenant.Secret
}

// verify finds out who sent b, a packet that packet.Trim returned.
func verify(sources []Source, b []byte, o origin) (signer, Drop) {
	var who signer
	drop := DropSource
	for i := range sources {
		c := &sources[i]
		if !c.sends(o) {
			continue
		}
		secrets := c.Secrets
		if o.server != "" && len(secrets) == 0 {
			secrets = radsec
		}
		n, _, d := packet.VerifyRequest(b, secrets)
		switch {
		case d != packet.DropNone:
			// Of two errors the one that got further says more: its secret was right.
			if found := dropOf(d); drop != DropMessageAuthenticator {
				drop = found
			}
		case len(who.tenants) == 0:
			who = signer{tenants: []string{c.Tenant}, server: c.Server, secret: secrets[n]}
		case !slices.Contains(who.tenants, c.Tenant):
			who.tenants = append(who.tenants, c.Tenant)
		}
	}
	if len(who.tenants) == 0 {
		return signer{}, drop
	}
	return who, dropNone
}
