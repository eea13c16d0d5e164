package tenant

import "testing"

func TestRoleAllows(t *testing.T) {
	for _, c := range []struct {
		role, least Role
		want        bool
	}{
		{RoleViewer, RoleViewer, true},
		{RoleViewer, RoleOperator, false},
		{RoleViewer, RoleAdmin, false},
		{RoleOperator, RoleViewer, true},
		{RoleOperator, RoleOperator, true},
		{RoleOperator, RoleAdmin, false},
		{RoleAdmin, RoleAdmin, true},
		{"", RoleViewer, false},
		{"ROOT", RoleViewer, false},
		{RoleAdmin, "", false},
		{"", "", false},
	} {
		if got := c.role.Allows(c.least); got != c.want {
			t.Errorf("%q may do what %q may: %v, want %v", c.role, c.least, got, c.want)
		}
	}
}
