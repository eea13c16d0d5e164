package main

import (
	"slices"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/wire/esphdr"
)

// innerLen is the length of the inner packets in octets.
const innerLen = 1400

// carrier is what a session's frames travel in.
type carrier uint8

const (
	plainL2TP carrier = iota // UDP 1701
	espInUDP                 // UDP 4500, RFC 3948
	pptp                     // GRE
	rawESP                   // IP protocol 50; only where nothing is compared
)

// path is a protocol with its algorithms.
type path struct {
	name       string
	carrier    carrier
	encryption esphdr.Encryption
	keyLen     int // octets, salt included
	integrity  esphdr.Integrity
}

// paths are the ones that are measured, by the names of bench.json.
var paths = []path{
	{name: "L2TP", carrier: plainL2TP},
	{name: "ESP-AES-128-CBC-SHA1", carrier: espInUDP, encryption: esphdr.AESCBC, keyLen: 16, integrity: esphdr.HMACSHA1_96},
	{name: "ESP-AES-256-CBC-SHA256", carrier: espInUDP, encryption: esphdr.AESCBC, keyLen: 32, integrity: esphdr.HMACSHA256_128},
	{name: "ESP-AES-128-GCM", carrier: espInUDP, encryption: esphdr.AESGCM16, keyLen: 20},
	{name: "PPTP-MPPE-128", carrier: pptp},
}

func pathNames() (names []string) {
	for _, p := range paths {
		names = append(names, p.name)
	}
	return names
}

func findPath(name string) (path, bool) {
	i := slices.IndexFunc(paths, func(p path) bool { return p.name == name })
	if i < 0 {
		return path{}, false
	}
	return paths[i], true
}

// rawGCM is not among them: its sends can't be joined, so that it costs what PPTP's do.
var rawGCM = path{name: "ESP-AES-128-GCM raw", carrier: rawESP, encryption: esphdr.AESGCM16, keyLen: 20}

// secured says whether the frames travel in ESP.
func (p path) secured() bool { return p.carrier == espInUDP || p.carrier == rawESP }

// segmentable says whether the kernel can cut what goes to the client: it can with UDP.
func (p path) segmentable() bool { return p.carrier == plainL2TP || p.carrier == espInUDP }

// serverPort is the server's UDP port; 0 without UDP.
func (p path) serverPort() int {
	switch p.carrier {
	case plainL2TP:
		return portL2TP
	case espInUDP:
		return portNATT
	default:
		return 0
	}
}

// key makes key material: nothing secret, different for each use.
func key(n int, use byte) []byte {
	k := make([]byte, n)
	for i := range k {
		k[i] = byte(i*17) ^ use*59
	}
	return k
}

// espParams are those of an SA; use tells its keys apart.
func (p path) espParams(spi uint32, use byte) esp.Params {
	q := esp.Params{SPI: spi, Encryption: p.encryption, Key: key(p.keyLen, use), Integrity: p.integrity}
	if !p.encryption.AEAD() {
		q.AuthKey = key(p.integrity.KeyLen(), use+100)
	}
	return q
}

// mppeParams are those of one direction.
func (p path) mppeParams(use byte) mppe.Params {
	return mppe.Params{Bits: 128, StartKey: [16]byte(key(16, use))}
}

// direction is that of the inner packets.
type direction string

const (
	up   direction = "up"   // client to network
	down direction = "down" // network to client
)
