package coa

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"concentrator/internal/corpus"
)

// FuzzHandle gives a Server datagrams as they are, and the same attributes in a genuine request. Whatever they are, there is at
// most one reply, it is genuine, and nobody's session but acme's is touched.
func FuzzHandle(f *testing.F) {
	corpus.Add(f)
	for _, a := range []asking{
		disconnect(text(userName, "alice")),
		disconnect(text(acctSessionID, "s-1"), stamp(time.Now()), text(proxyState, "p"), text(state, "s")),
		change(text(acctSessionID, "s-1"), number(sessionTimeout, 60), text(class, "x"), text(filterID, "guests")),
		change(text(callingStationID, "2001:db8::3"), text(nasIdentifier, "nas-1"), attr(nasIPAddress, 192, 0, 2, 1),
			number(serviceType, 17)),
		change(attr(vendorSpecific, 0, 0, 0x3a, 0x8c, 8, 6, '1', 'M', '/', '1'), number(nasPort, 1),
			text(calledStationID, "192.0.2.1")),
		{attrs: text(acctSessionID, "s-1"), signed: true, padding: []byte{1, 2}},
		{attrs: []byte{userName, 0, userName, 1, userName, 9}},
	} {
		f.Add(a.build())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h := aHost()
		s := start(t, h, func(c *Config) { c.NASIdentifier, c.Log = "nas-1", corpus.Log(t) })
		if got := handle(t, s, here, b); got != nil {
			open(t, b[:binary.BigEndian.Uint16(b[2:])], got, secret)
		}
		if len(b) >= 20 && len(b) <= 4096 {
			a := asking{code: 40 + 3*(b[0]&1), id: b[1] + 1, attrs: b[20:]}
			request := a.build()
			if got := handle(t, s, here, request); got != nil {
				if r := open(t, request, got, secret); (r.cause == 0) != (r.code == a.code+1) {
					t.Errorf("reply %+v", r)
				}
			}
		}
		for _, did := range h.did() {
			for _, u := range h.sessions["umbrella"] {
				if did == "disconnect "+u.ID {
					t.Errorf("did %q", did)
				}
			}
		}
		if got := handle(t, s, netip.AddrPortFrom(netip.MustParseAddr("192.0.2.77"), 1).String(), b); got != nil {
			t.Errorf("reply to a stranger: %x", got)
		}
	})
}
