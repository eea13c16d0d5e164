package radius

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz"
	"concentrator/internal/corpus"
)

const (
	coa        = radius.CodeCoARequest
	disconnect = radius.CodeDisconnectRequest
)

var changes = []struct {
	name   string
	code   radius.Code
	attrs  []byte
	match  authz.Match
	change authz.Change
	cause  uint32 // 0: none
	bad    string // name of the attribute
}{
	{name: "empty", code: coa},
	{
		name: "every key", code: disconnect, attrs: join(words(1, "alice"), attr(5, 0, 0, 0, 17), attr(8, 10, 9, 0, 7),
			words(30, "192.0.2.1"), words(31, "198.51.100.7"), words(44, "s-1")),
		match: authz.Match{
			User: "alice", NASPort: new(uint32(17)), Address: netip.MustParseAddr("10.9.0.7"), CalledStation: "192.0.2.1",
			CallingStation: "198.51.100.7", SessionID: "s-1",
		},
	},
	{
		name: "every change", code: coa, attrs: join(words(44, "s-1"), attr(27, 0, 0, 0x0e, 0x10), attr(28, 0, 0, 0, 60),
			attr(85, 0, 0, 1, 0x2c), words(11, "a"), words(11, "b"), attr(25, 1), attr(25, 2), words(22, "10.1.0.0/16"),
			words(22, "10.2.0.0/16 0.0.0.0 1"), mikrotik("1M/2M")),
		match: authz.Match{SessionID: "s-1"},
		change: authz.Change{
			UpBps: new(uint64(1_000_000)), DownBps: new(uint64(2_000_000)), ACL: new("b"), SessionTimeout: new(time.Hour),
			IdleTimeout: new(time.Minute), InterimInterval: new(5 * time.Minute), Class: &[][]byte{{1}, {2}},
			Routes: &[]netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("10.2.0.0/16")},
		},
	},
	{
		name: "no timeouts", code: coa, attrs: join(attr(27, 0, 0, 0, 0), attr(28, 0, 0, 0, 0), attr(85, 0, 0, 0, 0)),
		change: authz.Change{SessionTimeout: new(time.Duration(0)), IdleTimeout: new(time.Duration(0)), InterimInterval: new(time.Duration(0))},
	},
	{
		name: "one direction", code: coa, attrs: wispr(8, 0),
		change: authz.Change{DownBps: new(uint64(0))},
	},
	{
		name: "bursts are left out, the rate counts", code: coa, attrs: mikrotik("64k 256k"),
		change: authz.Change{UpBps: new(uint64(64_000)), DownBps: new(uint64(64_000))},
	},
	{name: "short interim interval", code: coa, attrs: attr(85, 0, 0, 0, 1), change: authz.Change{InterimInterval: new(time.Minute)}},
	{name: "passed over", code: coa, attrs: join(attr(80, make([]byte, 16)...), attr(55, 1, 2, 3, 4), attr(33, 1), attr(33, 1),
		attr(24, 1), words(32, "nas"), attr(4, 192, 0, 2, 1), attr(95, make([]byte, 16)...), attr(6, 0, 0, 0, 2), attr(7, 0, 0, 0, 1),
		attr(61, 0, 0, 0, 5), words(18, "bye"), words(18, "bye"), attr(49, 0, 0, 0, 6))},
	{name: "without a value", code: coa, attrs: join(attr(1), attr(27), attr(11), attr(26), vsa(vendorWISPr, 8))},
	{name: "Class of a Disconnect", code: disconnect, attrs: attr(25, 7), change: authz.Change{Class: &[][]byte{{7}}}},

	{name: "change in a Disconnect", code: disconnect, attrs: attr(27, 0, 0, 0, 1), cause: 401, bad: "Session-Timeout"},
	{name: "rate in a Disconnect", code: disconnect, attrs: mikrotik("1M"), cause: 401, bad: "Mikrotik-Rate-Limit"},
	{name: "unknown attribute", code: coa, attrs: attr(92, 1), cause: 401, bad: "attribute 92"},
	{name: "unknown, without a value", code: disconnect, attrs: attr(92), cause: 401, bad: "attribute 92"},
	{name: "NAS-Port-Id", code: disconnect, attrs: words(87, "17"), cause: 401, bad: "attribute 87"},
	{name: "of an accept only", code: coa, attrs: words(88, "staff"), cause: 401, bad: "Framed-Pool"},
	{name: "of a request only", code: coa, attrs: attr(2, make([]byte, 16)...), cause: 401, bad: "User-Password"},
	{name: "unapplied", code: coa, attrs: vsa(vendorMikrotik, 17, 0, 0, 0, 1), cause: 401, bad: "Mikrotik-Total-Limit"},
	{name: "unknown vendor", code: coa, attrs: vsa(9, 1, 'x'), cause: 401, bad: "vendor 9 attribute 26"},
	{name: "unknown of a vendor", code: coa, attrs: ms(200, 1), cause: 401, bad: "vendor 311 attribute 200"},
	{name: "second of several unknown", code: coa, attrs: attr(26,
		append([]byte{0, 0, 0x37, 0x12, 8, 6, 0, 0, 0, 0}, 99, 3, 1)...), cause: 401, bad: "vendor 14098 attribute 26"},
	{name: "second in one Vendor-Specific", code: coa, attrs: attr(26,
		append(binary.BigEndian.AppendUint32(nil, vendorWISPr), 8, 6, 0, 0, 0, 0, 99, 3, 1)...), cause: 401, bad: "vendor 14122 attribute 99"},
	{name: "no vendor", code: coa, attrs: attr(26, 1, 2, 3), cause: 404, bad: "Vendor-Specific"},
	{
		name: "cut vendor attribute", code: coa, attrs: attr(26, append(binary.BigEndian.AppendUint32(nil, vendorWISPr), 8, 6, 0)...),
		cause: 404, bad: "Vendor-Specific",
	},
	{
		name: "vendor attribute of length 1", code: coa, attrs: attr(26, append(binary.BigEndian.AppendUint32(nil, vendorWISPr), 8, 1)...),
		cause: 404, bad: "Vendor-Specific",
	},
	{name: "wrong length", code: coa, attrs: join(mikrotik("1M"), attr(27, 0, 1)), cause: 404, bad: "Session-Timeout"},
	{name: "key of wrong length", code: coa, attrs: attr(8, 10, 9, 0), cause: 404, bad: "Framed-IP-Address"},
	{name: "port of wrong length", code: coa, attrs: attr(5, 1), cause: 404, bad: "NAS-Port"},
	{name: "rate of wrong length", code: coa, attrs: vsa(vendorWISPr, 7, 1), cause: 404, bad: "WISPr-Bandwidth-Max-Up"},
	{name: "two of a key", code: disconnect, attrs: join(words(44, "s-1"), words(44, "s-2")), cause: 404, bad: "Acct-Session-Id"},
	{name: "two of a value", code: coa, attrs: join(attr(27, 0, 0, 0, 1), attr(27, 0, 0, 0, 1)), cause: 404, bad: "Session-Timeout"},
	{name: "route that is none", code: coa, attrs: join(words(22, "10.1.0.0/16"), words(22, "default")), cause: 407, bad: "Framed-Route"},
	{name: "rate that is none", code: coa, attrs: mikrotik("fast"), cause: 407, bad: "Mikrotik-Rate-Limit"},
	{name: "too much Class", code: coa, attrs: bytes.Repeat(attr(25, make([]byte, 250)...), 9), cause: 407, bad: "Class"},
	{name: "Service-Type", code: coa, attrs: attr(6, 0, 0, 0, 17), cause: 407, bad: "Service-Type"},
}

func TestParseChange(t *testing.T) {
	for _, tt := range changes {
		t.Run(tt.name, func(t *testing.T) {
			attrs, err := radius.ParseAttributes(tt.attrs)
			if err != nil {
				t.Fatal(err)
			}
			match, change, bad := ParseChange(tt.code, attrs)
			if bad != nil {
				if bad.Cause != tt.cause || bad.Name != tt.bad || bad.Detail == "" || !strings.Contains(bad.Error(), tt.bad) {
					t.Errorf("%+v, want %d %s", bad, tt.cause, tt.bad)
				}
			} else if tt.cause != 0 {
				t.Errorf("no error, want %d %s", tt.cause, tt.bad)
			}
			if !reflect.DeepEqual(match, tt.match) {
				t.Errorf("match %+v, want %+v", match, tt.match)
			}
			if !reflect.DeepEqual(change, tt.change) {
				t.Errorf("change %+v, want %+v", change, tt.change)
			}
		})
	}
}

func FuzzParseChange(f *testing.F) {
	corpus.Add(f)
	for _, tt := range changes {
		f.Add(tt.code == disconnect, tt.attrs)
	}
	f.Fuzz(func(t *testing.T, cut bool, b []byte) {
		attrs, err := radius.ParseAttributes(b)
		if err != nil {
			return
		}
		code := coa
		if cut {
			code = disconnect
		}
		match, change, bad := ParseChange(code, attrs)
		if bad != nil && (!reflect.ValueOf(match).IsZero() || !reflect.ValueOf(change).IsZero() || bad.Cause == 0) {
			t.Fatalf("a part of a refused request is left: %+v %+v %+v", match, change, bad)
		}
		change.Class = nil
		if cut && !reflect.ValueOf(change).IsZero() {
			t.Fatalf("a Disconnect-Request changes %+v", change)
		}
	})
}
