package l2tp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
)

// Every length that an AVP can claim against every number of octets that are there: taken is what fits, and nothing of what
// lies behind it is read. Lengths below the AVP's own header and beyond the message have run other daemons over
// (CVE-2020-15173, and the tcpdump capture with AVPs of vendor 0 that end behind the packet).
func TestKnownAVPLengths(t *testing.T) {
	head := unhex(t, hello)
	for there := range 64 {
		body := append(bytes.Clone(head), make([]byte, there)...)
		for length := range maxAVPLen + 1 {
			if there < 2 {
				break
			}
			at := body[len(head):]
			binary.BigEndian.PutUint16(at, uint16(length))
			if there >= avpHeaderLen {
				binary.BigEndian.PutUint16(at[4:], 99) // an attribute that may be ignored
			}
			avps, bad := splitAVPs(body)
			fits := length >= avpHeaderLen && length <= there
			switch {
			case !fits && bad == nil:
				t.Fatalf("%d octets that say %d are taken", there, length)
			case fits && (len(avps) < 2 || len(avps[1].Value) != length-avpHeaderLen || cap(avps[1].Value) != len(avps[1].Value)):
				t.Fatalf("%d octets that say %d: %+v", there, length, avps)
			}
		}
		if there == 1 {
			if _, bad := splitAVPs(body); bad == nil {
				t.Error("one octet is taken for an AVP")
			}
		}
	}
}

// The longest texts that AVPs can hold are longer than a telephone number that any daemon had room for.
func TestKnownLongNumbers(t *testing.T) {
	long := string(bytes.Repeat([]byte{'9'}, MaxAVPValue))
	m := &ICRQ{AssignedSessionID: 1, CallSerialNumber: 2, CalledNumber: long, CallingNumber: long, SubAddress: long}
	got, err := Parse(Append(nil, Header{}, m, nil)[ControlHeaderLen:], nil)
	if err != nil || *got.(*ICRQ) != *m {
		t.Errorf("%v", err)
	}
	m.CalledNumber += "9" // is cut, as its length could not name it
	if got, err = Parse(Append(nil, Header{}, m, nil)[ControlHeaderLen:], nil); err != nil || got.(*ICRQ).CalledNumber != long {
		t.Errorf("%v", err)
	}
}

// Hidden AVPs of a sender that has no secret decipher to anything, the length in front included, and no attribute of a
// fixed size gets another one by it. With no secret here they are not deciphered at all.
func TestKnownHiddenGarbage(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 1))
	secret := []byte("secret")
	taken := 0
	for range 20000 {
		value := make([]byte, rng.IntN(48))
		for i := range value {
			value[i] = byte(rng.Uint32())
		}
		body := unhex(t, "8008 0000 0000 000b")
		body = AVP{Mandatory: true, Attribute: AttributeRandomVector, Value: []byte("0123456789abcdef")}.append(body)
		body = AVP{Mandatory: true, Hidden: true, Attribute: AttributeAssignedSessionID, Value: value}.append(body)
		var bad *Error
		if m, err := Parse(body, nil); m != nil || !errors.As(err, &bad) || bad.Code != ErrorUnknownMandatory {
			t.Fatalf("%x without a secret: %+v, %v", value, m, err)
		}
		m, err := Parse(body, secret)
		if (m == nil) == (err == nil) || err != nil && !errors.As(err, &bad) {
			t.Fatalf("%x: %+v, %v", value, m, err)
		}
		if m == nil {
			continue
		}
		taken++
		plain, ok := reveal(AVP{Attribute: AttributeAssignedSessionID, Value: value}, secret, []byte("0123456789abcdef"))
		if !ok || len(plain.Value) != 2 {
			t.Fatalf("%x became a session ID of %d octets", value, len(plain.Value))
		}
	}
	if taken > 20 { // one in 65536 says that it has two octets
		t.Errorf("%d of 20000 were taken", taken)
	}
}

// Several hidden AVPs, each shorter than the one before: what one held is not in the next.
func TestKnownHiddenInARow(t *testing.T) {
	m := &SCCRQ{
		ProtocolVersion: Version, FramingCapabilities: 3, HostName: "a host name of many octets", VendorName: "v",
		AssignedTunnelID: 9, Challenge: []byte("c"),
	}
	for padding := range 40 {
		hiding := Hiding{
			Secret: []byte("s"), Vector: []byte("0123456789abcdef"), Padding: padding,
			Hide: func(a Attribute) bool {
				return a == AttributeHostName || a == AttributeVendorName || a == AttributeChallenge
			},
		}
		got, err := Parse(Append(nil, Header{}, m, &hiding)[ControlHeaderLen:], []byte("s"))
		if err != nil {
			t.Fatal(err)
		}
		s := got.(*SCCRQ)
		if s.HostName != m.HostName || s.VendorName != m.VendorName || !bytes.Equal(s.Challenge, m.Challenge) {
			t.Errorf("padding %d: %+v", padding, s)
		}
	}
}
