package ike

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	"concentrator/internal/corpus"
)

func FuzzParseMessage(f *testing.F) {
	corpus.Add(f)
	f.Add(mainMode(f))
	for _, b := range malformed(f) {
		f.Add(b)
	}
	f.Add(AppendFragment(nil, Header{Initiator: Cookie{1}}, Fragment{ID: 1, Number: 1, Data: []byte{1}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMessage(b)
		if err != nil {
			return
		}
		again := NewBuilder(m.Header)
		n := 0
		for p := range m.Payloads.All() {
			again.Add(p.Type, p.Body)
			n++
			walk(t, p)
		}
		if n > MaxPayloads {
			t.Fatalf("%d payloads", n)
		}
		// Reserved octets are not kept; all else is.
		got, err := ParseMessage(again.Bytes())
		if err != nil || len(again.Bytes()) != len(b) || got.Header != m.Header {
			t.Fatalf("%+v came back as %+v, %v", m.Header, got.Header, err)
		}
	})
}

// walk reads a payload by its type, whatever it is; what is read is written again as it was, but for the DOI.
func walk(t *testing.T, p Payload) {
	t.Helper()
	same := func(what string, again []byte, from int) {
		if !bytes.Equal(again[from:], p.Body[from:]) {
			t.Errorf("%s %x became %x", what, p.Body, again)
		}
	}
	switch p.Type {
	case PayloadSA:
		if sa, err := ParseSA(p.Body); err == nil {
			for q := range sa.Proposals() {
				for tr := range q.Transforms() {
					if _, err := ParseAttributes(tr.Attributes.Bytes()); err != nil {
						t.Errorf("attributes of a checked transform: %v", err)
					}
				}
			}
		}
	case PayloadID:
		if id, err := ParseID(p.Body); err == nil {
			again, _ := id.AppendBinary(nil)
			same("identity", again, 0)
			if is := id.Type == IDIPv4Addr || id.Type == IDIPv6Addr; id.Addr().IsValid() != is {
				t.Errorf("identity %x has the address %v", p.Body, id.Addr())
			}
		}
	case PayloadNATOA, PayloadDraftNATOA:
		if a, err := ParseNATOA(p.Body); err == nil {
			if again, err := ParseNATOA(AppendNATOA(nil, a)); err != nil || again != a.Unmap() {
				t.Errorf("%v became %v, %v", a, again, err)
			}
		}
	case PayloadCERT, PayloadCERTREQ:
		if e, data, err := ParseCert(p.Body); err == nil {
			same("certificate", AppendCert(nil, e, data), 0)
		}
	case PayloadNotify:
		if n, err := ParseNotify(p.Body); err == nil {
			again, _ := n.AppendBinary(nil)
			same("notify", again, 4)
		}
	case PayloadDelete:
		if d, err := ParseDelete(p.Body); err == nil {
			spis := slices.Collect(d.SPIs())
			if len(spis) > 0 {
				same("delete", AppendDelete(nil, d.Protocol, spis...), 4)
			}
		}
	case PayloadFragment:
		if g, err := ParseFragment(p.Body); err == nil {
			m, err := ParseMessage(AppendFragment(nil, Header{}, g))
			if err != nil {
				t.Fatal(err)
			}
			body, _ := m.Payloads.Get(PayloadFragment)
			if again, err := ParseFragment(body); err != nil || !reflect.DeepEqual(again, g) {
				t.Errorf("fragment %+v became %+v, %v", g, again, err)
			}
		}
	case PayloadVID:
		if v := ParseVendor(p.Body); v != 0 && (v.String() == "" || !bytes.HasPrefix(p.Body, v.ID()[:8])) {
			t.Errorf("%x is taken for %v", p.Body, v)
		}
	default:
	}
}

func FuzzParseSA(f *testing.F) {
	corpus.Add(f)
	m, err := ParseMessage(mainMode(f))
	if err != nil {
		f.Fatal(err)
	}
	good, _ := m.Payloads.Get(PayloadSA)
	f.Add(good)
	for _, tc := range malformedSA(f) {
		f.Add(tc.b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sa, err := ParseSA(b)
		if err != nil {
			return
		}
		var offers []Offer
		for p := range sa.Proposals() {
			o := Offer{Number: p.Number, Protocol: p.Protocol, SPI: p.SPI}
			for tr := range p.Transforms() {
				o.Transforms = append(o.Transforms, tr)
			}
			offers = append(offers, o)
		}
		again := AppendSA(nil, offers...)
		if len(again) != len(b) {
			t.Fatalf("%d octets came back as %d", len(b), len(again))
		}
		twice, err := ParseSA(again)
		if err != nil {
			t.Fatal(err)
		}
		var back []Offer
		for p := range twice.Proposals() {
			o := Offer{Number: p.Number, Protocol: p.Protocol, SPI: p.SPI}
			for tr := range p.Transforms() {
				o.Transforms = append(o.Transforms, tr)
			}
			back = append(back, o)
		}
		if !bytes.Equal(AppendSA(nil, back...), again) {
			t.Fatal("not the same again")
		}
	})
}

func FuzzParsePayloads(f *testing.F) {
	corpus.Add(f)
	f.Add(uint8(PayloadHASH), []byte("\x0b\x00\x00\x08\x01\x02\x03\x04\x00\x00\x00\x05\x09\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, first uint8, b []byte) {
		p, err := ParsePayloads(PayloadType(first), b, true)
		if err != nil {
			return
		}
		for q := range p.All() {
			walk(t, q)
		}
		if !bytes.HasPrefix(b, p.Bytes()) {
			t.Fatal("the chain is not what was given")
		}
		_ = p.AfterFirst()
	})
}
