package ike

import (
	"bytes"
	"testing"
)

func FuzzParseMessage(f *testing.F) {
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
			walk(p)
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

// walk reads a payload by its type, whatever it is.
func walk(p Payload) {
	switch p.Type {
	case PayloadSA:
		if sa, err := ParseSA(p.Body); err == nil {
			for q := range sa.Proposals() {
				for t := range q.Transforms() {
					for range t.Attributes.All() {
					}
				}
			}
		}
	case PayloadID:
		if id, err := ParseID(p.Body); err == nil {
			id.Addr()
		}
	case PayloadNATOA, PayloadDraftNATOA:
		_, _ = ParseNATOA(p.Body)
	case PayloadCERT, PayloadCERTREQ:
		_, _, _ = ParseCert(p.Body)
	case PayloadNotify:
		_, _ = ParseNotify(p.Body)
	case PayloadDelete:
		if d, err := ParseDelete(p.Body); err == nil {
			for range d.SPIs() {
			}
		}
	case PayloadFragment:
		_, _ = ParseFragment(p.Body)
	case PayloadVID:
		_ = ParseVendor(p.Body).String()
	default:
	}
}

func FuzzParseSA(f *testing.F) {
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
	f.Add(uint8(PayloadHASH), []byte("\x0b\x00\x00\x08\x01\x02\x03\x04\x00\x00\x00\x05\x09\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, first uint8, b []byte) {
		p, err := ParsePayloads(PayloadType(first), b, true)
		if err != nil {
			return
		}
		for q := range p.All() {
			walk(q)
		}
		if !bytes.HasPrefix(b, p.Bytes()) {
			t.Fatal("the chain is not what was given")
		}
		_ = p.AfterFirst()
	})
}
