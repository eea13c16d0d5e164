package packet

import (
	"crypto/hmac"

	"layeh.com/radius"

	"concentrator/internal/tenant"
)

// Verify says whether b, a packet that Trim returned, is a genuine answer to a request with the given code and authenticator.
// secret is the index of the one of secrets that fits; signed says that the packet has a Message-Authenticator, and it is
// right. Digests are compared in constant time.
//
// A Status-Server is answered by an Access-Accept on an authentication port and by an Accounting-Response on an accounting
// port (RFC 5997); both are taken, since TLS has one port for both.
func Verify(b []byte, request radius.Code, auth [AuthenticatorLen]byte, secrets []tenant.Secret) (
	secret int, signed bool, drop Drop,
) {
	if len(b) < HeaderLen {
		return 0, false, DropTruncated
	}
	if !Answers(radius.Code(b[0]), request) {
		return 0, false, DropCode
	}
	return check(b, auth, secrets)
}

// Answers says whether a packet with the code reply may answer one with the code request.
func Answers(reply, request radius.Code) bool {
	switch request {
	case radius.CodeAccessRequest:
		return reply == radius.CodeAccessAccept || reply == radius.CodeAccessReject || reply == radius.CodeAccessChallenge
	case radius.CodeAccountingRequest:
		return reply == radius.CodeAccountingResponse
	case radius.CodeStatusServer:
		return reply == radius.CodeAccessAccept || reply == radius.CodeAccountingResponse
	case radius.CodeDisconnectRequest:
		return reply == radius.CodeDisconnectACK || reply == radius.CodeDisconnectNAK
	case radius.CodeCoARequest:
		return reply == radius.CodeCoAACK || reply == radius.CodeCoANAK
	default:
		return false
	}
}

// VerifyRequest says whether b, a packet that Trim returned, is a genuine Disconnect-Request or CoA-Request. The results are
// those of Verify; a wrong Request Authenticator is DropResponseAuthenticator too.
func VerifyRequest(b []byte, secrets []tenant.Secret) (secret int, signed bool, drop Drop) {
	if len(b) < HeaderLen {
		return 0, false, DropTruncated
	}
	switch radius.Code(b[0]) {
	case radius.CodeDisconnectRequest, radius.CodeCoARequest:
		return check(b, [AuthenticatorLen]byte{}, secrets)
	default:
		return 0, false, DropCode
	}
}

// check verifies the attributes' bounds and both digests of b over auth.
func check(b []byte, auth [AuthenticatorLen]byte, secrets []tenant.Secret) (secret int, signed bool, drop Drop) {
	at, drop := find(b)
	if drop != DropNone {
		return 0, false, drop
	}
	for i, s := range secrets {
		sum := authenticator(b, auth, s)
		if !hmac.Equal(sum[:], b[4:HeaderLen]) { // constant time
			continue
		}
		if at == 0 {
			return i, false, DropNone
		}
		mac := messageAuthenticator(b, at, auth, s)
		if !hmac.Equal(mac[:], b[at:at+AuthenticatorLen]) {
			return 0, false, DropMessageAuthenticator
		}
		return i, true, DropNone
	}
	return 0, false, DropResponseAuthenticator
}
