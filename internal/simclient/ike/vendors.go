package ike

import (
	"encoding/binary"
	"slices"

	wireike "concentrator/internal/wire/ike"
)

// ids are vendor IDs as they are usually sent.
func ids(vs ...wireike.Vendor) [][]byte {
	var out [][]byte
	for _, v := range vs {
		out = append(out, v.ID())
	}
	return out
}

// withWord is a vendor ID with a word behind it.
func withWord(v wireike.Vendor, word uint32) []byte {
	return binary.BigEndian.AppendUint32(v.ID(), word)
}

// fragmentationOnly is the vendor ID FRAGMENTATION without a capability word, as Windows sends it.
func fragmentationOnly() []byte {
	id := wireike.VendorFragmentation.ID()
	return id[:len(id)-len(wireike.FragmentationCapable)]
}

// windowsIDs are those of Windows with a version of MS NT5 ISAKMPOAKLEY: 7 for Windows 7, 8 for 2008 R2, 9 since Windows
// 8. Since then the module ID stands before them, with 1 for IKE.
func windowsIDs(version uint32) [][]byte {
	var out [][]byte
	if version >= 9 {
		out = append(out, withWord(wireike.VendorMSKeyModules, 1))
	}
	return slices.Concat(out, [][]byte{
		withWord(wireike.VendorMicrosoft, version), wireike.VendorNATTRFC3947.ID(), wireike.VendorNATTDraft02NL.ID(),
		fragmentationOnly(), wireike.VendorMSDiscovery.ID(), wireike.VendorMSInitialCntct.ID(), wireike.VendorMSCGA.ID(),
	})
}

// appleIDs are those of Apple's racoon, in its order.
func appleIDs() [][]byte {
	return ids(wireike.VendorNATTRFC3947, wireike.VendorNATTApple, wireike.VendorNATTDraft08, wireike.VendorNATTDraft07,
		wireike.VendorNATTDraft06, wireike.VendorNATTDraft05, wireike.VendorNATTDraft04, wireike.VendorNATTDraft03,
		wireike.VendorNATTDraft02, wireike.VendorNATTDraft02NL, wireike.VendorFragmentation, wireike.VendorDPD)
}

// androidIDs are those of Android's racoon.
func androidIDs() [][]byte {
	return ids(wireike.VendorNATTRFC3947, wireike.VendorNATTDraft02, wireike.VendorNATTDraft02NL, wireike.VendorNATTDraft00,
		wireike.VendorFragmentation, wireike.VendorDPD)
}

// strongSwanIDs are those of charon as a client of IKEv1.
func strongSwanIDs() [][]byte {
	return ids(wireike.VendorXAUTH, wireike.VendorDPD, wireike.VendorFragmentation, wireike.VendorNATTRFC3947,
		wireike.VendorNATTDraft02NL)
}

// libreswanIDs are those of pluto, which has known RFC 3947 and its drafts for long.
func libreswanIDs() [][]byte {
	return ids(wireike.VendorFragmentation, wireike.VendorDPD, wireike.VendorNATTRFC3947, wireike.VendorNATTDraft03,
		wireike.VendorNATTDraft02NL, wireike.VendorNATTDraft02)
}

// mikroTikIDs are those of RouterOS.
func mikroTikIDs() [][]byte {
	return ids(wireike.VendorNATTRFC3947, wireike.VendorNATTDraft08, wireike.VendorNATTDraft07, wireike.VendorNATTDraft06,
		wireike.VendorNATTDraft05, wireike.VendorNATTDraft04, wireike.VendorNATTDraft03, wireike.VendorNATTDraft02,
		wireike.VendorNATTDraft02NL, wireike.VendorUnity, wireike.VendorDPD)
}
