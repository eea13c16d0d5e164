package l2tp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"concentrator/internal/corpus"
)

// avp is an AVP in hex: flags and length in four digits, vendor 0, attribute, value.
func avp(mandatory bool, attribute uint16, value string) string {
	v, err := hex.DecodeString(strings.ReplaceAll(value, " ", ""))
	if err != nil {
		panic(err)
	}
	head := uint16(6 + len(v))
	if mandatory {
		head |= 0x8000
	}
	b := binary.BigEndian.AppendUint16(nil, head)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint16(b, attribute)
	return hex.EncodeToString(append(b, v...))
}

func text(s string) string { return hex.EncodeToString([]byte(s)) }

// correlation is the AVP that Windows puts into its ICRQ since Vista SP1: vendor Microsoft, a GUID, no M bit.
var correlation = AVP{
	Vendor: 311, Attribute: 1,
	Value: []byte{0xee, 0x24, 0x10, 0x1a, 0x2d, 0x0c, 0x85, 0x45, 0x97, 0xf8, 0x69, 0x07, 0xee, 0x2e, 0x1d, 0x2b},
}

// golden are messages of real clients, AVP by AVP as documented or logged. Windows leaves the M bit of both Bearer AVPs out,
// which is all that differs from what Append writes. The lengths that Microsoft documents for Vista's SCCRQ and ICCN do not
// fit the AVPs that it lists; those of SCCCN and ICRQ do, and the one of Windows 10 is from a log.
var golden = []struct {
	name  string
	size  int // octets with the header
	wire  string
	msg   Message
	extra []AVP
}{
	{
		"Windows Vista SCCRQ with a host name of 22 octets", 0x73,
		"8008 0000 0000 0001 8008 0000 0002 0100 800a 0000 0003 00000001 000a 0000 0004 00000000 0008 0000 0006 0600" +
			avp(true, 7, text("client.vpn.example.com")) + avp(false, 8, text("Microsoft")) +
			"8008 0000 0009 0001 8008 0000 000a 0008",
		&SCCRQ{
			ProtocolVersion: Version, FramingCapabilities: FramingSync, BearerCapabilities: Some[uint32](0),
			FirmwareRevision: Some[uint16](0x0600), HostName: "client.vpn.example.com", VendorName: "Microsoft",
			AssignedTunnelID: 1, ReceiveWindowSize: Some[uint16](8),
		},
		nil,
	},
	{
		"Windows 10 SCCRQ with a host name of 15 octets", 108,
		"8008 0000 0000 0001 8008 0000 0002 0100 800a 0000 0003 00000001 000a 0000 0004 00000000 0008 0000 0006 0a00" +
			avp(true, 7, text("DESKTOP-0123456")) + avp(false, 8, text("Microsoft")) +
			"8008 0000 0009 0001 8008 0000 000a 0008",
		&SCCRQ{
			ProtocolVersion: Version, FramingCapabilities: FramingSync, BearerCapabilities: Some[uint32](0),
			FirmwareRevision: Some[uint16](0x0a00), HostName: "DESKTOP-0123456", VendorName: "Microsoft",
			AssignedTunnelID: 1, ReceiveWindowSize: Some[uint16](8),
		},
		nil,
	},
	{"Windows SCCCN", 0x14, "8008 0000 0000 0003", &SCCCN{}, nil},
	{
		"Windows Vista ICRQ", 0x46,
		"8008 0000 0000 000a 8008 0000 000e 0001 800a 0000 000f 00000000 000a 0000 0012 00000001" +
			"0016 0137 0001 ee24101a2d0c854597f86907ee2e1d2b",
		&ICRQ{AssignedSessionID: 1, BearerType: Some[uint32](1)},
		[]AVP{correlation},
	},
	{
		"Windows Vista ICCN", 0x30,
		"8008 0000 0000 000c 800a 0000 0018 05f5e100 800a 0000 0013 00000001 0008 0000 001d 0004",
		&ICCN{TxConnectSpeed: 100_000_000, FramingType: FramingSync, ProxyAuthenType: Some(ProxyAuthenNone)},
		nil,
	},
	{
		"macOS SCCRQ", 12 + 8 + 8 + 10 + 10 + 8 + 8,
		"8008 0000 0000 0001 8008 0000 0002 0100 800a 0000 0003 00000003" + avp(true, 7, text("mac1")) +
			"8008 0000 0009 0007 8008 0000 000a 0004",
		&SCCRQ{
			ProtocolVersion: Version, FramingCapabilities: FramingEither, HostName: "mac1", AssignedTunnelID: 7,
			ReceiveWindowSize: Some[uint16](4),
		},
		nil,
	},
	{
		"macOS ICCN", 12 + 8 + 10 + 10,
		"8008 0000 0000 000c 800a 0000 0018 000f4240 800a 0000 0013 00000003",
		&ICCN{TxConnectSpeed: 1_000_000, FramingType: FramingEither},
		nil,
	},
	{
		"Android SCCRQ with a challenge", 12 + 8 + 8 + 10 + 15 + 8 + 8 + 38,
		"8008 0000 0000 0001 8008 0000 0002 0100 800a 0000 0003 00000003" + avp(true, 7, text("anonymous")) +
			"8008 0000 0009 beef 8008 0000 000a 0001" + avp(true, 11, strings.Repeat("a5", 32)),
		&SCCRQ{
			ProtocolVersion: Version, FramingCapabilities: FramingEither, HostName: "anonymous", AssignedTunnelID: 0xbeef,
			ReceiveWindowSize: Some[uint16](1), Challenge: bytes.Repeat([]byte{0xa5}, 32),
		},
		nil,
	},
	{
		"xl2tpd 1.3.18 SCCRQ, recorded", 0x63,
		"80080000000000018008000000020100800a0000000300000003800a00000004000000000008000000060690800800000007766d" +
			"00130000000878656c6572616e63652e636f6d8008000000092c0d80080000000a0004",
		&SCCRQ{
			ProtocolVersion: Version, FramingCapabilities: FramingEither, BearerCapabilities: Some[uint32](0),
			FirmwareRevision: Some[uint16](0x0690), HostName: "vm", VendorName: "xelerance.com", AssignedTunnelID: 0x2c0d,
			ReceiveWindowSize: Some[uint16](4),
		},
		nil,
	},
	{
		"xl2tpd 1.3.18 CDN, recorded", 0x26, "80080000 0000000e 800a0000 00010001 00008008 0000000e 095a",
		&CDN{Result: Result{Code: CallResultLostCarrier}, AssignedSessionID: 0x095a},
		nil,
	},
	{
		"Windows StopCCN", 0x26,
		"8008 0000 0000 0004 8008 0000 0009 000d 800a 0000 0001 0001 0000",
		&StopCCN{AssignedTunnelID: 13, Result: Result{Code: StopResultGeneralRequest}},
		nil,
	},
	{
		"Windows CDN", 12 + 8 + 10 + 8,
		"8008 0000 0000 000e 800a 0000 0001 0003 0000 8008 0000 000e 0001",
		&CDN{Result: Result{Code: CallResultAdministrative}, AssignedSessionID: 1},
		nil,
	},
}

func TestGolden(t *testing.T) {
	for _, c := range golden {
		h := Header{TunnelID: 0x1234, SessionID: 0x5678, Ns: 1, Nr: 2}
		got := Append(nil, h, c.msg, nil, c.extra...)
		want := unhex(t, c.wire)
		want = bytes.ReplaceAll(want, []byte{0, 10, 0, 0, 0, 4}, []byte{0x80, 10, 0, 0, 0, 4})
		want = bytes.ReplaceAll(want, []byte{0, 10, 0, 0, 0, 18}, []byte{0x80, 10, 0, 0, 0, 18})
		if !bytes.Equal(got[ControlHeaderLen:], want) {
			t.Errorf("%s:\n%x, want\n%x", c.name, got[ControlHeaderLen:], want)
		}
		head, _, err := ParseHeader(got)
		if err != nil || !head.Control || head.TunnelID != 0x1234 || head.SessionID != 0x5678 || head.Ns != 1 || head.Nr != 2 {
			t.Errorf("%s: header %+v, %v", c.name, head, err)
		}
		if len(got) != c.size || int(head.Length) != len(got) {
			t.Errorf("%s: %#x octets, want %#x", c.name, len(got), c.size)
		}
		if m, err := Parse(unhex(t, c.wire), nil); err != nil || !reflect.DeepEqual(m, c.msg) {
			t.Errorf("%s: %+v, %v, want %+v", c.name, m, err, c.msg)
		}
	}
}

// full has every field of every message.
var full = []Message{
	&SCCRQ{
		Version, 3, Some[uint32](3), Some[uint64](0x0102030405060708), Some[uint16](7), "host", "vendor", 9,
		Some[uint16](10), []byte("challenge"),
	},
	&SCCRP{
		Version, 3, Some[uint32](3), Some[uint16](7), "host", "vendor", 9, Some[uint16](10), []byte("challenge"),
		[]byte("0123456789abcdef"),
	},
	&SCCCN{[]byte("0123456789abcdef")},
	&StopCCN{9, Result{StopResultGeneralError, ErrorNoResource, "full"}},
	&HELLO{},
	&OCRQ{1, 2, 3, 4, 5, 6, "called", "sub"},
	&OCRP{1, Some[uint32](2)},
	&OCCN{1, 2, Some[uint32](3), true},
	&ICRQ{1, 2, Some[uint32](3), Some[uint32](4), "called", "calling", "sub"},
	&ICRP{1},
	&ICCN{
		1, 2,
		[]byte{1},
		[]byte{2},
		[]byte{3},
		Some[uint16](2), []byte("name"), []byte("challenge"), Some[uint16](5),
		[]byte("response"), []byte("group"), Some[uint32](6), true,
	},
	&CDN{Result{CallResultGeneralError, ErrorTryAnother, "elsewhere"}, 1, []byte{0, 16, 5}, []byte{0, 1, 0, 0, 0}},
	&WEN{1, 2, 3, 4, 5, 6},
	&SLI{1, 2},
}

func TestEveryFieldRoundTrips(t *testing.T) {
	for _, m := range full {
		v := reflect.ValueOf(m).Elem()
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("%s: the test leaves field %d out", m.Type(), i)
			}
		}
		b := Append(nil, Header{}, m, nil)
		if got, err := Parse(b[ControlHeaderLen:], nil); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: %+v, %v, want %+v", m.Type(), got, err, m)
		}
		hiding := Hiding{Secret: []byte("s"), Vector: []byte("0123456789abcdef"), Hide: func(Attribute) bool { return true }, Padding: 5}
		b = Append(nil, Header{}, m, &hiding)
		if got, err := Parse(b[ControlHeaderLen:], []byte("s")); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s hidden: %+v, %v, want %+v", m.Type(), got, err, m)
		}
	}
}

// TestMandatoryBits compares the M bits that we send with those that RFC 2661 section 4.4 demands.
func TestMandatoryBits(t *testing.T) {
	optional := map[Attribute]bool{5: true, 6: true, 8: true, 25: true, 37: true, 38: true, 46: true}
	for a := AttributeInitialReceivedLCP; a <= AttributeProxyAuthenResponse; a++ {
		optional[a] = true
	}
	for a := range kinds {
		if kinds[a].name != "" && kinds[a].mandatory == optional[Attribute(a)] {
			t.Errorf("%s: M bit %v", Attribute(a), kinds[a].mandatory)
		}
	}
}

const hello = "8008 0000 0000 0006"

func TestParseTolerates(t *testing.T) {
	for _, c := range []struct {
		name, wire string
		want       Message
	}{
		{"an unknown attribute", hello + "0008 0000 0063 abcd", &HELLO{}},
		{"attribute 20, which does not exist", hello + "0006 0000 0014", &HELLO{}},
		{"another vendor's attribute", hello + "0008 0137 0007 abcd", &HELLO{}},
		{"a reserved bit", hello + "0406 0000 0007", &HELLO{}},
		{"a hidden attribute without a random vector", hello + "4008 0000 0006 abcd", &HELLO{}},
		{"an optional attribute of the wrong size", hello + "0007 0000 0006 ab", &HELLO{}},
		{"another vendor's attribute of the same number", "8008 0000 0000 000b 0008 0137 000e 0009 8008 0000 000e 0001", &ICRP{1}},
		{"a known attribute in the wrong message", hello + avp(true, 9, "0001"), &HELLO{}},
		{"a message type without the M bit", "0008 0000 0000 0006", &HELLO{}},
		{"an unknown message type without the M bit", "0008 0000 0000 0063", nil},
		{"message type 5 without the M bit", "0008 0000 0000 0005", nil},
		{"mandatory ones without the M bit", "8008 0000 0000 000b 0008 0000 000e 0001", &ICRP{1}},
		{"optional ones with the M bit", "8008 0000 0000 0008 8008 0000 000e 0001 800a 0000 0019 00000002", &OCRP{1, Some[uint32](2)}},
		{"any order, and the first of two", "8008 0000 0000 000a 800a 0000 000f 00000001 8008 0000 000e 0001 8008 0000 000e 0002", &ICRQ{AssignedSessionID: 1, CallSerialNumber: 1}},
		{"a result code alone", "8008 0000 0000 0004 8008 0000 0009 0001 8008 0000 0001 0006", &StopCCN{1, Result{Code: 6}}},
		{"no host name", "8008 0000 0000 0001 8008 0000 0002 0100 800a 0000 0003 00000001 8008 0000 0009 0001", &SCCRQ{ProtocolVersion: 0x0100, FramingCapabilities: 1, AssignedTunnelID: 1}},
	} {
		if got, err := Parse(unhex(t, c.wire), nil); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		name, wire string
		code       uint16
	}{
		{"nothing", "", ErrorLength},
		{"half a message type", "8008 0000 0000 00", ErrorLength},
		{"a message type of seven octets", "8007 0000 0000 0006", ErrorLength},
		{"a hidden message type", "c008 0000 0000 0006", ErrorLength},
		{"another vendor's message type", "8008 0137 0000 0006", ErrorLength},
		{"another attribute first", "8008 0000 0009 0001" + hello, ErrorLength},
		{"an AVP of five octets", hello + "8005 0000 0009", ErrorLength},
		{"an AVP of no octets", hello + "0000 0000 0009", ErrorLength},
		{"an AVP beyond the end", hello + "0009 0000 0009 0001", ErrorLength},
		{"an AVP of 1023 octets that are not there", hello + "03ff 0000 0009 0001", ErrorLength},
		{"five octets left", hello + "8008 0000 00", ErrorLength},
		{"too many AVPs", hello + strings.Repeat("0006 0000 0063", maxAVPs), ErrorVendor},
		{"an unknown attribute with the M bit", hello + "8006 0000 0063", ErrorUnknownMandatory},
		{"another vendor's attribute with the M bit", hello + "8006 0009 0001", ErrorUnknownMandatory},
		{"a reserved bit with the M bit", hello + "8406 0000 0007", ErrorUnknownMandatory},
		{"a hidden attribute with the M bit and no random vector", hello + "c008 0000 0009 abcd", ErrorUnknownMandatory},
		{"an unknown message type with the M bit", "8008 0000 0000 0063", ErrorUnknownMandatory},
		{"an attribute of the wrong size", "8008 0000 0000 000b 8007 0000 000e 00", ErrorLength},
		{"a missing attribute", "8008 0000 0000 000b", ErrorVendor},
		{"a session ID of 0", "8008 0000 0000 000b 8008 0000 000e 0000", ErrorValue},
		{"a tunnel ID of 0", "8008 0000 0000 0001 8008 0000 0002 0100 800a 0000 0003 00000001 8008 0000 0009 0000", ErrorValue},
		{"an ACCM without its reserved octets", "8008 0000 0000 0010 800e 0000 0023 0000000000000000", ErrorLength},
		{"a result code of one octet", "8008 0000 0000 0004 8008 0000 0009 0001 8007 0000 0001 00", ErrorLength},
		{"a result code of three octets", "8008 0000 0000 0004 8008 0000 0009 0001 8009 0000 0001 000100", ErrorLength},
		{"a challenge response of 15 octets", "8008 0000 0000 0003" + avp(true, 13, strings.Repeat("00", 15)), ErrorLength},
	} {
		m, err := Parse(unhex(t, c.wire), nil)
		var bad *Error
		if m != nil || !errors.As(err, &bad) || bad.Code != c.code || bad.Detail == "" {
			t.Errorf("%s: %+v, %+v, want code %d", c.name, m, err, c.code)
		}
	}
}

func FuzzParse(f *testing.F) {
	corpus.Add(f)
	for _, c := range golden {
		f.Add(unhex(f, c.wire))
	}
	secret := []byte("secret")
	hiding := Hiding{Secret: secret, Vector: []byte("0123456789abcdef"), Hide: func(Attribute) bool { return true }}
	for _, m := range full {
		f.Add(Append(nil, Header{}, m, nil)[ControlHeaderLen:])
		f.Add(Append(nil, Header{}, m, &hiding)[ControlHeaderLen:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b, secret)
		if err != nil {
			if bad := (*Error)(nil); m != nil || !errors.As(err, &bad) {
				t.Fatalf("%+v with %v", m, err)
			}
			return
		}
		if m == nil {
			return
		}
		again, err := Parse(Append(nil, Header{}, m, nil)[ControlHeaderLen:], nil)
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}
