package radius

import (
	"concentrator/internal/authz/radius/transport"
)

// Config is what New needs: a tenant and its servers.
type Config struct {
	Tenant string // ID, for errors
	transport.Config
}

// maxPassword is the longest password that User-Password carries, in octets, RFC 2865 section 5.2.
const maxPassword = 128
