package ike

import (
	"time"

	"concentrator/internal/ike/ikev1"
	wireike "concentrator/internal/wire/ike"
)

// Short names for the tables below.
const (
	des  = wireike.EncryptionDES
	tdes = wireike.Encryption3DES
	aes  = wireike.EncryptionAESCBC

	md5    = wireike.HashMD5
	sha1   = wireike.HashSHA1
	sha256 = wireike.HashSHA256
	sha384 = wireike.HashSHA384
	sha512 = wireike.HashSHA512

	modp1024 = wireike.GroupMODP1024
	modp1536 = wireike.GroupMODP1536
	modp2048 = wireike.GroupMODP2048
	modp3072 = wireike.GroupMODP3072
	ecp256   = wireike.GroupECP256
	ecp384   = wireike.GroupECP384
)

// cipher is a cipher of phase 1 with its key length in bits.
type cipher struct {
	id   wireike.EncryptionID
	bits int
}

var (
	aes256 = cipher{aes, 256}
	aes128 = cipher{aes, 128}
	des3   = cipher{tdes, 0}
	des1   = cipher{des, 0}
)

// transforms are proposals of phase 1 with one cipher and group, one for each hash.
func transforms(c cipher, g wireike.GroupID, hashes ...wireike.HashID) []ikev1.Phase1Proposal {
	var out []ikev1.Phase1Proposal
	for _, h := range hashes {
		out = append(out, ikev1.Phase1Proposal{Encryption: c.id, KeyBits: c.bits, Hash: h, Group: g})
	}
	return out
}

// phase1 joins proposals and gives them a lifetime.
func phase1(life time.Duration, lists ...[]ikev1.Phase1Proposal) []ikev1.Phase1Proposal {
	var out []ikev1.Phase1Proposal
	for _, l := range lists {
		for _, p := range l {
			p.Lifetime = life
			out = append(out, p)
		}
	}
	return out
}

// espCipher is a cipher of ESP with its key length in bits.
type espCipher struct {
	id   wireike.ESPTransformID
	bits int
}

var (
	espAES256 = espCipher{wireike.ESPAESCBC, 256}
	espAES192 = espCipher{wireike.ESPAESCBC, 192}
	espAES128 = espCipher{wireike.ESPAESCBC, 128}
	esp3DES   = espCipher{wireike.ESP3DES, 0}
	espDES    = espCipher{wireike.ESPDES, 0}
)

// Short names for the tables below.
const (
	espMD5    = wireike.ESPAuthMD5
	espSHA1   = wireike.ESPAuthSHA1
	espSHA256 = wireike.ESPAuthSHA256
	espSHA384 = wireike.ESPAuthSHA384
	espSHA512 = wireike.ESPAuthSHA512
)

// esp are the transforms of ESP for each cipher with each integrity algorithm, the ciphers outside.
func esp(ciphers []espCipher, auths ...wireike.ESPAuthID) []ikev1.ESPProposal {
	var out []ikev1.ESPProposal
	for _, c := range ciphers {
		for _, a := range auths {
			out = append(out, ikev1.ESPProposal{Transform: c.id, KeyBits: c.bits, Auth: a})
		}
	}
	return out
}

// separate makes proposals of their own of transforms.
func separate(ps []ikev1.ESPProposal) []ikev1.ESPProposal {
	for i := range ps {
		ps[i].Separate = true
	}
	return ps
}

// Source ports of L2TP that a kernel might choose.
const (
	ephemeralApple   = 56322
	ephemeralAndroid = 41794
)

// Clients are all of them, in the order of this file.
func Clients() []Client {
	return []Client{
		Windows(), Windows7(), MacOS(), IOSGroup("group"), Android(), AndroidGroup("group"), AndroidLollipop(),
		NetworkManagerStrongSwan(), NetworkManagerLibreswan(), ChromeOS(), MikroTik(), TPLink(),
	}
}

// Windows is the client of Windows 8 to 11.
func Windows() Client {
	return Client{
		Name: "Windows 8 to 11",
		Phase1: phase1(8*time.Hour,
			transforms(aes256, ecp384, sha1), transforms(aes128, ecp256, sha1), transforms(aes256, modp2048, sha1),
			transforms(des3, modp2048, sha1), transforms(des3, modp1024, sha1)),
		VendorIDs: windowsIDs(9), NonceLen: 48, FirstMessageID: 1,
		ESP: separate(append(esp([]espCipher{espAES256, espAES128, esp3DES, espDES}, espSHA1),
			ikev1.ESPProposal{Transform: wireike.ESPNULL, Auth: espSHA1})),
		Lifetime: time.Hour, Kilobytes: 250_000, IDPort: portL2TP, NATOA: true, Port: portL2TP,
	}
}

// Windows7 is the client of Windows 7, with the ESP profile that was seen there.
func Windows7() Client {
	c := Windows()
	c.Name, c.VendorIDs = "Windows 7", windowsIDs(7)
	c.ESP = separate(esp([]espCipher{espAES128, esp3DES, espDES}, espSHA1))
	return c
}

// MacOS is the client of macOS and iOS: Apple's racoon.
func MacOS() Client {
	return Client{
		Name: "macOS and iOS",
		Phase1: phase1(time.Hour,
			transforms(aes256, modp2048, sha256, sha1, md5, sha512), transforms(aes256, modp1536, sha256, sha1, md5),
			transforms(aes256, modp1024, sha256, sha1, md5), transforms(aes128, modp1024, sha1, md5),
			transforms(des3, modp1024, sha1, md5)),
		VendorIDs: appleIDs(), NonceLen: 16, Contact: ContactAfter,
		ESP:      esp([]espCipher{espAES256, espAES128, esp3DES}, espSHA256, espSHA1, espMD5),
		Lifetime: time.Hour, IDPort: ephemeralApple, NATOA: true, Port: ephemeralApple,
	}
}

// IOSGroup is the client of macOS and iOS with a group name: Aggressive Mode, in which all proposals have one group.
func IOSGroup(group string) Client {
	c := MacOS()
	c.Name, c.Aggressive = "macOS and iOS with a group", true
	c.Phase1 = phase1(time.Hour, transforms(aes256, modp2048, sha256, sha1, md5, sha512))
	c.Identity = keyID(group)
	return c
}

// Android is the client of Android 6 to 11: racoon with group 2 and nothing else.
func Android() Client {
	return Client{
		Name: "Android up to 11",
		Phase1: phase1(8*time.Hour,
			transforms(aes256, modp1024, sha384, sha256, sha512, sha1, md5),
			transforms(aes128, modp1024, sha512, sha384, sha256, sha1, md5),
			transforms(des3, modp1024, sha256, sha1, md5), transforms(des1, modp1024, sha256, sha1, md5)),
		VendorIDs: androidIDs(), NonceLen: 16, Contact: ContactAfter,
		ESP: esp([]espCipher{espAES256, espAES128, esp3DES, espDES},
			espSHA512, espSHA384, espSHA1, espSHA256, espMD5),
		Lifetime: 8 * time.Hour, NATOA: true, Port: ephemeralAndroid,
	}
}

// AndroidGroup is Android with an IPsec identifier: Aggressive Mode.
func AndroidGroup(group string) Client {
	c := Android()
	c.Name, c.Aggressive, c.Identity = "Android with an identifier", true, keyID(group)
	return c
}

// AndroidLollipop is the client of Android 5 and before.
func AndroidLollipop() Client {
	c := Android()
	c.Name = "Android up to 5"
	c.Phase1 = phase1(8*time.Hour, transforms(aes256, modp1024, sha1, md5), transforms(aes128, modp1024, sha1, md5),
		transforms(des3, modp1024, sha1, md5), transforms(des1, modp1024, sha1, md5))
	c.ESP = esp([]espCipher{espAES256, espAES128, esp3DES, espDES}, espSHA1, espMD5)
	return c
}

// networkManager is what NetworkManager-l2tp asks for; groups are those with AES-256.
func networkManager(groups ...wireike.GroupID) []ikev1.Phase1Proposal {
	var out []ikev1.Phase1Proposal
	for _, h := range []wireike.HashID{sha256, sha1} {
		for _, g := range groups {
			out = append(out, transforms(aes256, g, h)...)
		}
	}
	return out
}

// NetworkManagerStrongSwan is NetworkManager-l2tp with strongSwan.
func NetworkManagerStrongSwan() Client {
	return Client{
		Name: "NetworkManager with strongSwan",
		Phase1: phase1(3*time.Hour,
			networkManager(modp2048, modp1536, modp1024), transforms(aes256, ecp384, sha1), transforms(aes128, modp1024, sha1),
			transforms(aes128, ecp256, sha1), transforms(des3, modp2048, sha1), transforms(des3, modp1024, sha1)),
		VendorIDs: strongSwanIDs(), NonceLen: 32, Contact: ContactInID,
		ESP:      esp([]espCipher{espAES256, espAES128, esp3DES}, espSHA1),
		Lifetime: time.Hour, IDPort: portL2TP, NATOA: true, Port: portL2TP,
	}
}

// NetworkManagerLibreswan is NetworkManager-l2tp with libreswan, which no longer has group 2 and wants perfect forward
// secrecy.
func NetworkManagerLibreswan() Client {
	return Client{
		Name: "NetworkManager with libreswan",
		Phase1: phase1(8*time.Hour,
			networkManager(modp2048, modp1536), transforms(aes256, ecp384, sha1), transforms(aes128, ecp256, sha1),
			transforms(des3, modp2048, sha1)),
		VendorIDs: libreswanIDs(), NonceLen: 32, PFS: modp2048,
		ESP:      esp([]espCipher{espAES256, espAES128, esp3DES}, espSHA1),
		Lifetime: 8 * time.Hour, IDPort: portL2TP, NATOA: true, Port: portL2TP,
	}
}

// ChromeOS is the client of ChromeOS: strongSwan. Its last proposal, "default", comes to the same as the first.
func ChromeOS() Client {
	return Client{
		Name: "ChromeOS",
		Phase1: phase1(3*time.Hour,
			transforms(aes128, modp3072, sha256), transforms(aes128, modp2048, sha1), transforms(des3, modp1536, sha1),
			transforms(des3, modp1024, sha1)),
		VendorIDs: strongSwanIDs(), NonceLen: 32, Contact: ContactInID,
		ESP: []ikev1.ESPProposal{
			{Transform: wireike.ESPAESGCM16, KeyBits: 128},
			{Transform: wireike.ESPAESCBC, KeyBits: 128, Auth: espSHA256},
			{Transform: wireike.ESPAESCBC, KeyBits: 128, Auth: espSHA1},
			{Transform: wireike.ESP3DES, Auth: espSHA1},
			{Transform: wireike.ESP3DES, Auth: espMD5},
		},
		Lifetime: time.Hour, IDPort: portL2TP, NATOA: true, Port: portL2TP,
	}
}

// MikroTik is the L2TP client of RouterOS with use-ipsec, default profile and default proposal. Perfect forward secrecy
// with group 2 is in it.
func MikroTik() Client {
	return Client{
		Name: "MikroTik",
		Phase1: phase1(24*time.Hour,
			transforms(aes128, modp2048, sha1), transforms(des3, modp2048, sha1), transforms(aes128, modp1024, sha1),
			transforms(des3, modp1024, sha1)),
		VendorIDs: mikroTikIDs(), NonceLen: 24, PFS: modp1024, Contact: ContactAfter,
		ESP:      esp([]espCipher{espAES256, espAES192, espAES128}, espSHA1),
		Lifetime: 30 * time.Minute, IDPort: portL2TP, NATOA: true, Port: portL2TP,
	}
}

// TPLink is a small router of the kind that knows 3DES and group 2 only, and no NAT traversal beyond draft 2.
func TPLink() Client {
	return Client{
		Name:      "TP-Link and the like",
		Phase1:    phase1(8*time.Hour, transforms(des3, modp1024, md5, sha1)),
		VendorIDs: ids(wireike.VendorNATTDraft02NL), NonceLen: 16,
		ESP:      esp([]espCipher{esp3DES}, espMD5, espSHA1),
		Lifetime: time.Hour, IDPort: portL2TP, Port: portL2TP,
	}
}

// keyID is the identity that a group name is sent as.
func keyID(name string) wireike.ID { return wireike.ID{Type: wireike.IDKeyID, Data: []byte(name)} }
