package tenant

import (
	"fmt"
	"net/url"
	"strings"
)

// MaxID is the longest identifier of a resource other than a user, in octets.
const MaxID = 63

// CheckID says whether id can name a tenant, profile, pool, listener or RADIUS server: 1 to 63 of a-z, 0-9 and '-',
// beginning and ending with a letter or digit.
func CheckID(id string) error {
	if id == "" || len(id) > MaxID {
		return fmt.Errorf("%q must be 1 to %d characters long", id, MaxID)
	}
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("%q may only hold a-z, 0-9 and '-'", id)
		}
	}
	if id[0] == '-' || id[len(id)-1] == '-' {
		return fmt.Errorf("%q must begin and end with a letter or digit", id)
	}
	return nil
}

// MaxUser is the longest user name in octets; RADIUS carries no more (RFC 2865 section 5.1).
const MaxUser = 253

// EncodeUser turns a login name, any octets, into the last part of a user's resource name.
func EncodeUser(login string) string { return url.PathEscape(login) }

// DecodeUser is the reverse of EncodeUser; it refuses an empty name, one over MaxUser and a second spelling of a name,
// so that a user has one resource name.
func DecodeUser(id string) (string, error) {
	login, err := url.PathUnescape(id)
	if err != nil {
		return "", fmt.Errorf("user name %q is not percent-encoded: %w", id, err)
	}
	if login == "" || len(login) > MaxUser {
		return "", fmt.Errorf("a user name must be 1 to %d octets long", MaxUser)
	}
	if want := EncodeUser(login); want != id {
		return "", fmt.Errorf("user name %q is spelled %q", id, want)
	}
	return login, nil
}

// SplitRealm takes "user@realm" or "REALM\user" apart. Without a realm it returns the name as it is.
func SplitRealm(name string) (user, realm string) {
	if realm, user, ok := strings.Cut(name, `\`); ok {
		return user, realm
	}
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return name, ""
}
