package radius

import (
	"iter"
	"slices"

	"layeh.com/radius"

	"concentrator/internal/authz/radius/packet"
)

// vsaHeader is the length of the type and length octets within a Vendor-Specific attribute.
const vsaHeader = 2

// walk yields the attributes of b, a verified packet, in order, with those inside of Vendor-Specific attributes of the vendors
// that are understood as attributes of their own. Other vendors' come as type 26. Values are borrowed from b.
func walk(b []byte) iter.Seq2[number, radius.Attribute] {
	return func(yield func(number, radius.Attribute) bool) {
		for typ, v := range packet.Attributes(b) {
			if !open(typ, v, yield) {
				return
			}
		}
	}
}

// open yields one attribute, or those inside of it.
func open(typ radius.Type, v radius.Attribute, yield func(number, radius.Attribute) bool) bool {
	if typ != typeVendorSpecific {
		return yield(number{0, typ}, v)
	}
	vendor, rest, err := radius.VendorSpecific(v)
	if err != nil || !slices.Contains(understood, vendor) {
		return yield(number{vendor, typeVendorSpecific}, v)
	}
	for len(rest) >= vsaHeader && int(rest[1]) >= vsaHeader && int(rest[1]) <= len(rest) {
		if !yield(number{vendor, radius.Type(rest[0])}, rest[vsaHeader:rest[1]]) {
			return false
		}
		rest = rest[rest[1]:]
	}
	return true
}
