package ike

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"concentrator/internal/ike/ikev1"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// windowsMessage1 is message 1 of Windows 10, put together from what is known of it: 408 octets, five transforms, eight
// vendor IDs. Only the cookie is not Windows's own.
const windowsMessage1 = `
	0102030405060708 0000000000000000 01 10 02 00 00000000 00000198
	0d 00 00d4 00000001 00000001
		00 00 00c8 01 01 00 05
			03 00 0028 01 01 0000 80010007 800e0100 80020002 80040014 80030001 800b0001 000c0004 00007080
			03 00 0028 02 01 0000 80010007 800e0080 80020002 80040013 80030001 800b0001 000c0004 00007080
			03 00 0028 03 01 0000 80010007 800e0100 80020002 8004000e 80030001 800b0001 000c0004 00007080
			03 00 0024 04 01 0000 80010005          80020002 8004000e 80030001 800b0001 000c0004 00007080
			00 00 0024 05 01 0000 80010005          80020002 80040002 80030001 800b0001 000c0004 00007080
	0d 00 0018 01528bbbc00696121849ab9a1c5b2a51 00000001
	0d 00 0018 1e2b516905991c7d7c96fcbfb587e461 00000009
	0d 00 0014 4a131c81070358455c5728f20e95452f
	0d 00 0014 90cb80913ebb696e086381b5ec427b1f
	0d 00 0014 4048b7d56ebce88525e7de7f00d6c2d3
	0d 00 0014 fb1de3cdf341b7ea16b7e5be0855f120
	0d 00 0014 26244d38eddb61b3172a36e3d0cfb819
	00 00 0014 e3a5966a76379fe707228231e5ce8652
`

func golden(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGoldenWindowsMessage1: the tables here, the codec and the engine's initiator all come to these octets, and the
// codec reads them.
func TestGoldenWindowsMessage1(t *testing.T) {
	want := golden(t, windowsMessage1)
	if len(want) != 408 {
		t.Fatalf("%d octets", len(want))
	}
	respond(t, oneTenant(false), func(t *testing.T, r *responder) {
		h := r.by(Windows(), true)
		copy(h.id[0][:], want)
		if got := h.message1(); !bytes.Equal(got, want) {
			t.Errorf("by hand:\n%x\nwant\n%x", got, want)
		}
		if err := r.e.Initiate(Windows().Initiator(Path(testListener, privateAddr, serverAddr), tenant.Secret(secret))); err != nil {
			t.Fatal(err)
		}
		out := r.after(0)
		if len(out) != 1 {
			t.Fatalf("the engine sends %d messages", len(out))
		}
		if got := out[0].msg; len(got) != len(want) || !bytes.Equal(got[8:], want[8:]) {
			t.Errorf("the engine:\n%x\nwant\n%x", got, want)
		}
		r.after(3 * time.Minute) // until it gives up
	})

	m, err := wireike.ParseMessage(want)
	if err != nil {
		t.Fatal(err)
	}
	if m.Header.Exchange != wireike.ExchangeMain || m.Header.Encrypted() || int(m.Header.Length) != len(want) {
		t.Errorf("header %+v", m.Header)
	}
	body, _ := m.Payloads.Get(wireike.PayloadSA)
	sa, err := wireike.ParseSA(body)
	if err != nil {
		t.Fatal(err)
	}
	var suites []string
	for p := range sa.Proposals() {
		for tr := range p.Transforms() {
			suites = append(suites, phase1Name(readTransform(tr)))
		}
	}
	if got, want := strings.Join(suites, ", "), "AES-CBC-256 SHA1 ECP-384, AES-CBC-128 SHA1 ECP-256, AES-CBC-256 SHA1 MODP-2048, "+
		"3DES-CBC SHA1 MODP-2048, 3DES-CBC SHA1 MODP-1024"; got != want {
		t.Errorf("transforms %s\nwant %s", got, want)
	}
	var vendor wireike.Vendor
	n := 0
	for p := range m.Payloads.All() {
		if p.Type == wireike.PayloadVID {
			n++
			vendor |= wireike.ParseVendor(p.Body)
		}
	}
	if n != 8 || vendor.Has(wireike.VendorDPD) || vendor != wireike.VendorMSKeyModules|wireike.VendorMicrosoft|
		wireike.VendorNATTRFC3947|wireike.VendorNATTDraft02NL|wireike.VendorFragmentation|wireike.VendorMSDiscovery|
		wireike.VendorMSInitialCntct|wireike.VendorMSCGA {
		t.Errorf("%d vendor IDs: %v", n, vendor)
	}
}

// readTransform reads the attributes of a transform of phase 1.
func readTransform(tr wireike.Transform) ikev1.Phase1Proposal {
	var p ikev1.Phase1Proposal
	for a, v := range tr.Attributes.All() {
		switch a {
		case wireike.AttrEncryption:
			p.Encryption = wireike.EncryptionID(v)
		case wireike.AttrKeyLength:
			p.KeyBits = int(v)
		case wireike.AttrHash:
			p.Hash = wireike.HashID(v)
		case wireike.AttrGroup:
			p.Group = wireike.GroupID(v)
		}
	}
	return p
}
