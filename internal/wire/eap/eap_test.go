package eap

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"reflect"
	"testing"

	"concentrator/internal/corpus"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var packets = []struct {
	name, wire string
	want       Packet
	err        error
}{
	{"request of the identity", "0101000501", Packet{CodeRequest, 1, TypeIdentity, nil}, nil},
	{"identity", "0201000a01" + "616c696365", Packet{CodeResponse, 1, TypeIdentity, []byte("alice")}, nil},
	{"padding", "0201000601" + "61" + "0000", Packet{CodeResponse, 1, TypeIdentity, []byte("a")}, nil},
	{"nak for PEAP", "02070006" + "0319", Packet{CodeResponse, 7, TypeNak, []byte{TypePEAP}}, nil},
	{"success", "03ff0004", Packet{Code: CodeSuccess, ID: 255}, nil},
	{"failure and padding", "0400000400", Packet{Code: CodeFailure}, nil},
	{"nothing", "", Packet{}, ErrShortPacket},
	{"half a header", "010100", Packet{}, ErrShortPacket},
	{"shorter than it says", "0101000601", Packet{}, ErrShortPacket},
	{"shorter than its header", "0101000301", Packet{}, ErrPacketLen},
	{"request without a type", "01010004", Packet{}, ErrPacketLen},
	{"response without a type", "0201000400", Packet{}, ErrPacketLen},
	{"success with data", "0301000501", Packet{}, ErrPacketLen},
	{"no code", "0001000501", Packet{}, ErrCode},
	{"initiate", "0501000501", Packet{}, ErrCode},
}

func TestRFC3748Section4(t *testing.T) {
	for _, c := range packets {
		b := unhex(t, c.wire)
		p, err := ParsePacket(b)
		if !errors.Is(err, c.err) || p.Code != c.want.Code || p.ID != c.want.ID || p.Type != c.want.Type || !bytes.Equal(p.Data, c.want.Data) {
			t.Errorf("%s: %+v %v", c.name, p, err)
		}
		if err != nil {
			continue
		}
		if got, err := p.AppendBinary(nil); err != nil || !bytes.Equal(got, b[:p.Len()]) {
			t.Errorf("%s became %x %v", c.name, got, err)
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	for _, c := range []struct {
		p   Packet
		err error
	}{
		{Packet{}, ErrCode},
		{Packet{Code: 5}, ErrCode},
		{Packet{Code: CodeRequest, Data: make([]byte, MaxPacketLen-HeaderLen)}, ErrLongPacket},
		{Packet{Code: CodeRequest, Data: make([]byte, MaxPacketLen-HeaderLen-1)}, nil},
	} {
		if _, err := c.p.AppendBinary(nil); !errors.Is(err, c.err) {
			t.Errorf("code %d with %d octets: %v", c.p.Code, len(c.p.Data), err)
		}
	}
	if _, err := (MSCHAPv2{Data: make([]byte, MaxPacketLen)}).AppendBinary(nil); !errors.Is(err, ErrLongPacket) {
		t.Errorf("MSCHAPv2: %v", err)
	}
	if _, err := (TLS{Version: 8}).AppendBinary(nil); !errors.Is(err, ErrTLSVersion) {
		t.Errorf("TLS: %v", err)
	}
}

func TestNak(t *testing.T) {
	if types, err := ParseNak([]byte{TypePEAP, TypeTLS}); err != nil || !bytes.Equal(types, []byte{25, 13}) {
		t.Errorf("%v %v", types, err)
	}
	if _, err := ParseNak(nil); !errors.Is(err, ErrNak) {
		t.Errorf("empty: %v", err)
	}
}

// expandedNaks begin with the example of RFC 3748 section 5.3.2: a peer that wants OTP, or type 6 of vendor 20.
var expandedNaks = []struct {
	name, data string
	want       []Expanded
	err        error
}{
	{"two types", "000000" + "00000003" + "fe00000000000005" + "fe00001400000006", []Expanded{{0, 5, nil}, {20, 6, nil}}, nil},
	{"no type", "000000" + "00000003", nil, ErrNak},
	{"another type", "000000" + "00000004" + "fe00000000000005", nil, ErrNak},
	{"another vendor", "000001" + "00000003" + "fe00000000000005", nil, ErrNak},
	{"half a type", "000000" + "00000003" + "fe000000000000", nil, ErrNak},
	{"a type that is not expanded", "000000" + "00000003" + "0d00000000000005", nil, ErrNak},
	{"too short", "000000000000", nil, ErrExpanded},
}

func TestExpandedNak(t *testing.T) {
	for _, c := range expandedNaks {
		got, err := ParseExpandedNak(unhex(t, c.data))
		for i := range got {
			if len(got[i].Data) > 0 {
				t.Errorf("%s: data %x", c.name, got[i].Data)
			}
			got[i].Data = nil
		}
		if !errors.Is(err, c.err) || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v %v", c.name, got, err)
		}
	}
	e, err := ParseExpanded(unhex(t, "00013700000001aabb"))
	if err != nil || e.Vendor != 311 || e.Type != 1 || !bytes.Equal(e.Data, []byte{0xaa, 0xbb}) {
		t.Errorf("%+v %v", e, err)
	}
}

var mschapv2s = []struct {
	name, data string
	want       MSCHAPv2
	err        error
}{
	{"failure", "0407000c" + "453d363931522d30", MSCHAPv2{Op: OpFailure, ID: 7, Data: []byte("E=691R-0")}, nil},
	{"nothing in it", "03070004", MSCHAPv2{Op: OpSuccess, ID: 7}, nil},
	{"octets behind it", "0307000500ffff", MSCHAPv2{Op: OpSuccess, ID: 7, Data: []byte{0}}, nil},
	{"success confirmed", "03", MSCHAPv2{Op: OpSuccess, Confirm: true}, nil},
	{"failure confirmed", "04", MSCHAPv2{Op: OpFailure, Confirm: true}, nil},
	{"nothing", "", MSCHAPv2{}, ErrMSCHAPv2},
	{"a challenge of one octet", "01", MSCHAPv2{}, ErrMSCHAPv2},
	{"half a header", "010700", MSCHAPv2{}, ErrMSCHAPv2},
	{"length of less than the header", "01070003", MSCHAPv2{}, ErrMSCHAPv2},
	{"length over the end", "01070005", MSCHAPv2{}, ErrMSCHAPv2},
}

func TestMSCHAPv2(t *testing.T) {
	for _, c := range mschapv2s {
		b := unhex(t, c.data)
		m, err := ParseMSCHAPv2(b)
		if !errors.Is(err, c.err) || m.Op != c.want.Op || m.ID != c.want.ID || m.Confirm != c.want.Confirm || !bytes.Equal(m.Data, c.want.Data) {
			t.Errorf("%s: %+v %v", c.name, m, err)
		}
		if err != nil {
			continue
		}
		if got, err := m.AppendBinary(nil); err != nil || !bytes.HasPrefix(b, got) {
			t.Errorf("%s became %x %v", c.name, got, err)
		}
	}
}

var tlses = []struct {
	name, data string
	want       TLS
	err        error
}{
	{"start", "20", TLS{Start: true}, nil},
	{"start of PEAP version 1", "21", TLS{Start: true, Version: 1}, nil},
	{"acknowledgement", "00", TLS{}, nil},
	{"first fragment", "c0" + "00000bb8" + "1603", TLS{More: true, HasLength: true, Length: 3000, Data: []byte{0x16, 3}}, nil},
	{"last fragment", "00" + "aa", TLS{Data: []byte{0xaa}}, nil},
	{"huge claim", "80" + "ffffffff", TLS{HasLength: true, Length: 0xffffffff}, nil},
	{"nothing", "", TLS{}, ErrTLS},
	{"half a length", "80000000", TLS{}, ErrTLS},
}

func TestRFC5216Section3_1(t *testing.T) {
	for _, c := range tlses {
		b := unhex(t, c.data)
		got, err := ParseTLS(b)
		if len(got.Data) == 0 {
			got.Data = nil
		}
		if !errors.Is(err, c.err) || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v %v", c.name, got, err)
		}
		if err != nil {
			continue
		}
		if back, err := got.AppendBinary(nil); err != nil || !bytes.Equal(back, b) {
			t.Errorf("%s became %x %v", c.name, back, err)
		}
	}
}

func FuzzParsePacket(f *testing.F) {
	corpus.Add(f)
	for _, c := range packets {
		f.Add(unhex(f, c.wire))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePacket(b)
		if err != nil {
			return
		}
		if got, err := p.AppendBinary(nil); err != nil || !bytes.Equal(got, b[:p.Len()]) {
			t.Fatalf("%x became %x %v", b, got, err)
		}
	})
}

// FuzzParseMethod gives the same octets to all methods' parsers.
func FuzzParseMethod(f *testing.F) {
	corpus.Add(f)
	for _, c := range mschapv2s {
		f.Add(unhex(f, c.data))
	}
	for _, c := range tlses {
		f.Add(unhex(f, c.data))
	}
	for _, c := range expandedNaks {
		f.Add(unhex(f, c.data))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := ParseMSCHAPv2(b); err == nil {
			if got, err := m.AppendBinary(nil); err != nil || !bytes.HasPrefix(b, got) {
				t.Fatalf("MSCHAPv2 %x became %x %v", b, got, err)
			}
		}
		if m, err := ParseTLS(b); err == nil {
			m2, err2 := m.AppendBinary(nil)
			again, err3 := ParseTLS(m2)
			if err2 != nil || err3 != nil || !reflect.DeepEqual(again, m) {
				t.Fatalf("TLS %x became %x %v %v", b, m2, err2, err3)
			}
		}
		if types, err := ParseNak(b); (err == nil) != (len(b) > 0) || !bytes.Equal(types, b) {
			t.Fatalf("%x is a Nak of %x, %v", b, types, err)
		}
		if e, err := ParseExpanded(b); err == nil {
			head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, e.Vendor)[1:], e.Type)
			if !bytes.Equal(append(head, e.Data...), b) {
				t.Fatalf("%x is %+v", b, e)
			}
		}
		if types, err := ParseExpandedNak(b); err == nil && (len(types) == 0 || len(types) > len(b)/8) {
			t.Fatalf("%x is a Nak of %d types", b, len(types))
		}
	})
}
