package radius

import (
	"errors"
	"strings"

	"layeh.com/radius"

	"concentrator/internal/tenant"
	"concentrator/internal/wire/mschap"
)

// meaning says in words what the code of an MS-CHAP-Error stands for, RFC 2759 section 6.
func meaning(code int) string {
	switch code {
	case mschap.ErrorRestrictedLogonHours:
		return "outside the hours allowed"
	case mschap.ErrorAccountDisabled:
		return "account disabled"
	case mschap.ErrorPasswordExpired:
		return "password expired"
	case mschap.ErrorNoDialinPermission:
		return "no permission to dial in"
	case mschap.ErrorAuthentication:
		return "wrong user name or password"
	case mschap.ErrorChangingPassword:
		return "password could not be changed"
	}
	return "unknown code"
}

// successLen is the length of "S=" and 40 hex digits.
const successLen = 42

// errSuccess is returned for an MS-CHAP2-Success without its proof.
var errSuccess = errors.New("it does not begin with S= and 40 hex digits")

// parseSuccess reads the text of an MS-CHAP2-Success without its identifier: "S=<40 hex digits>" and maybe " M=<msg>"
// (RFC 2759 section 5).
func parseSuccess(s string) (success, message string, err error) {
	if len(s) < successLen || s[:2] != "S=" {
		return "", "", errSuccess
	}
	for _, c := range []byte(s[2:successLen]) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'F') && (c < 'a' || c > 'f') {
			return "", "", errSuccess
		}
	}
	if m, ok := strings.CutPrefix(s[successLen:], " M="); ok {
		message = printable([]byte(m))
	}
	return s[:successLen], message, nil
}

// Lengths of the parts of authz.Request.NewPassword in octets, RFC 2759 section 7.
const (
	encryptedPasswordLen = 516
	encryptedHashLen     = 16
	newPasswordLen       = encryptedPasswordLen + encryptedHashLen
)

// changePassword is the MS-CHAP2-CPW, RFC 2548 section 2.3.4: Code, Ident, Encrypted-Hash, Peer-Challenge, Reserved,
// NT-Response, Flags.
func changePassword(o *outgoing) radius.Attribute {
	if o.method != tenant.AuthMSCHAPv2 || o.ask.NewPassword == nil {
		return nil
	}
	// The peer's value ends with one octet of flags, the attribute with two.
	last := mschap.ResponseLen - 1
	v := append(radius.Attribute{7, o.ask.ID}, o.ask.NewPassword[encryptedPasswordLen:]...)
	v = append(v, o.ask.Response[:last]...)
	return append(v, 0, o.ask.Response[last])
}

// encryptedPiece is how much of the Encrypted-Password one MS-CHAP-NT-Enc-PW holds.
const encryptedPiece = 243

// encryptedPassword is the list of MS-CHAP-NT-Enc-PW, RFC 2548 section 2.1: Code, Ident, Sequence-Number, a piece.
func encryptedPassword(o *outgoing) (pieces []radius.Attribute) {
	if o.method != tenant.AuthMSCHAPv2 || o.ask.NewPassword == nil {
		return nil
	}
	rest := o.ask.NewPassword[:encryptedPasswordLen]
	for n := byte(1); len(rest) > 0; n++ {
		piece := rest[:min(len(rest), encryptedPiece)]
		pieces = append(pieces, append(radius.Attribute{6, o.ask.ID, 0, n}, piece...))
		rest = rest[len(piece):]
	}
	return pieces
}
