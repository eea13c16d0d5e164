package coa

import (
	"net/netip"
	"testing"

	"concentrator/internal/authz"
)

// TestFits: each field of a Match counts, and one that is wrong is enough.
func TestFits(t *testing.T) {
	s := aHost().sessions["acme"][0]
	for _, tt := range []struct {
		name string
		m    authz.Match
		want bool
	}{
		{"Acct-Session-Id", authz.Match{SessionID: "s-1"}, true},
		{"another Acct-Session-Id", authz.Match{SessionID: "S-1"}, false},
		{"User-Name", authz.Match{User: "alice"}, true},
		{"another User-Name", authz.Match{User: "alice", SessionID: "s-2"}, false},
		{"Framed-IP-Address", authz.Match{Address: netip.MustParseAddr("10.9.0.1")}, true},
		{"another Framed-IP-Address", authz.Match{SessionID: "s-1", Address: netip.MustParseAddr("10.9.0.2")}, false},
		{"Calling-Station-Id", authz.Match{CallingStation: "198.51.100.1"}, true},
		{"Calling-Station-Id in IPv6", authz.Match{CallingStation: "::ffff:198.51.100.1"}, true},
		{"another Calling-Station-Id", authz.Match{SessionID: "s-1", CallingStation: "198.51.100.10"}, false},
		{"no address for a Calling-Station-Id", authz.Match{SessionID: "s-1", CallingStation: "00-11-22-33-44-55"}, false},
		{"Called-Station-Id", authz.Match{CalledStation: "192.0.2.1"}, true},
		{"another Called-Station-Id", authz.Match{SessionID: "s-1", CalledStation: "192.0.2.2"}, false},
		{"NAS-Port", authz.Match{NASPort: new(uint32(1))}, true},
		{"another NAS-Port", authz.Match{SessionID: "s-1", NASPort: new(uint32(0))}, false},
		{"Class", authz.Match{Class: [][]byte{[]byte("gold")}}, true},
		{"both Classes", authz.Match{Class: [][]byte{[]byte("alice"), []byte("gold")}}, true},
		{"another Class too", authz.Match{Class: [][]byte{[]byte("gold"), []byte("bob")}}, false},
		{"all", authz.Match{
			SessionID: "s-1", User: "alice", Address: s.Address, CallingStation: s.CallingStation, CalledStation: s.CalledStation,
			NASPort: &s.NASPort, Class: s.Class,
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if isEmpty(tt.m) {
				t.Error("it is held to be empty")
			}
			if got := fits(tt.m, s); got != tt.want {
				t.Errorf("fits: %t, want %t", got, tt.want)
			}
		})
	}
	if !isEmpty(authz.Match{}) {
		t.Error("an empty Match is not held to be empty")
	}
}
