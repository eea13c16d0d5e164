package ike

import "strings"

// Vendor is a vendor ID that we know, as a bit, so that a set of them is a number.
type Vendor uint32

// The vendor IDs that mean something to us. Each is the MD5 of a text unless the table says otherwise.
const (
	VendorNATTRFC3947      Vendor = 1 << iota // "RFC 3947"
	VendorNATTDraft03                         // "draft-ietf-ipsec-nat-t-ike-03"
	VendorNATTDraft02NL                       // "draft-ietf-ipsec-nat-t-ike-02\n", which most implementations mean by 02
	VendorNATTDraft02                         // "draft-ietf-ipsec-nat-t-ike-02"
	VendorNATTDraft01                         // "draft-ietf-ipsec-nat-t-ike-01"
	VendorNATTDraft00                         // "draft-ietf-ipsec-nat-t-ike-00"
	VendorNATTDraft04                         // drafts 04 to 08 have the numbers of RFC 3947
	VendorNATTDraft05                         //
	VendorNATTDraft06                         //
	VendorNATTDraft07                         //
	VendorNATTDraft08                         //
	VendorNATTApple                           // "draft-ietf-ipsec-nat-t-ike", Apple's
	VendorFragmentation                       // "FRAGMENTATION", with a capability word behind it or without
	VendorXAUTH                               // draft-ietf-ipsec-isakmp-xauth-06
	VendorDPD                                 // RFC 3706 section 5.1, fixed octets
	VendorUnity                               // Cisco's remote access
	VendorMicrosoft                           // "MS NT5 ISAKMPOAKLEY", a version word behind it
	VendorMSDiscovery                         // "MS-Negotiation Discovery Capable"
	VendorMSInitialCntct                      // "Vid-Initial-Contact"
	VendorMSCGA                               // "IKE CGA version 1"
	VendorMSKeyModules                        // Windows 8 and later, a module word behind it
	VendorMSMamie                             // "MS-MamieExists"
	VendorRacoon                              // "KAME/racoon"
	VendorStrongSwan                          // "strongSwan"
	VendorGSSAPI                              // "GSSAPI"
	VendorMSClusterPresent                    // "NLBS_PRESENT"
)

// vendors are the octets that a vendor ID begins with. Unless longer is set, it ends with them too.
var vendors = []struct {
	vendor Vendor
	id     string
	longer bool // more may follow
	name   string
}{
	{VendorNATTRFC3947, "\x4a\x13\x1c\x81\x07\x03\x58\x45\x5c\x57\x28\xf2\x0e\x95\x45\x2f", false, "RFC 3947"},
	{VendorNATTDraft03, "\x7d\x94\x19\xa6\x53\x10\xca\x6f\x2c\x17\x9d\x92\x15\x52\x9d\x56", false, "nat-t-03"},
	{VendorNATTDraft02NL, "\x90\xcb\x80\x91\x3e\xbb\x69\x6e\x08\x63\x81\xb5\xec\x42\x7b\x1f", false, "nat-t-02n"},
	{VendorNATTDraft02, "\xcd\x60\x46\x43\x35\xdf\x21\xf8\x7c\xfd\xb2\xfc\x68\xb6\xa4\x48", false, "nat-t-02"},
	{VendorNATTDraft01, "\x16\xf6\xca\x16\xe4\xa4\x06\x6d\x83\x82\x1a\x0f\x0a\xea\xa8\x62", false, "nat-t-01"},
	{VendorNATTDraft00, "\x44\x85\x15\x2d\x18\xb6\xbb\xcd\x0b\xe8\xa8\x46\x95\x79\xdd\xcc", false, "nat-t-00"},
	{VendorNATTDraft04, "\x99\x09\xb6\x4e\xed\x93\x7c\x65\x73\xde\x52\xac\xe9\x52\xfa\x6b", false, "nat-t-04"},
	{VendorNATTDraft05, "\x80\xd0\xbb\x3d\xef\x54\x56\x5e\xe8\x46\x45\xd4\xc8\x5c\xe3\xee", false, "nat-t-05"},
	{VendorNATTDraft06, "\x4d\x1e\x0e\x13\x6d\xea\xfa\x34\xc4\xf3\xea\x9f\x02\xec\x72\x85", false, "nat-t-06"},
	{VendorNATTDraft07, "\x43\x9b\x59\xf8\xba\x67\x6c\x4c\x77\x37\xae\x22\xea\xb8\xf5\x82", false, "nat-t-07"},
	{VendorNATTDraft08, "\x8f\x8d\x83\x82\x6d\x24\x6b\x6f\xc7\xa8\xa6\xa4\x28\xc1\x1d\xe8", false, "nat-t-08"},
	{VendorNATTApple, "\x4d\xf3\x79\x28\xe9\xfc\x4f\xd1\xb3\x26\x21\x70\xd5\x15\xc6\x62", false, "nat-t-apple"},
	{VendorFragmentation, "\x40\x48\xb7\xd5\x6e\xbc\xe8\x85\x25\xe7\xde\x7f\x00\xd6\xc2\xd3", true, "FRAGMENTATION"},
	{VendorXAUTH, "\x09\x00\x26\x89\xdf\xd6\xb7\x12", true, "XAUTH"},
	{VendorDPD, "\xaf\xca\xd7\x13\x68\xa1\xf1\xc9\x6b\x86\x96\xfc\x77\x57\x01\x00", false, "DPD"},
	{VendorUnity, "\x12\xf5\xf2\x8c\x45\x71\x68\xa9\x70\x2d\x9f\xe2\x74\xcc", true, "Cisco Unity"},
	{VendorMicrosoft, "\x1e\x2b\x51\x69\x05\x99\x1c\x7d\x7c\x96\xfc\xbf\xb5\x87\xe4\x61", true, "MS NT5"},
	{VendorMSDiscovery, "\xfb\x1d\xe3\xcd\xf3\x41\xb7\xea\x16\xb7\xe5\xbe\x08\x55\xf1\x20", false, "MS discovery"},
	{VendorMSInitialCntct, "\x26\x24\x4d\x38\xed\xdb\x61\xb3\x17\x2a\x36\xe3\xd0\xcf\xb8\x19", false, "MS initial contact"},
	{VendorMSCGA, "\xe3\xa5\x96\x6a\x76\x37\x9f\xe7\x07\x22\x82\x31\xe5\xce\x86\x52", false, "MS CGA"},
	{VendorMSKeyModules, "\x01\x52\x8b\xbb\xc0\x06\x96\x12\x18\x49\xab\x9a\x1c\x5b\x2a\x51", true, "MS key modules"},
	{VendorMSMamie, "\x21\x4c\xa4\xfa\xff\xa7\xf3\x2d\x67\x48\xe5\x30\x33\x95\xae\x83", false, "MS mamie"},
	{VendorRacoon, "\x70\x03\xcb\xc1\x09\x7d\xbe\x9c\x26\x00\xba\x69\x83\xbc\x8b\x35", false, "racoon"},
	{VendorStrongSwan, "\x88\x2f\xe5\x6d\x6f\xd2\x0d\xbc\x22\x51\x61\x3b\x2e\xbe\x5b\xeb", false, "strongSwan"},
	{VendorGSSAPI, "\x62\x1b\x04\xbb\x09\x88\x2a\xc1\xe1\x59\x35\xfe\xfa\x24\xae\xee", false, "GSSAPI"},
	{VendorMSClusterPresent, "\x72\x87\x2b\x95\xfc\xda\x2e\xb7\x08\xef\xe3\x22\x11\x9b\x49\x71", false, "MS cluster"},
}

// FragmentationCapable is the word behind the FRAGMENTATION vendor ID that says that fragments are understood in Main and
// Aggressive Mode. Windows leaves it out and understands them all the same.
const FragmentationCapable = "\x80\x00\x00\x00"

// ParseVendor recognises the body of a vendor ID payload; 0 if it is not known.
func ParseVendor(body []byte) Vendor {
	for _, v := range vendors {
		if len(body) >= len(v.id) && string(body[:len(v.id)]) == v.id && (v.longer || len(body) == len(v.id)) {
			return v.vendor
		}
	}
	return 0
}

// Has says whether any of the given vendor IDs is in the set.
func (v Vendor) Has(any Vendor) bool { return v&any != 0 }

// ID returns the octets of one vendor ID as it is sent; nil for a set or an unknown one.
func (v Vendor) ID() []byte {
	for _, w := range vendors {
		if v != w.vendor {
			continue
		}
		if v == VendorFragmentation {
			return []byte(w.id + FragmentationCapable)
		}
		return []byte(w.id)
	}
	return nil
}

// String lists the set.
func (v Vendor) String() string {
	var names []string
	for _, w := range vendors {
		if v.Has(w.vendor) {
			names = append(names, w.name)
		}
	}
	return strings.Join(names, ", ")
}
