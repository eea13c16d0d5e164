package pptp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"concentrator/internal/corpus"
)

// zeros is n zero octets in hex.
func zeros(n int) string { return strings.Repeat("00", n) }

// text is s in hex, padded to 64 octets.
func text(s string) string { return hex.EncodeToString([]byte(s)) + zeros(64-len(s)) }

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// seeds holds at least one message of each type; wire is written by hand.
var seeds = []struct {
	name string
	wire string
	msg  Message
}{
	{
		"Windows 2000 start",
		"009c 0001 1a2b3c4d 0001 0000 0100 0000 00000001 00000001 0000 0870" + text("") + text("Microsoft Windows NT"),
		StartControlConnectionRequest{
			Version: 0x0100, FramingCapabilities: FramingAsync, BearerCapabilities: BearerAnalog,
			FirmwareRevision: 0x0870, VendorName: NewText("Microsoft Windows NT"),
		},
	},
	{
		"start reply",
		"009c 0001 1a2b3c4d 0002 0000 0100 05 06 00000003 00000003 ffff 0001" + text("host") + text("vendor"),
		StartControlConnectionReply{
			Version: 0x0100, Result: StartResultVersion, Error: ErrorPACError,
			FramingCapabilities: FramingEither, BearerCapabilities: BearerEither,
			MaximumChannels: 0xffff, FirmwareRevision: 1, HostName: NewText("host"), VendorName: NewText("vendor"),
		},
	},
	{
		"stop", "0010 0001 1a2b3c4d 0003 0000 03 00 0000",
		StopControlConnectionRequest{Reason: StopReasonLocalShutdown},
	},
	{
		"stop reply", "0010 0001 1a2b3c4d 0004 0000 02 05 0000",
		StopControlConnectionReply{Result: ResultGeneralError, Error: ErrorBadCallID},
	},
	{"echo", "0010 0001 1a2b3c4d 0005 0000 01020304", EchoRequest{Identifier: 0x01020304}},
	{
		"echo reply", "0014 0001 1a2b3c4d 0006 0000 01020304 01 00 0000",
		EchoReply{Identifier: 0x01020304, Result: ResultOK},
	},
	{
		"Windows call with ID 0 and a binary subaddress",
		"00a8 0001 1a2b3c4d 0007 0000 0000 0001 0000012c 05f5e100 00000003 00000003 0040 0000 0000 0000" + text("") +
			"ff00fe01fd02fc03fb04fa05f906f807" + zeros(48),
		OutgoingCallRequest{
			SerialNumber: 1, MinimumBPS: 300, MaximumBPS: 100_000_000, BearerType: BearerEither, FramingType: FramingEither,
			ReceiveWindow: 64,
			SubAddress:    SubAddress{0xff, 0, 0xfe, 1, 0xfd, 2, 0xfc, 3, 0xfb, 4, 0xfa, 5, 0xf9, 6, 0xf8, 7},
		},
	},
	{
		"call to a number",
		"00a8 0001 1a2b3c4d 0007 0000 1234 0002 00000960 00989680 00000003 00000003 0003 0004 0005 0000" + text("12345") + text(""),
		OutgoingCallRequest{
			CallID: 0x1234, SerialNumber: 2, MinimumBPS: 2400, MaximumBPS: 10_000_000, BearerType: BearerEither,
			FramingType: FramingEither, ReceiveWindow: 3, ProcessingDelay: 4, PhoneNumberLength: 5, PhoneNumber: NewText("12345"),
		},
	},
	{
		"call reply", "0020 0001 1a2b3c4d 0008 0000 8001 1234 01 00 0000 05f5e100 4000 0000 00000000",
		OutgoingCallReply{CallID: 0x8001, PeerCallID: 0x1234, Result: ResultConnected, ConnectSpeed: 100_000_000, ReceiveWindow: 16384},
	},
	{
		"busy", "0020 0001 1a2b3c4d 0008 0000 0000 1234 04 00 0011 00000000 0000 0000 00000007",
		OutgoingCallReply{PeerCallID: 0x1234, Result: ResultBusy, Cause: 17, PhysicalChannelID: 7},
	},
	{
		"incoming call",
		"00dc 0001 1a2b3c4d 0009 0000 0102 0304 00000001 00000009 0003 0002" + text("110") + text("42") + text("sub"),
		IncomingCallRequest{
			CallID: 0x0102, SerialNumber: 0x0304, BearerType: BearerAnalog, PhysicalChannelID: 9,
			DialedNumberLength: 3, DialingNumberLength: 2, DialedNumber: NewText("110"), DialingNumber: NewText("42"),
			SubAddress: SubAddress(NewText("sub")),
		},
	},
	{
		"incoming call refused", "0018 0001 1a2b3c4d 000a 0000 0000 0102 03 00 0040 0005 0000",
		IncomingCallReply{PeerCallID: 0x0102, Result: IncomingResultDoNotAccept, ReceiveWindow: 64, TransmitDelay: 5},
	},
	{
		"incoming call connected", "001c 0001 1a2b3c4d 000b 0000 0102 0000 0000fa00 0040 0005 00000002",
		IncomingCallConnected{PeerCallID: 0x0102, ConnectSpeed: 64000, ReceiveWindow: 64, TransmitDelay: 5, FramingType: FramingSync},
	},
	{"clear", "0010 0001 1a2b3c4d 000c 0000 1234 0000", CallClearRequest{CallID: 0x1234}},
	{
		"Windows disconnect with result 0", "0094 0001 1a2b3c4d 000d 0000 8001 00 00 0000 0000" + zeros(128),
		CallDisconnectNotify{CallID: 0x8001},
	},
	{
		"disconnect with statistics", "0094 0001 1a2b3c4d 000d 0000 8001 04 00 0010 0000" + "61ff" + zeros(126),
		CallDisconnectNotify{CallID: 0x8001, Result: DisconnectRequest, Cause: 16, Statistics: [128]byte{0x61, 0xff}},
	},
	{
		"WAN errors", "0028 0001 1a2b3c4d 000e 0000 1234 0000 00000001 00000002 00000003 00000004 00000005 00000006",
		WANErrorNotify{
			PeerCallID: 0x1234, CRCErrors: 1, FramingErrors: 2, HardwareOverruns: 3, BufferOverruns: 4, TimeoutErrors: 5,
			AlignmentErrors: 6,
		},
	},
	{
		"link info", "0018 0001 1a2b3c4d 000f 0000 8001 0000 ffffffff 00000001",
		SetLinkInfo{PeerCallID: 0x8001, SendACCM: 0xffffffff, ReceiveACCM: 1},
	},
}

func TestParseAndAppend(t *testing.T) {
	seen := map[Type]bool{}
	for _, s := range seeds {
		b := unhex(t, s.wire)
		got, err := Parse(b)
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
			continue
		}
		if got != s.msg {
			t.Errorf("%s:\n got %#v\nwant %#v", s.name, got, s.msg)
		}
		prefix := []byte("prefix")
		out, err := s.msg.AppendBinary(slices.Clone(prefix))
		if err != nil || !bytes.Equal(out, append(prefix, b...)) {
			t.Errorf("%s: appended %x, %v, want %x", s.name, out, err, b)
		}
		seen[s.msg.Type()] = true
	}
	if len(seen) != 15 {
		t.Errorf("the table has %d types of message", len(seen))
	}
}

func TestParseKeepsNothingOfItsInput(t *testing.T) {
	for _, s := range seeds {
		b := unhex(t, s.wire)
		got, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		clear(b)
		if got != s.msg {
			t.Errorf("%s changed with its input", s.name)
		}
	}
}

func TestParseIgnoresReservedFields(t *testing.T) {
	for _, b := range [][]byte{
		unhex(t, "0010 0001 1a2b3c4d 0003 ffff 01 ff ffff"),
		unhex(t, "0010 0001 1a2b3c4d 000c 0001 1234 abcd"),
	} {
		if _, err := Parse(b); err != nil {
			t.Errorf("%x: %v", b, err)
		}
	}
}

func TestSplitErrors(t *testing.T) {
	for _, c := range []struct {
		name, wire string
		want       error
	}{
		{"length 0", "0000", ErrLength},
		{"length 11, less than a header", "000b", ErrLength},
		{"length 15", "000f", ErrLength},
		{"length 221", "00dd", ErrLength},
		{"length 65535", "ffff", ErrLength},
		{"an HTTP request", hex.EncodeToString([]byte("GET / HTTP/1.1\r\n\r\n")), ErrLength},
		{"a TLS hello", "1603010200010001fc0303", ErrLength},
		{"management message", "0010 0002", ErrMessageType},
		{"message type 0", "0010 0000", ErrMessageType},
		{"wrong cookie", "0010 0001 1a2b3c4e", ErrCookie},
		{"control type 0", "0010 0001 1a2b3c4d 0000", ErrControlType},
		{"control type 16", "0010 0001 1a2b3c4d 0010", ErrControlType},
		{"control type 65535", "0010 0001 1a2b3c4d ffff", ErrControlType},
		{"Echo-Request with an Echo-Reply's length", "0014 0001 1a2b3c4d 0005", ErrLength},
		{"Start one octet short", "009b 0001 1a2b3c4d 0001", ErrLength},
		{"Start one octet long", "009d 0001 1a2b3c4d 0001", ErrLength},
	} {
		b := unhex(t, c.wire)
		if _, err := Split(b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if m, err := Parse(b); err == nil || m != nil {
			t.Errorf("%s: Parse gives %v, %v", c.name, m, err)
		}
	}
}

// TestSplitNeedsWholeMessages cuts two messages at every octet.
func TestSplitNeedsWholeMessages(t *testing.T) {
	for _, s := range seeds {
		b := unhex(t, s.wire)
		two := append(slices.Clone(b), b...)
		for i := range two {
			want := 0
			if i >= len(b) {
				want = len(b)
			}
			if n, err := Split(two[:i]); n != want || err != nil {
				t.Fatalf("%s, %d octets: %d, %v, want %d", s.name, i, n, err, want)
			}
		}
	}
}

func TestParseWantsExactlyOneMessage(t *testing.T) {
	b := unhex(t, seeds[0].wire)
	for _, c := range []struct {
		name string
		b    []byte
		want error
	}{
		{"nothing", nil, ErrLength},
		{"one octet short", b[:len(b)-1], ErrLength},
		{"one octet more", append(slices.Clone(b), 0), ErrLength},
	} {
		if m, err := Parse(c.b); !errors.Is(err, c.want) || m != nil {
			t.Errorf("%s: Parse gives %v, %v", c.name, m, err)
		}
		if _, err := ParseStartControlConnectionRequest(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := ParseStartControlConnectionReply(b); !errors.Is(err, ErrControlType) {
		t.Errorf("a request read as a reply: %v", err)
	}
}

func TestText(t *testing.T) {
	long := strings.Repeat("x", 70)
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"name", "name"},
		{"cut\x00here", "cut"},
		{"bell\x07 \xff\x1b[31m~", "bell? ??[31m~"},
		{long, long[:64]},
	} {
		if got := NewText(c.in).String(); got != c.want {
			t.Errorf("NewText(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		length uint16
		want   string
	}{{0, ""}, {3, "123"}, {6, "123456"}, {64, "123456"}, {65535, "123456"}} {
		m := OutgoingCallRequest{PhoneNumberLength: c.length, PhoneNumber: NewText("123456")}
		if got := m.Number(); got != c.want {
			t.Errorf("length %d: %q, want %q", c.length, got, c.want)
		}
	}
}

// FuzzParse: no input makes Parse panic, and what it accepts is built again as it was but for reserved fields.
func FuzzParse(f *testing.F) {
	corpus.Add(f)
	for _, s := range seeds {
		f.Add(unhex(f, s.wire))
	}
	all := rfcMessages(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		n, serr := Split(b)
		if err != nil {
			if serr == nil && n == len(b) && n > 0 {
				t.Fatalf("Split takes what Parse refuses: %v", err)
			}
			return
		}
		if n != len(b) {
			t.Fatalf("Parse took %d octets, Split says %d", len(b), n)
		}
		want := slices.Clone(b)
		clear(want[10:12])
		for _, fd := range all[m.Type()].fields {
			if fd.reserved() {
				clear(want[fd.off : fd.off+fd.len])
			}
		}
		if got, err := m.AppendBinary(nil); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("built again: %x, %v, want %x", got, err, want)
		}
	})
}

// FuzzParseSplit: cutting a stream octet by octet finds the same messages as cutting it whole.
func FuzzParseSplit(f *testing.F) {
	corpus.Add(f)
	var stream []byte
	for _, s := range seeds {
		f.Add(unhex(f, s.wire))
		stream = append(stream, unhex(f, s.wire)...)
	}
	f.Add(stream)
	cut := func(b []byte) (ends []int, broken bool) {
		for at := 0; ; {
			n, err := Split(b[at:])
			if err != nil || n == 0 {
				return ends, err != nil
			}
			if n < 16 || n > MaxSize {
				panic("impossible size")
			}
			at += n
			ends = append(ends, at)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), 4*MaxSize)]
		whole, broken := cut(b)
		for i := range b {
			part, brokenPart := cut(b[:i])
			if len(part) > len(whole) || !slices.Equal(part, whole[:len(part)]) {
				t.Fatalf("after %d octets: messages end at %v, in the end at %v", i, part, whole)
			}
			if brokenPart && !broken {
				t.Fatalf("after %d octets the stream is broken, in the end it is not", i)
			}
		}
	})
}
