package ike

import "strconv"

// name returns what a table says of a number, or the number itself.
func name[T ~uint8 | ~uint16](names map[T]string, v T) string {
	if s, ok := names[v]; ok {
		return s
	}
	return strconv.Itoa(int(v))
}

// EncryptionID is the Encryption-Algorithm attribute of phase 1, RFC 2409 appendix A.
type EncryptionID uint16

// The ciphers of phase 1. DES is here to be recognised, never to be used.
const (
	EncryptionDES    EncryptionID = 1
	Encryption3DES   EncryptionID = 5
	EncryptionAESCBC EncryptionID = 7 // RFC 3602 section 5; the Key-Length attribute says which
)

var encryptionNames = map[EncryptionID]string{
	EncryptionDES: "DES-CBC", Encryption3DES: "3DES-CBC", EncryptionAESCBC: "AES-CBC",
}

// String implements fmt.Stringer.
func (v EncryptionID) String() string { return name(encryptionNames, v) }

// HashID is the Hash-Algorithm attribute of phase 1, RFC 2409 appendix A and RFC 4868.
type HashID uint16

// The hashes of phase 1; each also gives the prf, its HMAC.
const (
	HashMD5    HashID = 1
	HashSHA1   HashID = 2
	HashSHA256 HashID = 4
	HashSHA384 HashID = 5
	HashSHA512 HashID = 6
)

var hashNames = map[HashID]string{
	HashMD5: "MD5", HashSHA1: "SHA1", HashSHA256: "SHA2-256", HashSHA384: "SHA2-384", HashSHA512: "SHA2-512",
}

// String implements fmt.Stringer.
func (v HashID) String() string { return name(hashNames, v) }

// AuthMethod is the Authentication-Method attribute of phase 1, RFC 2409 appendix A and RFC 4754 section 5.
type AuthMethod uint16

// The authentication methods. RSA encryption (4 and 5) is left out on purpose: its oracle attacks can't be mended.
const (
	AuthPSK          AuthMethod = 1
	AuthRSASignature AuthMethod = 3
	AuthECDSA256     AuthMethod = 9  // P-256 with SHA-256
	AuthECDSA384     AuthMethod = 10 // P-384 with SHA-384
	AuthECDSA521     AuthMethod = 11 // P-521 with SHA-512
)

var authNames = map[AuthMethod]string{
	AuthPSK: "PSK", AuthRSASignature: "RSA", AuthECDSA256: "ECDSA-256", AuthECDSA384: "ECDSA-384", AuthECDSA521: "ECDSA-521",
}

// String implements fmt.Stringer.
func (v AuthMethod) String() string { return name(authNames, v) }

// GroupID is the Group-Description attribute, RFC 2409 section 6, RFC 3526 and RFC 5903.
type GroupID uint16

// The Diffie-Hellman groups. 2 and 5 are for old clients only.
const (
	GroupNone     GroupID = 0
	GroupMODP1024 GroupID = 2
	GroupMODP1536 GroupID = 5
	GroupMODP2048 GroupID = 14
	GroupMODP3072 GroupID = 15
	GroupMODP4096 GroupID = 16
	GroupECP256   GroupID = 19
	GroupECP384   GroupID = 20
	GroupECP521   GroupID = 21
)

var groupNames = map[GroupID]string{
	GroupNone: "none", GroupMODP1024: "MODP-1024", GroupMODP1536: "MODP-1536", GroupMODP2048: "MODP-2048",
	GroupMODP3072: "MODP-3072", GroupMODP4096: "MODP-4096", GroupECP256: "ECP-256", GroupECP384: "ECP-384",
	GroupECP521: "ECP-521",
}

// String implements fmt.Stringer.
func (v GroupID) String() string { return name(groupNames, v) }

// ESPTransformID is the Transform-Id of an ESP proposal, RFC 2407 section 4.4.4 and RFC 4106 section 8.
type ESPTransformID uint8

// The ciphers of ESP. DES and NULL are here to be recognised, never to be used.
const (
	ESPDES      ESPTransformID = 2
	ESP3DES     ESPTransformID = 3
	ESPNULL     ESPTransformID = 11
	ESPAESCBC   ESPTransformID = 12
	ESPAESGCM16 ESPTransformID = 20
)

var espNames = map[ESPTransformID]string{
	ESPDES: "DES-CBC", ESP3DES: "3DES-CBC", ESPNULL: "NULL", ESPAESCBC: "AES-CBC", ESPAESGCM16: "AES-GCM-16",
}

// String implements fmt.Stringer.
func (v ESPTransformID) String() string { return name(espNames, v) }

// ESPAuthID is the Authentication-Algorithm attribute of an ESP proposal, RFC 2407 section 4.5 and RFC 4868.
type ESPAuthID uint16

// The integrity algorithms of ESP.
const (
	ESPAuthNone   ESPAuthID = 0
	ESPAuthMD5    ESPAuthID = 1
	ESPAuthSHA1   ESPAuthID = 2
	ESPAuthSHA256 ESPAuthID = 5
	ESPAuthSHA384 ESPAuthID = 6
	ESPAuthSHA512 ESPAuthID = 7
)

var espAuthNames = map[ESPAuthID]string{
	ESPAuthNone: "none", ESPAuthMD5: "MD5-96", ESPAuthSHA1: "SHA1-96", ESPAuthSHA256: "SHA2-256-128",
	ESPAuthSHA384: "SHA2-384-192", ESPAuthSHA512: "SHA2-512-256",
}

// String implements fmt.Stringer.
func (v ESPAuthID) String() string { return name(espAuthNames, v) }

// Protocol is a protocol that a proposal, a notify or a delete speaks of, RFC 2407 section 4.4.1.
type Protocol uint8

// The protocols.
const (
	ProtocolISAKMP Protocol = 1
	ProtocolAH     Protocol = 2
	ProtocolESP    Protocol = 3
)

// Values that stand for themselves in the IPsec domain of interpretation, RFC 2407.
const (
	DOI             uint32 = 1 // section 4.1
	SituationID     uint32 = 1 // SIT_IDENTITY_ONLY, section 4.2.1
	TransformKeyIKE uint8  = 1 // KEY_IKE, section 4.4.2
)

// Attribute types of phase 1, RFC 2409 appendix A.
const (
	AttrEncryption   uint16 = 1
	AttrHash         uint16 = 2
	AttrAuthMethod   uint16 = 3
	AttrGroup        uint16 = 4
	AttrLifeType     uint16 = 11
	AttrLifeDuration uint16 = 12
	AttrKeyLength    uint16 = 14
)

// Attribute types of phase 2, RFC 2407 section 4.5.
const (
	AttrESPLifeType      uint16 = 1
	AttrESPLifeDuration  uint16 = 2
	AttrESPGroup         uint16 = 3
	AttrESPEncapsulation uint16 = 4
	AttrESPAuth          uint16 = 5
	AttrESPKeyLength     uint16 = 6
	AttrESPESN           uint16 = 11 // RFC 4304
)

// Life types, the same in both phases.
const (
	LifeSeconds   uint64 = 1
	LifeKilobytes uint64 = 2
)

// ESN64 is the value of AttrESPESN that asks for 64-bit sequence numbers, RFC 4304 section 2.
const ESN64 uint64 = 1

// Encapsulation is the Encapsulation-Mode attribute of phase 2, RFC 2407 section 4.5 and RFC 3947 section 5.1.
type Encapsulation uint16

// The encapsulation modes; the drafts of RFC 3947 used private numbers.
const (
	EncapTunnel            Encapsulation = 1
	EncapTransport         Encapsulation = 2
	EncapUDPTunnel         Encapsulation = 3
	EncapUDPTransport      Encapsulation = 4
	EncapDraftUDPTunnel    Encapsulation = 61443
	EncapDraftUDPTransport Encapsulation = 61444
)

// ExchangeType is the exchange that a message belongs to, RFC 2408 section 3.1 and RFC 2409 appendix A.
type ExchangeType uint8

// The exchanges. Transaction (mode config and XAUTH) is only ever refused.
const (
	ExchangeMain          ExchangeType = 2 // Identity Protection
	ExchangeAggressive    ExchangeType = 4
	ExchangeInformational ExchangeType = 5
	ExchangeTransaction   ExchangeType = 6
	ExchangeQuick         ExchangeType = 32
	ExchangeNewGroup      ExchangeType = 33
)

var exchangeNames = map[ExchangeType]string{
	ExchangeMain: "main mode", ExchangeAggressive: "aggressive mode", ExchangeInformational: "informational",
	ExchangeTransaction: "transaction", ExchangeQuick: "quick mode", ExchangeNewGroup: "new group mode",
}

// String implements fmt.Stringer.
func (v ExchangeType) String() string { return name(exchangeNames, v) }

// PayloadType is the type of a payload, RFC 2408 section 3.1 and RFC 3947 section 3.
type PayloadType uint8

// The payloads.
const (
	PayloadNone      PayloadType = 0
	PayloadSA        PayloadType = 1
	PayloadProposal  PayloadType = 2
	PayloadTransform PayloadType = 3
	PayloadKE        PayloadType = 4
	PayloadID        PayloadType = 5
	PayloadCERT      PayloadType = 6
	PayloadCERTREQ   PayloadType = 7
	PayloadHASH      PayloadType = 8
	PayloadSIG       PayloadType = 9
	PayloadNonce     PayloadType = 10
	PayloadNotify    PayloadType = 11
	PayloadDelete    PayloadType = 12
	PayloadVID       PayloadType = 13
	PayloadATTR      PayloadType = 14 // of a transaction
	PayloadNATD      PayloadType = 20
	PayloadNATOA     PayloadType = 21

	PayloadDraftNATD  PayloadType = 130 // draft-ietf-ipsec-nat-t-ike-02 and 03
	PayloadDraftNATOA PayloadType = 131
	PayloadFragment   PayloadType = 132 // [MS-IKEE] section 2.2.3
)

var payloadNames = map[PayloadType]string{
	PayloadNone: "none", PayloadSA: "SA", PayloadProposal: "P", PayloadTransform: "T", PayloadKE: "KE", PayloadID: "ID",
	PayloadCERT: "CERT", PayloadCERTREQ: "CERTREQ", PayloadHASH: "HASH", PayloadSIG: "SIG", PayloadNonce: "NONCE",
	PayloadNotify: "N", PayloadDelete: "D", PayloadVID: "VID", PayloadATTR: "ATTR", PayloadNATD: "NAT-D",
	PayloadNATOA: "NAT-OA", PayloadDraftNATD: "NAT-D(draft)", PayloadDraftNATOA: "NAT-OA(draft)", PayloadFragment: "FRAG",
}

// String implements fmt.Stringer.
func (v PayloadType) String() string { return name(payloadNames, v) }

// IDType is the type of an identification payload, RFC 2407 section 4.6.2.1.
type IDType uint8

// The identification types.
const (
	IDIPv4Addr       IDType = 1
	IDFQDN           IDType = 2
	IDUserFQDN       IDType = 3
	IDIPv4AddrSubnet IDType = 4
	IDIPv6Addr       IDType = 5
	IDIPv6AddrSubnet IDType = 6
	IDIPv4AddrRange  IDType = 7
	IDIPv6AddrRange  IDType = 8
	IDDERASN1DN      IDType = 9
	IDDERASN1GN      IDType = 10
	IDKeyID          IDType = 11
)

var idNames = map[IDType]string{
	IDIPv4Addr: "ipv4", IDFQDN: "fqdn", IDUserFQDN: "user-fqdn", IDIPv4AddrSubnet: "ipv4-subnet", IDIPv6Addr: "ipv6",
	IDIPv6AddrSubnet: "ipv6-subnet", IDIPv4AddrRange: "ipv4-range", IDIPv6AddrRange: "ipv6-range", IDDERASN1DN: "dn",
	IDDERASN1GN: "gn", IDKeyID: "key-id",
}

// String implements fmt.Stringer.
func (v IDType) String() string { return name(idNames, v) }

// CertEncoding is the encoding of a certificate or certificate request payload, RFC 2408 section 3.9.
type CertEncoding uint8

// The encodings that are understood; others are skipped.
const (
	CertPKCS7         CertEncoding = 1
	CertX509Signature CertEncoding = 4
	CertCRL           CertEncoding = 7
)

// NotifyType is a notify message type, RFC 2408 section 3.14.1, RFC 2407 section 4.6.3 and RFC 3706 section 5.
type NotifyType uint16

// Error types, then status types.
const (
	NotifyInvalidPayloadType      NotifyType = 1
	NotifyDOINotSupported         NotifyType = 2
	NotifySituationNotSupported   NotifyType = 3
	NotifyInvalidCookie           NotifyType = 4
	NotifyInvalidMajorVersion     NotifyType = 5
	NotifyInvalidMinorVersion     NotifyType = 6
	NotifyInvalidExchangeType     NotifyType = 7
	NotifyInvalidFlags            NotifyType = 8
	NotifyInvalidMessageID        NotifyType = 9
	NotifyInvalidProtocolID       NotifyType = 10
	NotifyInvalidSPI              NotifyType = 11
	NotifyInvalidTransformID      NotifyType = 12
	NotifyAttributesNotSupported  NotifyType = 13
	NotifyNoProposalChosen        NotifyType = 14
	NotifyBadProposalSyntax       NotifyType = 15
	NotifyPayloadMalformed        NotifyType = 16
	NotifyInvalidKeyInformation   NotifyType = 17
	NotifyInvalidIDInformation    NotifyType = 18
	NotifyInvalidCertEncoding     NotifyType = 19
	NotifyInvalidCertificate      NotifyType = 20
	NotifyCertTypeUnsupported     NotifyType = 21
	NotifyInvalidCertAuthority    NotifyType = 22
	NotifyInvalidHashInformation  NotifyType = 23
	NotifyAuthenticationFailed    NotifyType = 24
	NotifyInvalidSignature        NotifyType = 25
	NotifyAddressNotification     NotifyType = 26
	NotifySALifetime              NotifyType = 27
	NotifyCertificateUnavailable  NotifyType = 28
	NotifyUnsupportedExchangeType NotifyType = 29
	NotifyUnequalPayloadLengths   NotifyType = 30

	NotifyConnected         NotifyType = 16384
	NotifyResponderLifetime NotifyType = 24576
	NotifyReplayStatus      NotifyType = 24577
	NotifyInitialContact    NotifyType = 24578
	NotifyRUThere           NotifyType = 36136
	NotifyRUThereAck        NotifyType = 36137
)

var notifyNames = map[NotifyType]string{
	NotifyInvalidPayloadType: "INVALID-PAYLOAD-TYPE", NotifyDOINotSupported: "DOI-NOT-SUPPORTED",
	NotifySituationNotSupported: "SITUATION-NOT-SUPPORTED", NotifyInvalidCookie: "INVALID-COOKIE",
	NotifyInvalidMajorVersion: "INVALID-MAJOR-VERSION", NotifyInvalidMinorVersion: "INVALID-MINOR-VERSION",
	NotifyInvalidExchangeType: "INVALID-EXCHANGE-TYPE", NotifyInvalidFlags: "INVALID-FLAGS",
	NotifyInvalidMessageID: "INVALID-MESSAGE-ID", NotifyInvalidProtocolID: "INVALID-PROTOCOL-ID",
	NotifyInvalidSPI: "INVALID-SPI", NotifyInvalidTransformID: "INVALID-TRANSFORM-ID",
	NotifyAttributesNotSupported: "ATTRIBUTES-NOT-SUPPORTED", NotifyNoProposalChosen: "NO-PROPOSAL-CHOSEN",
	NotifyBadProposalSyntax: "BAD-PROPOSAL-SYNTAX", NotifyPayloadMalformed: "PAYLOAD-MALFORMED",
	NotifyInvalidKeyInformation: "INVALID-KEY-INFORMATION", NotifyInvalidIDInformation: "INVALID-ID-INFORMATION",
	NotifyInvalidCertEncoding: "INVALID-CERT-ENCODING", NotifyInvalidCertificate: "INVALID-CERTIFICATE",
	NotifyCertTypeUnsupported: "CERT-TYPE-UNSUPPORTED", NotifyInvalidCertAuthority: "INVALID-CERT-AUTHORITY",
	NotifyInvalidHashInformation: "INVALID-HASH-INFORMATION", NotifyAuthenticationFailed: "AUTHENTICATION-FAILED",
	NotifyInvalidSignature: "INVALID-SIGNATURE", NotifyAddressNotification: "ADDRESS-NOTIFICATION",
	NotifySALifetime: "NOTIFY-SA-LIFETIME", NotifyCertificateUnavailable: "CERTIFICATE-UNAVAILABLE",
	NotifyUnsupportedExchangeType: "UNSUPPORTED-EXCHANGE-TYPE", NotifyUnequalPayloadLengths: "UNEQUAL-PAYLOAD-LENGTHS",
	NotifyConnected: "CONNECTED", NotifyResponderLifetime: "RESPONDER-LIFETIME", NotifyReplayStatus: "REPLAY-STATUS",
	NotifyInitialContact: "INITIAL-CONTACT", NotifyRUThere: "R-U-THERE", NotifyRUThereAck: "R-U-THERE-ACK",
}

// String implements fmt.Stringer.
func (v NotifyType) String() string { return name(notifyNames, v) }

// IsError says whether the type reports an error: those below 16384, private ones from 8192 included.
func (v NotifyType) IsError() bool { return v < NotifyConnected }
