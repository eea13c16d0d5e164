package server

import (
	"net/url"
	"strings"

	"concentrator/internal/tenant"
)

// anyTenant is the parent that reads across all tenants, AIP-159.
const anyTenant = "tenants/-"

// canonical rewrites the name of a user into its one spelling: "a%40b" and "a@b" are the same user. Other names, and
// what is no name at all, come back as they are.
func canonical(name string) string {
	parts := strings.Split(name, "/")
	if len(parts) != 4 || parts[0] != "tenants" || parts[2] != "users" {
		return name
	}
	login, err := url.PathUnescape(parts[3])
	if err != nil {
		return name
	}
	parts[3] = tenant.EncodeUser(login)
	return strings.Join(parts, "/")
}
