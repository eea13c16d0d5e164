package radius

import (
	"errors"
	"strings"

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
