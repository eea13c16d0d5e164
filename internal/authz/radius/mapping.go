package radius

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2868"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3162"

	"concentrator/internal/authz"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/mschap"
)

// vendorMicrosoft is Microsoft's enterprise number; its attributes are those of RFC 2548.
const vendorMicrosoft = 311

// Vendor types of RFC 2548.
const (
	msCHAPError     radius.Type = 2  // section 2.1.5
	msMPPEPolicy    radius.Type = 7  // section 2.4.4
	msMPPETypes     radius.Type = 8  // section 2.4.5
	msCHAPChallenge radius.Type = 11 // section 2.1.2
	msMPPESendKey   radius.Type = 16 // section 2.4.2
	msMPPERecvKey   radius.Type = 17 // section 2.4.3
	msCHAP2Response radius.Type = 25 // section 2.3.2
	msCHAP2Success  radius.Type = 26 // section 2.3.3
	msPrimaryDNS    radius.Type = 28 // section 2.7.1
	msSecondaryDNS  radius.Type = 29 // section 2.7.2
	msPrimaryNBNS   radius.Type = 30 // section 2.7.3
	msSecondaryNBNS radius.Type = 31 // section 2.7.4
)

// Vendors whose attributes for rate limits are understood, by their enterprise numbers, and those attributes. They have no
// RFC; they mean here what they mean to RouterOS, whose "rx" and "tx" are the client's up and down.
const (
	vendorAscend   = 529
	vendorWISPr    = 14122
	vendorMikrotik = 14988

	ascendDataRate    radius.Type = 197 // bit/s; which direction: see limits.settle
	ascendXmitRate    radius.Type = 255 // bit/s down
	wisprMaxUp        radius.Type = 7   // bit/s
	wisprMaxDown      radius.Type = 8   // bit/s
	mikrotikRateLimit radius.Type = 8   // text: see parseRateLimit
)

// maxPassword is the longest password that User-Password carries, in octets, RFC 2865 section 5.2.
const maxPassword = 128

// asking is what an Access-Request is made of.
type asking struct {
	authz.Request
	nasIdentifier string
	nasAddress    netip.Addr // our address towards the server
	authenticator [authenticatorLen]byte
	secret        tenant.Secret
}

// sent is every attribute of an Access-Request, in order. A nil value leaves the attribute out.
var sent = []struct {
	vendor uint32 // 0: a standard attribute
	typ    radius.Type
	value  func(a *asking) radius.Attribute
}{
	{0, rfc2869.MessageAuthenticator_Type, func(*asking) radius.Attribute { // RFC 3579 section 3.2; filled in by sign
		return make(radius.Attribute, authenticatorLen)
	}},
	{0, rfc2865.UserName_Type, func(a *asking) radius.Attribute { return text(userName(a.Request)) }}, // RFC 2865 5.1
	{0, rfc2865.UserPassword_Type, func(a *asking) radius.Attribute { // RFC 2865 section 5.2
		if a.Method != tenant.AuthPAP {
			return nil
		}
		v, err := radius.NewUserPassword(a.Password, a.secret, a.authenticator[:])
		if err != nil {
			return nil // can't be: askable checked the length, withDefaults the secret
		}
		return v
	}},
	{0, rfc2865.CHAPPassword_Type, func(a *asking) radius.Attribute { // RFC 2865 section 5.3
		if a.Method != tenant.AuthCHAP {
			return nil
		}
		return append(radius.Attribute{a.ID}, a.Response...)
	}},
	{0, rfc2865.CHAPChallenge_Type, func(a *asking) radius.Attribute { // RFC 2865 section 5.40
		if a.Method != tenant.AuthCHAP {
			return nil
		}
		return radius.Attribute(a.Challenge)
	}},
	{vendorMicrosoft, msCHAPChallenge, func(a *asking) radius.Attribute {
		if a.Method != tenant.AuthMSCHAPv2 {
			return nil
		}
		return radius.Attribute(a.Challenge)
	}},
	{vendorMicrosoft, msCHAP2Response, func(a *asking) radius.Attribute {
		if a.Method != tenant.AuthMSCHAPv2 {
			return nil
		}
		// The peer's value has the flags last, the attribute has them behind the identifier.
		last := mschap.ResponseLen - 1
		return append(radius.Attribute{a.ID, a.Response[last]}, a.Response[:last]...)
	}},
	{0, rfc2865.ServiceType_Type, func(*asking) radius.Attribute { // RFC 2865 section 5.6
		return radius.NewInteger(uint32(rfc2865.ServiceType_Value_FramedUser))
	}},
	{0, rfc2865.FramedProtocol_Type, func(*asking) radius.Attribute { // RFC 2865 section 5.7
		return radius.NewInteger(uint32(rfc2865.FramedProtocol_Value_PPP))
	}},
	{0, rfc2865.NASIdentifier_Type, func(a *asking) radius.Attribute { return text(a.nasIdentifier) }}, // RFC 2865 5.32
	{0, rfc2865.NASIPAddress_Type, func(a *asking) radius.Attribute { // RFC 2865 section 5.4
		if !a.nasAddress.Is4() {
			return nil
		}
		return a.nasAddress.AsSlice()
	}},
	{0, rfc3162.NASIPv6Address_Type, func(a *asking) radius.Attribute { // RFC 3162 section 2.1
		if !a.nasAddress.Is6() {
			return nil
		}
		return a.nasAddress.AsSlice()
	}},
	{0, rfc2865.NASPort_Type, func(a *asking) radius.Attribute { return radius.NewInteger(a.NASPort) }}, // RFC 2865 5.5
	{0, rfc2865.NASPortType_Type, func(*asking) radius.Attribute { // RFC 2865 section 5.41
		return radius.NewInteger(uint32(rfc2865.NASPortType_Value_Virtual))
	}},
	{0, rfc2865.CallingStationID_Type, func(a *asking) radius.Attribute { return host(a.ClientAddress) }},  // RFC 2865 5.31
	{0, rfc2865.CalledStationID_Type, func(a *asking) radius.Attribute { return host(a.ListenerAddress) }}, // RFC 2865 5.30
	{0, acctSessionID, func(a *asking) radius.Attribute { return text(a.SessionID) }},                      // RFC 2866 5.5
	// The tag octet of the integers below is 0, "unused". The endpoints have none: their first octet is a digit, beyond
	// the range of tags, RFC 2868 section 3.3.
	{0, rfc2868.TunnelType_Type, func(a *asking) radius.Attribute { // RFC 2868 section 3.1
		switch a.Protocol {
		case tenant.ProtocolPPTP:
			return radius.NewInteger(uint32(rfc2868.TunnelType_Value_PPTP))
		case tenant.ProtocolL2TP, tenant.ProtocolL2TPIPsec:
			return radius.NewInteger(uint32(rfc2868.TunnelType_Value_L2TP))
		}
		return nil
	}},
	{0, rfc2868.TunnelMediumType_Type, func(a *asking) radius.Attribute { // RFC 2868 section 3.2
		switch {
		case !a.ClientAddress.IsValid():
			return nil
		case a.ClientAddress.Unmap().Is4():
			return radius.NewInteger(uint32(rfc2868.TunnelMediumType_Value_IPv4))
		}
		return radius.NewInteger(uint32(rfc2868.TunnelMediumType_Value_IPv6))
	}},
	{0, rfc2868.TunnelClientEndpoint_Type, func(a *asking) radius.Attribute { return host(a.ClientAddress) }},   // RFC 2868 3.3
	{0, rfc2868.TunnelServerEndpoint_Type, func(a *asking) radius.Attribute { return host(a.ListenerAddress) }}, // RFC 2868 3.4
}

// acctSessionID is the one accounting attribute that an Access-Request has: a server can aim a Disconnect-Request at the
// session before its first accounting packet.
const acctSessionID radius.Type = 44 // RFC 2866 section 5.5

// Which replies an attribute counts in.
const (
	inAccept = 1 << iota
	inReject
	inChallenge
	inAll = inAccept | inReject | inChallenge
)

// honoured is every attribute that is read from a reply. Others are ignored, as RFC 2865 section 5 allows. An error from
// set turns the reply into a refusal (same section, attributes of invalid length). Of an attribute that may come once,
// the first counts. Attributes without a value are ignored: they should not have been sent.
var honoured = []struct {
	vendor uint32
	typ    radius.Type
	name   string
	in     int
	many   bool
	set    func(a *answer, v radius.Attribute) error
}{
	{0, rfc2865.ServiceType_Type, "Service-Type", inAccept, false, // RFC 2865 section 5.6: what we don't have is a reject
		func(_ *answer, v radius.Attribute) error {
			return must(v, uint32(rfc2865.ServiceType_Value_FramedUser), "Framed (2)")
		}},
	{0, rfc2865.FramedProtocol_Type, "Framed-Protocol", inAccept, false, // RFC 2865 section 5.7
		func(_ *answer, v radius.Attribute) error {
			return must(v, uint32(rfc2865.FramedProtocol_Value_PPP), "PPP (1)")
		}},
	{0, rfc2865.FramedIPAddress_Type, "Framed-IP-Address", inAccept, false, setFramedAddress}, // RFC 2865 section 5.8
	{0, rfc2865.FilterID_Type, "Filter-Id", inAccept, true, // RFC 2865 section 5.11: there are no filters here
		func(a *answer, v radius.Attribute) error {
			a.notef("Filter-Id %q is not applied", printable(v))
			return nil
		}},
	{0, rfc2865.FramedMTU_Type, "Framed-MTU", inAccept, false, setFramedMTU}, // RFC 2865 section 5.12
	{0, rfc2865.ReplyMessage_Type, "Reply-Message", inAll, true, // RFC 2865 section 5.18
		func(a *answer, v radius.Attribute) error {
			a.messages = append(a.messages, printable(v))
			return nil
		}},
	{0, rfc2865.FramedRoute_Type, "Framed-Route", inAccept, true, setFramedRoute}, // RFC 2865 section 5.22
	{0, rfc2865.Class_Type, "Class", inAccept, true, // RFC 2865 section 5.25
		func(a *answer, v radius.Attribute) error {
			a.v.Class = append(a.v.Class, radius.Bytes(v))
			return nil
		}},
	{0, rfc2865.SessionTimeout_Type, "Session-Timeout", inAccept, false, // RFC 2865 section 5.27
		func(a *answer, v radius.Attribute) error { return seconds(&a.v.SessionTimeout, v) }},
	{0, rfc2865.IdleTimeout_Type, "Idle-Timeout", inAccept, false, // RFC 2865 section 5.28
		func(a *answer, v radius.Attribute) error { return seconds(&a.v.IdleTimeout, v) }},
	{0, rfc2865.TerminationAction_Type, "Termination-Action", inAccept, false, // RFC 2865 section 5.29
		func(a *answer, v radius.Attribute) error {
			n, err := radius.Integer(v)
			if n == uint32(rfc2865.TerminationAction_Value_RADIUSRequest) {
				a.notef("Termination-Action RADIUS-Request is not applied: the session ends")
			}
			return err
		}},
	{0, rfc2869.FramedPool_Type, "Framed-Pool", inAccept, false, // RFC 2869 section 5.18
		func(a *answer, v radius.Attribute) error {
			a.v.Pool = printable(v)
			return nil
		}},
	{vendorMicrosoft, msMPPEPolicy, "MS-MPPE-Encryption-Policy", inAccept, false, setMPPEPolicy},
	{vendorMicrosoft, msMPPETypes, "MS-MPPE-Encryption-Types", inAccept, false, setMPPETypes},
	{
		vendorMicrosoft, msMPPESendKey, "MS-MPPE-Send-Key", inAccept, false,
		func(a *answer, v radius.Attribute) error { return a.key(&a.v.Keys.Send, v) },
	},
	{
		vendorMicrosoft, msMPPERecvKey, "MS-MPPE-Recv-Key", inAccept, false,
		func(a *answer, v radius.Attribute) error { return a.key(&a.v.Keys.Recv, v) },
	},
	{
		vendorMicrosoft, msCHAP2Success, "MS-CHAP2-Success", inAccept, false,
		func(a *answer, v radius.Attribute) error { a.success = v; return nil },
	},
	{
		vendorMicrosoft, msCHAPError, "MS-CHAP-Error", inReject, false,
		func(a *answer, v radius.Attribute) error { a.failure = v; return nil },
	},
	{
		vendorMicrosoft, msPrimaryDNS, "MS-Primary-DNS-Server", inAccept, false,
		func(a *answer, v radius.Attribute) error { return address(&a.dns[0], v) },
	},
	{
		vendorMicrosoft, msSecondaryDNS, "MS-Secondary-DNS-Server", inAccept, false,
		func(a *answer, v radius.Attribute) error { return address(&a.dns[1], v) },
	},
	{
		vendorMicrosoft, msPrimaryNBNS, "MS-Primary-NBNS-Server", inAccept, false,
		func(a *answer, v radius.Attribute) error { return address(&a.wins[0], v) },
	},
	{
		vendorMicrosoft, msSecondaryNBNS, "MS-Secondary-NBNS-Server", inAccept, false,
		func(a *answer, v radius.Attribute) error { return address(&a.wins[1], v) },
	},
	{vendorMikrotik, mikrotikRateLimit, "Mikrotik-Rate-Limit", inAccept, false, setMikrotikRate},
	{
		vendorAscend, ascendDataRate, "Ascend-Data-Rate", inAccept, true,
		func(a *answer, v radius.Attribute) error {
			a.limits.ascendData = append(a.limits.ascendData, nil)
			return a.rate(&a.limits.ascendData[len(a.limits.ascendData)-1], v)
		},
	},
	{
		vendorAscend, ascendXmitRate, "Ascend-Xmit-Rate", inAccept, false,
		func(a *answer, v radius.Attribute) error { return a.rate(&a.limits.ascend.down, v) },
	},
	{
		vendorWISPr, wisprMaxUp, "WISPr-Bandwidth-Max-Up", inAccept, false,
		func(a *answer, v radius.Attribute) error { return a.rate(&a.limits.wispr.up, v) },
	},
	{
		vendorWISPr, wisprMaxDown, "WISPr-Bandwidth-Max-Down", inAccept, false,
		func(a *answer, v radius.Attribute) error { return a.rate(&a.limits.wispr.down, v) },
	},
}

// understood are the vendors of the table; the form of their attributes is the one that RFC 2865 section 5.26 suggests.
var understood = []uint32{vendorMicrosoft, vendorMikrotik, vendorAscend, vendorWISPr}

// errLength is the error of an attribute whose value has the wrong length.
var errLength = errors.New("the value has the wrong length")

func setFramedAddress(a *answer, v radius.Attribute) error {
	var ip netip.Addr
	if err := address(&ip, v); err != nil {
		return err
	}
	switch {
	case ip == netip.AddrFrom4([4]byte{255, 255, 255, 254}): // the NAS is to choose
	case ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}): // the user may choose; we leave that to the pool as well
	case ip.IsUnspecified() || ip.IsLoopback() || ip.As4()[0] >= 224 || ip.As4()[0] == 0:
		a.notef("Framed-IP-Address %s is no host's address: one of the pool is given", ip)
	default:
		a.v.Address = ip
	}
	return nil
}

func setFramedMTU(a *answer, v radius.Attribute) error {
	n, err := radius.Integer(v)
	if err != nil {
		return errLength
	}
	if n < 64 || n > 65535 { // the range of the RFC
		a.notef("Framed-MTU %d is out of range", n)
		return nil
	}
	a.v.MTU = int(n)
	return nil
}

func setFramedRoute(a *answer, v radius.Attribute) error {
	p, err := ParseFramedRoute(string(v))
	if err != nil {
		a.notef("Framed-Route %q is not applied: %v", printable(v), err)
		return nil // text is for the NAS to understand or not; it is no attribute of invalid length
	}
	a.v.Routes = append(a.v.Routes, p)
	return nil
}

func setMPPEPolicy(a *answer, v radius.Attribute) error {
	n, err := radius.Integer(v)
	if err != nil {
		return errLength
	}
	switch n {
	case 1:
		a.v.MPPEPolicy = tenant.MPPEOptional
	case 2:
		a.v.MPPEPolicy = tenant.MPPERequired
	default:
		a.notef("MS-MPPE-Encryption-Policy %d is unknown", n)
	}
	return nil
}

func setMPPETypes(a *answer, v radius.Attribute) error {
	n, err := radius.Integer(v)
	if err != nil {
		return errLength
	}
	for _, t := range []struct {
		bit  uint32
		bits int
	}{{0x4, 128}, {0x8, 56}, {0x2, 40}} { // 56 is not in the RFC; Windows and pppd have it
		if n&t.bit != 0 {
			a.v.MPPEKeyBits = append(a.v.MPPEKeyBits, t.bits)
		}
	}
	return nil
}

// key decrypts an MPPE key, RFC 2548 section 2.4.2.
func (a *answer) key(to *tenant.Secret, v radius.Attribute) error {
	k, _, err := radius.TunnelPassword(v, a.secret, a.authenticator[:])
	if err != nil {
		return fmt.Errorf("does not decrypt: %w", err)
	}
	if len(k) < 8 { // 40- and 56-bit start keys have 8 octets, RFC 3079 section 2
		return fmt.Errorf("the key is %d octets long, want 8 or 16", len(k))
	}
	*to = k
	return nil
}

// userName is the User-Name for r. A server computes the MS-CHAPv2 hash with the name that it is sent, less a domain in
// front, so a name that is too short for that after realm handling is sent as the peer sent it.
func userName(r authz.Request) string {
	if r.User == "" || r.Method == tenant.AuthMSCHAPv2 && mschap.StripDomain(r.User) != mschap.StripDomain(r.PeerName) {
		return r.PeerName
	}
	return r.User
}

// request builds and signs the Access-Request with identifier id.
func request(a asking, id byte) ([]byte, error) {
	p := &radius.Packet{
		Code: radius.CodeAccessRequest, Identifier: id, Authenticator: a.authenticator, Secret: a.secret,
	}
	for _, s := range sent {
		v := s.value(&a)
		if len(v) == 0 { // RFC 2865 section 5: what is empty is left out
			continue
		}
		if s.vendor == 0 {
			p.Add(s.typ, v)
			continue
		}
		sub, err := radius.NewTLV(byte(s.typ), v)
		if err != nil {
			return nil, fmt.Errorf("encode vendor attribute %d: %w", s.typ, err)
		}
		vsa, err := radius.NewVendorSpecific(s.vendor, sub)
		if err != nil {
			return nil, fmt.Errorf("encode vendor attribute %d: %w", s.typ, err)
		}
		p.Add(rfc2865.VendorSpecific_Type, vsa)
	}
	return sign(p)
}

// text is a string attribute, cut to what fits. Only our own strings can be longer: askable checks the peer's.
func text(s string) radius.Attribute { return radius.Attribute(s[:min(len(s), maxString)]) }

func host(a netip.Addr) radius.Attribute {
	if !a.IsValid() {
		return nil
	}
	return radius.Attribute(a.Unmap().String())
}

func address(to *netip.Addr, v radius.Attribute) error {
	if len(v) != 4 {
		return errLength
	}
	*to = netip.AddrFrom4([4]byte(v))
	return nil
}

func seconds(to *time.Duration, v radius.Attribute) error {
	if len(v) != 4 {
		return errLength
	}
	*to = time.Duration(binary.BigEndian.Uint32(v)) * time.Second
	return nil
}

// must is an error unless v is the integer want.
func must(v radius.Attribute, want uint32, name string) error {
	n, err := radius.Integer(v)
	if err != nil {
		return errLength
	}
	if n != want {
		return errors.New(strconv.FormatUint(uint64(n), 10) + " is not supported, only " + name)
	}
	return nil
}
