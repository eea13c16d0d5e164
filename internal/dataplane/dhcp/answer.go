package dhcp

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"concentrator/internal/dataplane/policy"
)

const (
	ipHeaderLen = 20
	headLen     = ipHeaderLen + udpHeaderLen
	ttl         = 64

	// MaxLen is how long an answer is at most, with its IP header, in octets: every client takes that (RFC 2131 section 2).
	MaxLen = 576
	// MinLen is how long it is at least: BOOTP's messages are no shorter than 300 octets (RFC 1542 section 2.1), and some
	// clients insist.
	MinLen = headLen + 300
)

// Config is what a client is told. Only IPv4 counts, the rest is left out.
type Config struct {
	Server netip.Addr     // our end of the link, which is the router of all routes too
	Client netip.Addr     // the session's address
	DNS    []netip.Addr   // name servers
	WINS   []netip.Addr   // NetBIOS name servers
	Suffix string         // DNS suffix of unqualified names
	Routes []netip.Prefix // networks behind the link
}

// Answer is what one session's client is told when it asks. It doesn't change, so any number of goroutines may use it.
type Answer struct {
	server, client            uint32
	mask                      [4]byte
	serverID                  [4]byte
	dns, wins, suffix, routes []byte // values of options
}

// New makes an Answer. It is nil if there is nothing to tell, or if one of the two addresses is not IPv4: then the question
// is not ours. Of a list only so much counts as one option holds, which is 255 octets.
func New(c Config) *Answer {
	if !c.Server.Is4() || !c.Client.Is4() {
		return nil
	}
	a := &Answer{
		mask: [4]byte{0xff, 0xff, 0xff, 0xff}, serverID: c.Server.As4(),
		dns: addresses(c.DNS), wins: addresses(c.WINS), routes: routes(c.Routes, c.Server),
	}
	if len(c.Suffix) <= maxValueLen {
		a.suffix = []byte(c.Suffix)
	}
	if len(a.dns)+len(a.wins)+len(a.suffix)+len(a.routes) == 0 {
		return nil
	}
	client := c.Client.As4()
	a.server, a.client = binary.BigEndian.Uint32(a.serverID[:]), binary.BigEndian.Uint32(client[:])
	return a
}

// addresses is the value of an option that lists addresses.
func addresses(list []netip.Addr) []byte {
	var b []byte
	for _, a := range list {
		if a.Is4() && len(b)+4 <= maxValueLen {
			b = append(b, a.AsSlice()...)
		}
	}
	return b
}

// routes is the value of the option for classless routes, RFC 3442: of each network the length of its prefix, as many octets
// of it as that takes, and the router.
func routes(list []netip.Prefix, router netip.Addr) []byte {
	var b []byte
	for _, p := range list {
		if !p.IsValid() || !p.Addr().Is4() {
			continue
		}
		octets := (p.Bits() + 7) / 8
		if len(b)+1+octets+4 > maxValueLen {
			break
		}
		b = append(b, byte(p.Bits()))
		b = append(b, p.Masked().Addr().AsSlice()[:octets]...)
		b = append(b, router.AsSlice()...)
	}
	return b
}

// Server is our address, as a number in host order.
func (a *Answer) Server() uint32 { return a.server }

// Append appends to b the answer to the inner IPv4 packet p, whose header is h and for which Asks is true: an IPv4 packet of
// at most MaxLen octets, and at most most. It reports false, and appends nothing, if p is not a sound DHCPINFORM of the
// session's client, or if most is less than MinLen.
//
// Told is what the client asks for, or everything if it doesn't say; what does not fit is left out, routes last.
func (a *Answer) Append(b, p []byte, h *policy.IPv4, most int) ([]byte, bool) {
	most = min(most, MaxLen)
	if most < MinLen || h.Src != a.client || !Asks(p, h) {
		return b, false
	}
	r, ok := parseRequest(p, h)
	if !ok {
		return b, false
	}
	// RFC 2131 section 3.4 wants the client's address in ciaddr; without it there is but one that can be meant.
	ciaddr := binary.BigEndian.Uint32(r.message[atCIAddr:])
	if ciaddr != 0 && ciaddr != a.client {
		return b, false
	}
	start := len(b)
	b = slices.Grow(b, most)
	b = b[:start+headLen+fixedLen]
	clear(b[start:])
	a.fill(b[start+headLen:], r.message)
	w := writer{b: b, most: start + most}
	a.putOptions(&w, r)
	b = append(w.b, optionEnd) // put leaves room for it
	for len(b) < start+MinLen {
		b = append(b, optionPad)
	}
	a.wrap(b[start:])
	return b, true
}

// fill fills in the fixed fields of the answer m, RFC 2131 section 4.3.1 table 3: yiaddr stays zero.
func (a *Answer) fill(m, question []byte) {
	copy(m[:atCIAddr+4], question)
	m[atOp], m[atHops] = bootReply, 0
	clear(m[atSecs:atFlags])
	copy(m[atSIAddr:], a.serverID[:]) // as Windows' own servers do
	copy(m[atCHAddr:atSName], question[atCHAddr:])
	binary.BigEndian.PutUint32(m[atCookie:], cookie)
}

// putOptions appends the options. The message type is the first: macOS takes it nowhere else.
func (a *Answer) putOptions(w *writer, r request) {
	w.put(optionMessageType, typeAck)
	w.put(optionServer, a.serverID[:]...)
	w.put(optionClientID, r.clientID...) // RFC 6842 section 3
	list := r.list
	if !r.hasList {
		list = everything
	}
	// Twice over the list, so that routes, which may be long, are what is left out.
	for _, late := range [...]bool{false, true} {
		var seen [256]bool
		for _, code := range list {
			if !seen[code] && late == (code == optionRoutes || code == optionRoutesWindows) {
				w.put(code, a.value(code)...)
			}
			seen[code] = true
		}
	}
}

// everything is what a client is told that has no list.
var everything = []byte{optionSubnetMask, optionDNS, optionDomainName, optionWINS, optionRoutes, optionRoutesWindows}

// value is what we have to say to an option; nil: nothing.
func (a *Answer) value(code byte) []byte {
	switch code {
	case optionSubnetMask:
		return a.mask[:]
	case optionDNS:
		return a.dns
	case optionDomainName:
		return a.suffix
	case optionWINS:
		return a.wins
	case optionRoutes, optionRoutesWindows:
		return a.routes
	}
	return nil
}

// wrap fills in the IPv4 and UDP headers of p. The answer goes to the client's address, as that to a DHCPINFORM must.
func (a *Answer) wrap(p []byte) {
	ip, datagram := p[:ipHeaderLen], p[ipHeaderLen:]
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], uint16(len(p)))
	ip[6] = 0x40 // DF, so that identification 0 is right: RFC 6864 section 4.1
	ip[8], ip[9] = ttl, protocolUDP
	binary.BigEndian.PutUint32(ip[12:], a.server)
	binary.BigEndian.PutUint32(ip[16:], a.client)
	binary.BigEndian.PutUint16(ip[10:], ^sum(ip, 0))
	binary.BigEndian.PutUint16(datagram, serverPort)
	binary.BigEndian.PutUint16(datagram[2:], clientPort)
	binary.BigEndian.PutUint16(datagram[4:], uint16(len(datagram)))
	check := ^udpSum(datagram, a.server, a.client)
	if check == 0 {
		check = 0xffff // 0 says that there is none: RFC 768
	}
	binary.BigEndian.PutUint16(datagram[6:], check)
}
