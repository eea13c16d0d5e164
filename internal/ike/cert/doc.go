// Package cert is the X.509 side of IKEv1: the listener's own certificate and key, the certificates and revocation lists
// that a tenant trusts, the check of what a peer presents, and signatures. RFC 2409 section 5.1, RFC 4754, RFC 4945 (the
// profile of certificates for IKE), RFC 5280.
//
// The API checks what operators give it with ParseTrust and ParseOwn, whose errors (InputError) are written for them. The
// IKE engine, internal/ike/ikev1, takes the DER certificates of a peer's message to ParsePeer, finds the tenant by Issued
// or by trying Verify with each tenant's Trust and keeping the Worst error, and checks the peer's signature and
// identification payload. A Trust and an Own are immutable, shared by all exchanges and safe for concurrent use; the
// package starts no goroutine, does no I/O and has no clock: the caller says what time it is.
//
// # What is accepted
//
// A chain from the peer's certificate over at most MaxChain certificates of its message to one that the tenant trusts.
// Each CA certificate in a Trust is an anchor, self-signed or not, so two tenants can trust two CAs below one root. The
// peer's key is RSA of 2048 to 8192 bits or ECDSA on P-256, P-384 or P-521. Where key usages are given, digitalSignature
// or nonRepudiation is among them (RFC 4945 section 5.1.3.2); where extended ones are given, one that fits a VPN client
// (section 5.1.3.12, and clientAuth and serverAuth, which is what real issuers set). Signatures with MD5 and SHA-1 in a
// chain are refused.
//
// Revocation is checked only where the Trust holds a list of the certificate's issuer. A list that is over its nextUpdate
// is no longer proof of anything, so peers are then refused, with a detail that says which list to renew. Lists that are not
// complete (delta, indirect, by reason) are refused when they are configured. Lists in the peer's messages are not
// looked at, and nothing is fetched.
//
// # Identities
//
// Who a peer is, is the subject of its certificate: Peer.Subject. The identification payload is a claim beside it. A name
// in it (ID_DER_ASN1_DN, ID_FQDN, ID_USER_FQDN) must stand in the certificate. An address need not: Windows and macOS send
// the private one that they happen to have, certificates of users hold none, and nothing is decided by it. Key IDs and
// other types can't stand in a certificate and are refused.
package cert
