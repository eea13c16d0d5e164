package ppp

import (
	"bytes"
	"encoding/hex"
	"errors"
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

var frames = []struct {
	name, wire string
	protocol   uint16
	info       string
	err        error
}{
	{"plain", "ff03c0210102", ProtocolLCP, "0102", nil},
	{"no address and control", "c0210102", ProtocolLCP, "0102", nil},
	{"short protocol", "2145", ProtocolIPv4, "45", nil},
	{"short protocol behind address", "ff032145", ProtocolIPv4, "45", nil},
	{"long form of a short protocol", "002145", ProtocolIPv4, "45", nil},
	{"MPPE as Windows sends it", "fd9000", ProtocolCompressed, "9000", nil},
	{"nothing behind the header", "8021", ProtocolIPCP, "", nil},
	{"empty", "", 0, "", ErrShortFrame},
	{"only address and control", "ff03", 0, "", ErrShortFrame},
	{"half a protocol", "c0", 0, "", ErrShortFrame},
	{"even second octet", "c02001", 0, "", ErrProtocol},
	{"address without control", "ff0421", 0, "", ErrProtocol},
	{"one octet of address", "ff", 0, "", ErrProtocol},
	{"the number that looks like an address", "00ff01", 0, "", ErrProtocol},
}

func TestParseFrame(t *testing.T) {
	for _, c := range frames {
		protocol, info, err := ParseFrame(unhex(t, c.wire))
		if !errors.Is(err, c.err) || protocol != c.protocol || hex.EncodeToString(info) != c.info {
			t.Errorf("%s: %04x %x %v, want %04x %s %v", c.name, protocol, info, err, c.protocol, c.info, c.err)
		}
	}
}

func TestAppendHeader(t *testing.T) {
	for _, c := range []struct {
		protocol  uint16
		acfc, pfc bool
		want      string
	}{
		{ProtocolIPv4, false, false, "ff030021"},
		{ProtocolIPv4, true, false, "0021"},
		{ProtocolIPv4, false, true, "ff0321"},
		{ProtocolIPv4, true, true, "21"},
		{ProtocolIPCP, true, true, "8021"},
		{ProtocolLCP, true, true, "ff03c021"},
	} {
		if got := hex.EncodeToString(AppendHeader(nil, c.protocol, c.acfc, c.pfc)); got != c.want {
			t.Errorf("%04x acfc %v pfc %v: %s, want %s", c.protocol, c.acfc, c.pfc, got, c.want)
		}
	}
}

var packets = []struct {
	name, wire string
	want       Packet
	err        error
}{
	{"Configure-Request", "01050008" + "0104" + "0578", Packet{1, 5, []byte{1, 4, 5, 0x78}}, nil},
	{"no data", "05010004", Packet{5, 1, nil}, nil},
	{"padding", "05010004aabb", Packet{5, 1, nil}, nil},
	{"empty", "", Packet{}, ErrShortPacket},
	{"three octets", "010100", Packet{}, ErrShortPacket},
	{"length below the header", "01010003", Packet{}, ErrPacketLen},
	{"length zero", "01010000ffff", Packet{}, ErrPacketLen},
	{"length over the end", "0101000801", Packet{}, ErrShortPacket},
}

func TestParsePacket(t *testing.T) {
	for _, c := range packets {
		p, err := ParsePacket(unhex(t, c.wire))
		if !errors.Is(err, c.err) || p.Code != c.want.Code || p.ID != c.want.ID || !bytes.Equal(p.Data, c.want.Data) {
			t.Errorf("%s: %v %v, want %v %v", c.name, p, err, c.want, c.err)
		}
	}
}

func TestAppendPacketCutsWhatTheLengthCanNotName(t *testing.T) {
	b := AppendPacket([]byte{0xee}, 1, 2, make([]byte, MaxPacketLen))
	p, err := ParsePacket(b[1:])
	if err != nil || len(p.Data) != MaxPacketLen-PacketHeaderLen || len(b) != 1+MaxPacketLen {
		t.Errorf("%d octets of data, %d in all, %v", len(p.Data), len(b), err)
	}
}

func TestFinishPacket(t *testing.T) {
	b := append([]byte{0xee}, 1, 2, 0, 0, 9, 9)
	if got := hex.EncodeToString(FinishPacket(b, 1)); got != "ee010200060909" {
		t.Errorf("got %s", got)
	}
}

// options is the seed of the fuzz target too.
var options = []struct {
	name, wire string
	want       []Option
	err        error
}{
	{"none", "", nil, nil},
	// The first Configure-Request of Windows 7 to 11 over PPTP and L2TP.
	{"Windows", "01040578" + "0506deadbeef" + "0702" + "0802" + "0d0306", []Option{
		{1, []byte{5, 0x78}}, {5, []byte{0xde, 0xad, 0xbe, 0xef}}, {7, nil}, {8, nil}, {13, []byte{6}},
	}, nil},
	{"pppd", "020600000000" + "05061234abcd" + "0702" + "0802", []Option{
		{2, []byte{0, 0, 0, 0}}, {5, []byte{0x12, 0x34, 0xab, 0xcd}}, {7, nil}, {8, nil},
	}, nil},
	{"length 0", "0100", nil, ErrOptionLen},
	{"length 1", "0101", nil, ErrOptionLen},
	{"length 1 behind a good one", "07020101", nil, ErrOptionLen},
	{"one octet left", "070205", nil, ErrShortOption},
	{"runs over the end", "0506dead", nil, ErrShortOption},
}

func TestParseOptions(t *testing.T) {
	for _, c := range options {
		o, err := ParseOptions(unhex(t, c.wire))
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
		i := 0
		for opt := range o.All() {
			if i >= len(c.want) || opt.Type != c.want[i].Type || !bytes.Equal(opt.Value, c.want[i].Value) {
				t.Errorf("%s: option %d is %v", c.name, i, opt)
			}
			i++
		}
		if i != len(c.want) {
			t.Errorf("%s: %d options, want %d", c.name, i, len(c.want))
		}
	}
}

func TestFind(t *testing.T) {
	o, err := ParseOptions(unhex(t, "0702"+"0104"+"0578"+"0104"+"0000"))
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := o.Find(1); !ok || hex.EncodeToString(v) != "0578" {
		t.Errorf("found %x %v", v, ok)
	}
	if _, ok := o.Find(9); ok {
		t.Error("found an option that is not there")
	}
}

func TestOptionTooLong(t *testing.T) {
	if _, err := (Option{Type: 1, Value: make([]byte, MaxOptionValue+1)}).AppendBinary(nil); !errors.Is(err, ErrOptionValue) {
		t.Errorf("got %v", err)
	}
	if b := AppendOption(nil, 1, make([]byte, MaxOptionValue+1)...); len(b) != 255 || b[1] != 255 {
		t.Errorf("%d octets, length field %d", len(b), b[1])
	}
}

func TestParsingDoesNotAllocate(t *testing.T) {
	frame := unhex(t, "ff03c021"+"01010010"+"01040578"+"0506deadbeef"+"0702")
	buf := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(1000, func() {
		_, info, _ := ParseFrame(frame)
		p, _ := ParsePacket(info)
		o, err := ParseOptions(p.Data)
		if err != nil {
			t.Error(err)
		}
		b := AppendHeader(buf, ProtocolLCP, false, false)
		for opt := range o.All() {
			b = AppendOption(b, opt.Type, opt.Value...)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParseFrame(f *testing.F) {
	corpus.Add(f)
	for _, c := range frames {
		f.Add(unhex(f, c.wire))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		protocol, info, err := ParseFrame(b)
		if err != nil {
			return
		}
		if protocol&0x101 != 1 {
			t.Fatalf("protocol %04x", protocol)
		}
		again, info2, err := ParseFrame(append(AppendHeader(nil, protocol, true, true), info...))
		if err != nil || again != protocol || !bytes.Equal(info, info2) {
			t.Fatalf("%04x %x became %04x %x %v", protocol, info, again, info2, err)
		}
	})
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
		if got := AppendPacket(nil, p.Code, p.ID, p.Data); !bytes.HasPrefix(b, got) {
			t.Fatalf("%x became %x", b, got)
		}
	})
}

func FuzzParseOptions(f *testing.F) {
	corpus.Add(f)
	for _, c := range options {
		f.Add(unhex(f, c.wire))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ParseOptions(b)
		if err != nil {
			return
		}
		var got []byte
		for opt := range o.All() {
			if got, err = opt.AppendBinary(got); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, b) || !bytes.Equal(o.Bytes(), b) {
			t.Fatalf("%x became %x", b, got)
		}
	})
}
