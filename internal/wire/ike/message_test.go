package ike

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// wire turns hex with spaces into octets.
func wire(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mainModeHex is message 1 of a Main Mode with two transforms and the DPD vendor ID: attributes in both forms.
const mainModeHex = `
	0102030405060708 0000000000000000 01 10 02 00 00000000 00000090
	0d 00 0060 00000001 00000001
	  00 00 0054 01 01 00 02
	    03 00 0028 01 01 0000 80010007 800e0100 80020002 80040014 80030001 800b0001 000c0004 00007080
	    00 00 0024 02 01 0000 80010005 80020002 80040002 80030001 800b0001 000c0004 00007080
	00 00 0014 afcad71368a1f1c96b8696fc77570100`

func mainMode(t testing.TB) []byte {
	t.Helper()
	return wire(t, mainModeHex)
}

func TestBuildMainMode(t *testing.T) {
	var first, second Attributes
	first = first.With(AttrEncryption, uint16(EncryptionAESCBC)).With(AttrKeyLength, 256).With(AttrHash, uint16(HashSHA1))
	first = first.With(AttrGroup, uint16(GroupECP384)).With(AttrAuthMethod, uint16(AuthPSK))
	first = first.With(AttrLifeType, uint16(LifeSeconds)).WithLong(AttrLifeDuration, 28800)
	second = second.With(AttrEncryption, uint16(Encryption3DES)).With(AttrHash, uint16(HashSHA1))
	second = second.With(AttrGroup, uint16(GroupMODP1024)).With(AttrAuthMethod, uint16(AuthPSK))
	second = second.With(AttrLifeType, uint16(LifeSeconds)).WithLong(AttrLifeDuration, 28800)
	b := NewBuilder(Header{Initiator: Cookie{1, 2, 3, 4, 5, 6, 7, 8}, Exchange: ExchangeMain})
	b.Add(PayloadSA, AppendSA(nil, Offer{Number: 1, Protocol: ProtocolISAKMP, Transforms: []Transform{
		{Number: 1, ID: TransformKeyIKE, Attributes: first}, {Number: 2, ID: TransformKeyIKE, Attributes: second},
	}}))
	b.Add(PayloadVID, VendorDPD.ID())
	if got, want := b.Bytes(), mainMode(t); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

func TestParseMainMode(t *testing.T) {
	m, err := ParseMessage(mainMode(t))
	if err != nil {
		t.Fatal(err)
	}
	if m.Header.Initiator != (Cookie{1, 2, 3, 4, 5, 6, 7, 8}) || !m.Header.Responder.IsZero() || m.Header.Encrypted() {
		t.Errorf("%+v", m.Header)
	}
	body, ok := m.Payloads.Get(PayloadSA)
	if !ok || m.Payloads.First() != PayloadSA || m.Payloads.Count(PayloadVID) != 1 {
		t.Fatal("no SA first, or no vendor ID")
	}
	sa, err := ParseSA(body)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for p := range sa.Proposals() {
		if p.Number != 1 || p.Protocol != ProtocolISAKMP || len(p.SPI) != 0 {
			t.Errorf("%+v", p)
		}
		for tr := range p.Transforms() {
			n++
			got := map[uint16]uint64{}
			for k, v := range tr.Attributes.All() {
				got[k] = v
			}
			if int(tr.Number) != n || got[AttrLifeDuration] != 28800 || got[AttrHash] != uint64(HashSHA1) {
				t.Errorf("transform %d: %v", tr.Number, got)
			}
			if chosen, err := ParseSA(AppendChosen(nil, p, []byte{1, 2, 3, 4}, tr)); err != nil {
				t.Errorf("what was chosen: %v", err)
			} else {
				for q := range chosen.Proposals() {
					if !bytes.Equal(q.SPI, []byte{1, 2, 3, 4}) {
						t.Errorf("%+v", q)
					}
					for u := range q.Transforms() {
						if !bytes.Equal(u.Attributes.Bytes(), tr.Attributes.Bytes()) || u.Number != tr.Number {
							t.Errorf("%+v", u)
						}
					}
				}
			}
		}
	}
	if n != 2 {
		t.Errorf("%d transforms", n)
	}
}

// edit returns the message with octets at offsets changed.
func edit(b []byte, changes map[int]byte) []byte {
	b = bytes.Clone(b)
	for at, v := range changes {
		b[at] = v
	}
	return b
}

// padded returns a message with octets behind it that its length covers.
func padded(b, more []byte) []byte {
	b = append(bytes.Clone(b), more...)
	binary.BigEndian.PutUint32(b[24:], uint32(len(b)))
	return b
}

// malformed are messages that no parser may take; the names say where the idea comes from.
func malformed(t testing.TB) map[string][]byte {
	good := mainMode(t)
	many := NewBuilder(Header{Initiator: Cookie{1}, Exchange: ExchangeMain})
	for range MaxPayloads + 1 {
		many.Add(PayloadVID, []byte{1})
	}
	return map[string][]byte{
		"empty":                              {},
		"header cut":                         good[:27],
		"message cut":                        good[:100],
		"length 0":                           edit(good, map[int]byte{27: 0}),
		"length beyond":                      edit(good, map[int]byte{24: 0xff}),
		"datagram longer than its length":    append(bytes.Clone(good), 0),
		"version 2":                          edit(good, map[int]byte{17: 0x20}),
		"CVE-2022-23094 a second message":    padded(good, good),
		"payload length 0":                   edit(good, map[int]byte{30: 0, 31: 0}),
		"payload length 3":                   edit(good, map[int]byte{30: 0, 31: 3}),
		"payload beyond the message":         edit(good, map[int]byte{30: 0xff}),
		"next payload without a payload":     edit(good, map[int]byte{124: byte(PayloadVID)}),
		"a transform among the payloads":     edit(good, map[int]byte{28: byte(PayloadTransform)}),
		"too many payloads (CVE-2026-12413)": many.Bytes(),
	}
}

func TestMalformedMessages(t *testing.T) {
	for name, b := range malformed(t) {
		if m, err := ParseMessage(b); err == nil {
			t.Errorf("%s: taken as %+v", name, m.Header)
		}
	}
}

// malformedSA are bodies of SA payloads.
func malformedSA(t testing.TB) map[string]struct {
	b   []byte
	err error
} {
	m, err := ParseMessage(mainMode(t))
	if err != nil {
		t.Fatal(err)
	}
	good, _ := m.Payloads.Get(PayloadSA)
	attrs := Attributes{}
	for range MaxAttributes + 1 {
		attrs = attrs.With(1, 1)
	}
	var transforms []Transform
	for range MaxTransforms + 1 {
		transforms = append(transforms, Transform{})
	}
	var offers []Offer
	for range MaxProposals + 1 {
		offers = append(offers, Offer{Protocol: ProtocolISAKMP})
	}
	return map[string]struct {
		b   []byte
		err error
	}{
		"empty":                              {nil, ErrLength},
		"no proposal":                        {good[:8], ErrLength},
		"another DOI":                        {edit(good, map[int]byte{3: 2}), ErrDOI},
		"CVE-2015-3204 situation":            {edit(good, map[int]byte{4: 0xff, 5: 0xff, 6: 0xff, 7: 0xff}), ErrSituation},
		"proposal length 0":                  {edit(good, map[int]byte{10: 0, 11: 0}), ErrLength},
		"proposal length 7":                  {edit(good, map[int]byte{10: 0, 11: 7}), ErrLength},
		"proposal beyond the SA":             {edit(good, map[int]byte{11: 0x55}), ErrLength},
		"proposal shorter than transforms":   {edit(good, map[int]byte{11: 0x53}), ErrLength},
		"SPI of 255 octets":                  {edit(good, map[int]byte{14: 255}), ErrLength},
		"three transforms, two there":        {edit(good, map[int]byte{15: 3}), ErrLength},
		"one transform, two there":           {edit(good, map[int]byte{15: 1}), ErrLength},
		"255 transforms":                     {edit(good, map[int]byte{15: 255}), ErrTooMany},
		"transform length 0":                 {edit(good, map[int]byte{18: 0, 19: 0}), ErrLength},
		"transform length 7":                 {edit(good, map[int]byte{18: 0, 19: 7}), ErrLength},
		"another proposal is said to follow": {edit(good, map[int]byte{8: 2}), ErrChain},
		"attribute beyond the transform":     {edit(good, map[int]byte{50: 0xff}), ErrLength},
		"too many attributes":                {AppendSA(nil, Offer{Transforms: []Transform{{Attributes: attrs}}}), ErrTooMany},
		"too many transforms":                {AppendSA(nil, Offer{Transforms: transforms}), ErrTooMany},
		"too many proposals":                 {AppendSA(nil, offers...), ErrTooMany},
	}
}

func TestMalformedSA(t *testing.T) {
	for name, tc := range malformedSA(t) {
		if _, err := ParseSA(tc.b); !errors.Is(err, tc.err) {
			t.Errorf("%s: %v instead of %v", name, err, tc.err)
		}
	}
}

func TestPadding(t *testing.T) {
	b := wire(t, "0b00 0008 01020304 0000 0005 09 000000")
	p, err := ParsePayloads(PayloadHASH, b, true)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p.AfterFirst(), b[8:13]) || !bytes.Equal(p.Bytes(), b[:13]) {
		t.Errorf("%x %x", p.AfterFirst(), p.Bytes())
	}
	if _, err := ParsePayloads(PayloadHASH, b, false); !errors.Is(err, ErrLength) {
		t.Errorf("padding in the clear: %v", err)
	}
}

func TestLongAttributes(t *testing.T) {
	for _, tc := range []struct {
		hex  string
		want uint64
	}{
		{"000c 0004 00007080", 28800},
		{"800c 7080", 28800},
		{"000c 0000", 0},
		{"000c 0008 0000000100000000", 1 << 32},
		{"000c 0009 000000000000000001", 1},
		{"000c 0009 010000000000000000", ^uint64(0)},
	} {
		a, err := ParseAttributes(wire(t, tc.hex))
		if err != nil {
			t.Errorf("%s: %v", tc.hex, err)
		}
		for k, v := range a.All() {
			if k != AttrLifeDuration || v != tc.want {
				t.Errorf("%s: attribute %d is %d", tc.hex, k, v)
			}
		}
	}
}

func TestIdentities(t *testing.T) {
	for _, tc := range []struct {
		hex  string
		addr string
		ok   bool
	}{
		{"01 11 06a5 c0a80005", "192.168.0.5", true},
		{"05 00 0000 20010db8000000000000000000000001", "2001:db8::1", true},
		{"0b 00 0000 67727031", "", true},
		{"02 00 0000", "", true},
		{"01 00 0000 c0a800", "", false}, // libreswan CVE-2023-38711 and its kin: lengths by type
		{"06 00 0000 20010db8", "", false},
		{"01 00 00", "", false},
	} {
		b := wire(t, tc.hex)
		id, err := ParseID(b)
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.hex, err)
		}
		if err != nil {
			continue
		}
		if got := id.Addr(); got.IsValid() != (tc.addr != "") || tc.addr != "" && got != netip.MustParseAddr(tc.addr) {
			t.Errorf("%s: %v", tc.hex, got)
		}
		if back, _ := id.AppendBinary(nil); !bytes.Equal(back, b) {
			t.Errorf("%s came back as %x", tc.hex, back)
		}
	}
	if a, err := ParseNATOA(AppendNATOA(nil, netip.MustParseAddr("::ffff:10.0.0.2"))); err != nil || a != netip.MustParseAddr("10.0.0.2") {
		t.Errorf("NAT-OA: %v %v", a, err)
	}
	if _, err := ParseNATOA(wire(t, "02 00 0000 61")); err == nil {
		t.Error("a name as original address")
	}
}

func TestNotifyAndDelete(t *testing.T) {
	n := Notify{Protocol: ProtocolISAKMP, Type: NotifyRUThere, SPI: make([]byte, 16), Data: []byte{0, 0, 0, 1}}
	b, _ := n.AppendBinary(nil)
	got, err := ParseNotify(b)
	if err != nil || got.Type != n.Type || len(got.SPI) != 16 || !bytes.Equal(got.Data, n.Data) || got.Type.IsError() {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := ParseNotify(b[:20]); err == nil {
		t.Error("an SPI beyond the notify")
	}
	if _, err := ParseNotify(b[:7]); err == nil {
		t.Error("a notify of 7 octets")
	}
	d, err := ParseDelete(AppendDelete(nil, ProtocolESP, []byte{1, 2, 3, 4}, []byte{5, 6, 7, 8}))
	count := 0
	for spi := range d.SPIs() {
		count++
		if len(spi) != 4 {
			t.Errorf("SPI %x", spi)
		}
	}
	if err != nil || count != 2 {
		t.Errorf("%d SPIs, %v", count, err)
	}
	for name, s := range map[string]string{
		"short":           "00000001 03 04 00",
		"SPIs of nothing": "00000001 03 00 ffff",
		"too many":        "00000001 03 04 0003 01020304",
		"too few":         "00000001 03 04 0000 01020304",
		"65535 of 255":    "00000001 03 ff ffff 01020304",
	} {
		if _, err := ParseDelete(wire(t, s)); err == nil {
			t.Errorf("delete with SPIs that are %s", name)
		}
	}
}

// The strings are those of facts that implementations share; the octets are what they send.
func TestVendorIDs(t *testing.T) {
	for text, v := range map[string]Vendor{
		"RFC 3947": VendorNATTRFC3947, "draft-ietf-ipsec-nat-t-ike-03": VendorNATTDraft03,
		"draft-ietf-ipsec-nat-t-ike-02\n": VendorNATTDraft02NL, "draft-ietf-ipsec-nat-t-ike-02": VendorNATTDraft02,
		"draft-ietf-ipsec-nat-t-ike-01": VendorNATTDraft01, "draft-ietf-ipsec-nat-t-ike-00": VendorNATTDraft00,
		"draft-ietf-ipsec-nat-t-ike-04": VendorNATTDraft04, "draft-ietf-ipsec-nat-t-ike-05": VendorNATTDraft05,
		"draft-ietf-ipsec-nat-t-ike-06": VendorNATTDraft06, "draft-ietf-ipsec-nat-t-ike-07": VendorNATTDraft07,
		"draft-ietf-ipsec-nat-t-ike-08": VendorNATTDraft08, "draft-ietf-ipsec-nat-t-ike": VendorNATTApple,
		"FRAGMENTATION": VendorFragmentation, "MS NT5 ISAKMPOAKLEY": VendorMicrosoft,
		"MS-Negotiation Discovery Capable": VendorMSDiscovery, "Vid-Initial-Contact": VendorMSInitialCntct,
		"IKE CGA version 1": VendorMSCGA, "MS-MamieExists": VendorMSMamie, "KAME/racoon": VendorRacoon,
		"strongSwan": VendorStrongSwan, "GSSAPI": VendorGSSAPI, "NLBS_PRESENT": VendorMSClusterPresent,
	} {
		sum := md5.Sum([]byte(text))
		if got := ParseVendor(sum[:]); got != v {
			t.Errorf("%q is read as %v", text, got)
		}
		longer := append(sum[:], 0x80, 0, 0, 0)
		wantLonger := v == VendorFragmentation || v == VendorMicrosoft
		if got := ParseVendor(longer); (got == v) != wantLonger {
			t.Errorf("%q with four more octets is read as %v", text, got)
		}
	}
	for _, s := range []string{"", "00", "afcad71368a1f1c96b8696fc775701", "4a131c81070358455c5728f20e95452f00"} {
		if got := ParseVendor(wire(t, s)); got != 0 {
			t.Errorf("%s is read as %v", s, got)
		}
	}
	if got := hex.EncodeToString(VendorFragmentation.ID()); got != "4048b7d56ebce88525e7de7f00d6c2d380000000" {
		t.Errorf("FRAGMENTATION is sent as %s", got)
	}
	if got := (VendorDPD | VendorXAUTH).String(); got != "XAUTH, DPD" {
		t.Errorf("%q", got)
	}
}

func TestFragment(t *testing.T) {
	h := Header{Initiator: Cookie{1}, Responder: Cookie{2}, Exchange: ExchangeMain, Flags: FlagEncryption}
	b := AppendFragment(nil, h, Fragment{ID: 7, Number: 2, Last: true, Data: []byte("data")})
	m, err := ParseMessage(b)
	if err != nil || m.Header.Encrypted() || m.Payloads.First() != PayloadFragment || len(b) != FragmentOverhead+4 {
		t.Fatalf("%+v %v", m.Header, err)
	}
	body, _ := m.Payloads.Get(PayloadFragment)
	f, err := ParseFragment(body)
	if err != nil || f.ID != 7 || f.Number != 2 || !f.Last || string(f.Data) != "data" {
		t.Errorf("%+v %v", f, err)
	}
	for _, s := range []string{"", "0001 01 00", "0001 00 00 00"} { // the last: number 0
		if _, err := ParseFragment(wire(t, s)); err == nil {
			t.Errorf("fragment %s", s)
		}
	}
}
