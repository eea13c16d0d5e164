package tenant

import "slices"

// Role is what a caller of the API may do.
type Role string

// The roles. Each may do what those before it may.
const (
	RoleViewer   Role = "VIEWER"   // look at everything but secrets
	RoleOperator Role = "OPERATOR" // run it: users, sessions, leases, lockouts, tests
	RoleAdmin    Role = "ADMIN"    // change everything
)

// Roles lists the roles, the least first.
var Roles = []Role{RoleViewer, RoleOperator, RoleAdmin}

// Allows says whether r may do what least may. What is no role may do nothing, and nobody may do what needs no role.
func (r Role) Allows(least Role) bool {
	have, want := slices.Index(Roles, r), slices.Index(Roles, least)
	return want >= 0 && have >= want
}
