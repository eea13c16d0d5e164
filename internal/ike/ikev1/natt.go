package ikev1

import (
	"net/netip"

	"concentrator/internal/ike/keymat"
	wireike "concentrator/internal/wire/ike"
)

// natt is a way of NAT traversal: RFC 3947 or one of the drafts that differ in their numbers. The zero natt is none.
type natt struct {
	vendor    wireike.Vendor // that announces it
	natD      wireike.PayloadType
	natOA     wireike.PayloadType
	transport wireike.Encapsulation // ESP in UDP
}

// ways of NAT traversal, best first. Drafts 04 to 08 had payload numbers that went to other uses; who knows them knows RFC
// 3947 too.
var ways = []natt{
	{wireike.VendorNATTRFC3947, wireike.PayloadNATD, wireike.PayloadNATOA, wireike.EncapUDPTransport},
	{wireike.VendorNATTDraft02NL, wireike.PayloadDraftNATD, wireike.PayloadDraftNATOA, wireike.EncapDraftUDPTransport},
	{wireike.VendorNATTDraft03, wireike.PayloadDraftNATD, wireike.PayloadDraftNATOA, wireike.EncapDraftUDPTransport},
	{wireike.VendorNATTDraft02, wireike.PayloadDraftNATD, wireike.PayloadDraftNATOA, wireike.EncapDraftUDPTransport},
}

// wayOf returns the best way that a set of vendor IDs announces.
func wayOf(v wireike.Vendor) natt {
	for _, w := range ways {
		if v.Has(w.vendor) {
			return w
		}
	}
	return natt{}
}

// maxNATD bounds the NAT-D payloads that are looked at.
const maxNATD = 10

// detect compares NAT-D payloads with the addresses that the message came from and went to, RFC 3947 section 3.2: the first
// is the hash of our address as the peer knows it, one of the others that of its own. Without payloads there is no NAT
// traversal.
func (w natt) detect(m wireike.Payloads, h keymat.Hash, c keymat.Cookies, p Path) (nat NAT, ok bool) {
	if w.vendor == 0 {
		return NAT{}, false
	}
	n, seen := 0, false
	for q := range m.All() {
		if q.Type != w.natD {
			continue
		}
		if n++; n > maxNATD {
			break
		}
		if n == 1 {
			nat.Local = !keymat.Equal(q.Body, h.NATD(c, p.Local))
			continue
		}
		seen = seen || keymat.Equal(q.Body, h.NATD(c, p.Remote))
	}
	if n < 2 {
		return NAT{}, false
	}
	nat.Remote = !seen
	return nat, true
}

// append adds our NAT-D payloads: the peer's address first, then ours.
func (w natt) append(b *wireike.Builder, h keymat.Hash, c keymat.Cookies, local, remote netip.AddrPort) {
	b.Add(w.natD, h.NATD(c, remote))
	b.Add(w.natD, h.NATD(c, local))
}

// vendorsOf collects the vendor IDs of a message.
func vendorsOf(m wireike.Payloads) wireike.Vendor {
	var v wireike.Vendor
	for q := range m.All() {
		if q.Type == wireike.PayloadVID {
			v |= wireike.ParseVendor(q.Body)
		}
	}
	return v
}

// mirrored are the vendor IDs that answer a peer's: the way of NAT traversal, and dead peer detection and fragments if it
// has announced them. As each answers one of its own, message 2 is not longer than message 1.
func mirrored(v wireike.Vendor) []wireike.Vendor {
	var out []wireike.Vendor
	if w := wayOf(v); w.vendor != 0 {
		out = append(out, w.vendor)
	}
	for _, own := range []wireike.Vendor{wireike.VendorDPD, wireike.VendorFragmentation} {
		if v.Has(own) {
			out = append(out, own)
		}
	}
	return out
}

// racoon says whether a peer is a racoon of the kind that Android had, some of which cut SHA2-256 too short in ESP. Apple's
// announces a draft of its own.
func racoon(v wireike.Vendor) bool {
	return v.Has(wireike.VendorRacoon) ||
		v.Has(wireike.VendorNATTDraft00) && v.Has(wireike.VendorDPD) && !v.Has(wireike.VendorNATTApple)
}
