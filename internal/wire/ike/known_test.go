package ike

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// A small length, with no version or one that there is not, has taken a daemon down (CVE-2013-4564).
func TestKnownHeaders(t *testing.T) {
	good := mainMode(t)
	for _, version := range []byte{0, 1, 0x0f, 0x10, 0x11, 0x20, 0x30, 0xf0, 0xff} {
		for n := range HeaderLen + 8 {
			// As long as it says, and as the whole datagram.
			for _, size := range []int{n, len(good)} {
				b := bytes.Clone(good[:size])
				if size > 17 {
					b[17] = version
				}
				if size >= HeaderLen {
					binary.BigEndian.PutUint32(b[24:], uint32(n))
				}
				h, err := ParseHeader(b)
				if ok := version == version10 && size == n && n >= HeaderLen; (err == nil) != ok {
					t.Errorf("version %#x, length %d, %d octets: %+v, %v", version, n, size, h, err)
				}
			}
		}
	}
	for _, n := range []uint32{uint32(len(good)) + 1, 0x7fffffff, 0x80000000, 0xffffffff} {
		b := bytes.Clone(good)
		binary.BigEndian.PutUint32(b[24:], n)
		if _, err := ParseHeader(b); !errors.Is(err, ErrLength) {
			t.Errorf("length %#x: %v", n, err)
		}
	}
}

// The chain of next payloads can't be led in a circle: each step takes at least the four octets that name the next.
func TestKnownPayloadChains(t *testing.T) {
	chain := func(first PayloadType, b string) []byte {
		body := wire(t, b)
		h := Header{Initiator: Cookie{1}, Next: first, Exchange: ExchangeMain, Length: uint32(HeaderLen + len(body))}
		m, _ := h.AppendBinary(nil)
		return append(m, body...)
	}
	for _, tc := range []struct {
		name string
		b    []byte
		err  error
	}{
		{"a payload of length 0 that follows itself", chain(PayloadVID, "0d00 0000"), ErrLength},
		{"two that follow each other", chain(PayloadSA, "0d00 0000 0100 0000"), ErrLength},
		{"length 1", chain(PayloadVID, "0d00 0001 0000 0004"), ErrLength},
		{"length 65535", chain(PayloadVID, "0000 ffff 00"), ErrLength},
		{"one octet more than there is", chain(PayloadVID, "0000 0006 00"), ErrLength},
		{"half a generic header", chain(PayloadVID, "0000"), ErrLength},
		{"none is said to follow, and one does", chain(PayloadVID, "0000 0004 0000 0004"), ErrLength},
		{"one is said to follow, and none does", chain(PayloadVID, "0800 0004"), ErrLength},
		{"no payload, and octets", chain(PayloadNone, "0000 0004"), ErrLength},
		{"a proposal on its own", chain(PayloadProposal, "0000 0008 01010000"), ErrChain},
		{"no payload at all", chain(PayloadNone, ""), nil},
		{"reserved octets that are not zero", chain(PayloadVID, "0dff 0004 0055 0004"), nil},
		{"types that nobody has given out", chain(15, "7f00 0004 8000 0004 ff00 0005 01 0000 0004"), nil},
		{"payloads of IKEv2 (CVE-2015-3991)", chain(33, "2200 0008 0000 0000 2e00 0006 0000 0000 0008 dead beef"), nil},
	} {
		m, err := ParseMessage(tc.b)
		if !errors.Is(err, tc.err) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.err)
		}
		n := 0
		if err == nil {
			for range m.Payloads.All() {
				n++
			}
		}
		if n > (len(tc.b)-HeaderLen)/payloadHeaderLen {
			t.Errorf("%s: %d payloads", tc.name, n)
		}
	}
}

// Each bound takes what it says and no more, and an SPI in a proposal of phase 1 means nothing up to 16 octets.
func TestKnownBounds(t *testing.T) {
	message := func(n int) error {
		b := NewBuilder(Header{Initiator: Cookie{1}, Exchange: ExchangeMain})
		for range n {
			b.Add(PayloadVID, []byte{1})
		}
		_, err := ParseMessage(b.Bytes())
		return err
	}
	sa := func(proposals, transforms, attributes, spi int) error {
		var a Attributes
		for range attributes {
			a = a.With(1, 1)
		}
		offers := make([]Offer, proposals)
		for i := range offers {
			offers[i] = Offer{Protocol: ProtocolISAKMP, SPI: make([]byte, spi), Transforms: make([]Transform, transforms)}
			for j := range offers[i].Transforms {
				offers[i].Transforms[j].Attributes = a
			}
		}
		_, err := ParseSA(AppendSA(nil, offers...))
		return err
	}
	for _, tc := range []struct {
		name      string
		most      error
		more      error
		complaint error
	}{
		{"payloads", message(64), message(65), ErrTooMany},
		{"proposals", sa(10, 1, 1, 0), sa(11, 1, 1, 0), ErrTooMany},
		{"transforms", sa(1, 64, 1, 0), sa(1, 65, 1, 0), ErrTooMany},
		{"attributes", sa(1, 1, 32, 0), sa(1, 1, 33, 0), ErrTooMany},
		{"octets of an SPI", sa(1, 1, 1, 16), sa(1, 1, 1, 17), ErrLength},
	} {
		if tc.most != nil || !errors.Is(tc.more, tc.complaint) {
			t.Errorf("%s: %v, and one more %v", tc.name, tc.most, tc.more)
		}
	}
}

// Bodies at every length that is too short for their type, and those whose own counts say more than there is.
func TestKnownBodies(t *testing.T) {
	attribute := func(b []byte) error { _, err := ParseAttributes(b); return err }
	identity := func(b []byte) error { _, err := ParseID(b); return err }
	notify := func(b []byte) error { _, err := ParseNotify(b); return err }
	remove := func(b []byte) error { _, err := ParseDelete(b); return err }
	fragment := func(b []byte) error { _, err := ParseFragment(b); return err }
	original := func(b []byte) error { _, err := ParseNATOA(b); return err }
	for _, tc := range []struct {
		name  string
		parse func([]byte) error
		hex   string
		ok    bool
	}{
		{"a delete of 65535 SPIs", remove, "00000001 01 10 ffff", false},
		{"a delete of SPIs without octets", remove, "00000001 01 00 0001", false},
		{"a delete that holds half an SPI", remove, "00000001 03 04 0001 0102", false},
		{"a delete of one SPI too few", remove, "00000001 03 04 0001 01020304 05060708", false},
		{"a delete of one SPI", remove, "00000001 03 04 0001 01020304", true},
		{"a notify whose SPI is longer than it", notify, "00000001 01 ff 000e", false},
		{"a notify with an SPI and nothing else", notify, "00000001 01 02 000e aabb", true},
		{"an identity without its fixed part", identity, "01 11 06", false},
		{"an IPv4 address of three octets", identity, "01 00 0000 0a0000", false},
		{"an IPv6 network of 16 octets", identity, "06 00 0000 20010db8000000000000000000000000", false},
		{"an IPv6 network of 33 octets", identity, "06 00 0000" + strings.Repeat("20010db8", 8) + "00", false},
		{"an IPv4 range of 7 octets", identity, "07 00 0000 0a000000 0a0000", false},
		{"a distinguished name of no octet (CVE-2013-6075)", identity, "09 00 0000", true},
		{"a type that there is not (CVE-2023-38711)", identity, "c8 00 0000 01", true},
		{"an attribute of 65535 octets", attribute, "0001 ffff 00", false},
		{"half an attribute", attribute, "8001 00", false},
		{"an attribute of no octet", attribute, "0001 0000", true},
		{"a fragment of nothing (CVE-2013-6076)", fragment, "0001 01 01", false},
		{"a fragment without a flag", fragment, "0001 01", false},
		{"an original address of a name", original, "02 00 0000 61", false},
		{"an original address of 5 octets", original, "01 00 0000 0a00000000", false},
	} {
		if err := tc.parse(wire(t, tc.hex)); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
