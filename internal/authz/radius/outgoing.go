package radius

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz"
	"concentrator/internal/authz/accounting"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/mschap"
)

// maxString is the longest value of an attribute in octets, RFC 2865 section 5.
const maxString = 253

// outgoing is what a request is made of.
type outgoing struct {
	packet packets // one of inRequest to inOff
	authz.Caller
	user   string             // User-Name
	method tenant.AuthMethod  // by which the user logs in, or has
	ask    *authz.Request     // of an Access-Request, else nil
	state  []byte             // State of the conversation that goes on; nil: none does
	record *accounting.Record // of an Accounting-Request, else nil
	at     time.Time          // when what the packet says happened

	nasIdentifier string
	nasAddress    netip.Addr // our address towards the server
	authenticator [16]byte
	secret        tenant.Secret
	built         *radius.Packet // what build made last
}

// attributes returns the attributes of o in order, without the Message-Authenticator, which is the signer's.
func (o *outgoing) attributes() (list radius.Attributes, err error) {
	for i := range attributes {
		row := &attributes[i]
		if row.in&o.packet == 0 {
			continue
		}
		var values []radius.Attribute
		switch {
		case row.send != nil:
			values = []radius.Attribute{row.send(o)}
		case row.sendAll != nil:
			values = row.sendAll(o)
		}
		for _, v := range values {
			if len(v) == 0 { // RFC 2865 section 5: what is empty is left out
				continue
			}
			if row.vendor == 0 {
				list.Add(row.typ, v)
				continue
			}
			sub, err := radius.NewTLV(byte(row.typ), v)
			if err != nil {
				return nil, fmt.Errorf("encode %s: %w", row.name, err)
			}
			vsa, err := radius.NewVendorSpecific(row.vendor, sub)
			if err != nil {
				return nil, fmt.Errorf("encode %s: %w", row.name, err)
			}
			list.Add(typeVendorSpecific, vsa)
		}
	}
	return list, nil
}

// userName is the User-Name for r. A server computes the MS-CHAPv2 hash with the name that it is sent, less a domain in
// front, so a name that is too short for that after realm handling is sent as the peer sent it. With EAP it is the
// identity as the peer sent it, RFC 3579 section 2.1.
func userName(r *authz.Request) string {
	switch {
	case r.User == "", r.Method == tenant.AuthEAP && r.PeerName != "",
		r.Method == tenant.AuthMSCHAPv2 && mschap.StripDomain(r.User) != mschap.StripDomain(r.PeerName):
		return r.PeerName
	}
	return r.User
}

// str is a text attribute, cut to what fits.
func str(s string) radius.Attribute { return radius.Attribute(clip(s, maxString)) }

// maxName is how much of a name is sent that a client chooses, or that only helps people: the packet must have room for
// what counts.
const maxName = 64

// name is a short text attribute, of printable characters only.
func name(s string) radius.Attribute { return radius.Attribute(clip(printable([]byte(s)), maxName)) }

// constant sends the same integer each time.
func constant(n uint32) func(*outgoing) radius.Attribute {
	return func(*outgoing) radius.Attribute { return radius.NewInteger(n) }
}

func host(a netip.Addr) radius.Attribute {
	if !a.IsValid() {
		return nil
	}
	return radius.Attribute(a.Unmap().String())
}

// timestamp is a time as RFC 2869 section 5.3 has it, until 2106.
func timestamp(t time.Time) radius.Attribute {
	return binary.BigEndian.AppendUint32(nil, uint32(t.Unix()))
}
