package manifest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
)

// FindSessions fills in Ends and Alters of each change of a plan, by the sessions that are live now. It never leaves one out
// that the change touches. It names more than there are where only the daemon can tell: when a listener's tenants, a
// tenant's backend or a default profile's methods change, sessions of L2TP outside IPsec may end, and when a network gets
// the device name that it has anyhow, its sessions don't.
//
// Sessions whose owners the caller may not see are not among them. Errors are those of the API.
func FindSessions(ctx context.Context, c Client, plan []Change) error {
	if !slices.ContainsFunc(plan, func(ch Change) bool { return ch.Action == Update || ch.Action == Delete }) {
		return nil
	}
	live, err := sessions(ctx, c)
	if err != nil || len(live) == 0 {
		return err
	}
	listeners, err := listeners(ctx, c)
	if err != nil {
		return err
	}
	for i := range plan {
		ch := &plan[i]
		for _, s := range live {
			switch {
			case ch.ends(s, listeners):
				ch.Ends = append(ch.Ends, s)
			case ch.alters(s):
				ch.Alters = append(ch.Alters, s)
			}
		}
	}
	return nil
}

// sessions lists all live sessions that the caller may see.
func sessions(ctx context.Context, c Client) (all []*concentratorv1.Session, err error) {
	api := concentratorv1.NewSessionServiceClient(c.Conn)
	for token := ""; ; {
		page, err := api.ListSessions(ctx, &concentratorv1.ListSessionsRequest{Parent: "tenants/-", PageSize: 1000, PageToken: token})
		if err != nil {
			return nil, fmt.Errorf("list sessions: %w", Describe(err))
		}
		all = append(all, page.GetSessions()...)
		if token = page.GetNextPageToken(); token == "" {
			return all, nil
		}
	}
}

// listeners returns those that the caller may see, by name: a caller that is bound to a tenant sees none.
func listeners(ctx context.Context, c Client) (map[string]*concentratorv1.Listener, error) {
	kind, err := KindOf("Listener")
	if err != nil {
		return nil, err
	}
	list, err := c.All(ctx, kind, "")
	switch status.Code(err) {
	case codes.OK, codes.PermissionDenied, codes.NotFound:
	default:
		return nil, fmt.Errorf("list listeners: %w", Describe(err))
	}
	all := make(map[string]*concentratorv1.Listener, len(list))
	for _, m := range list {
		if l, ok := m.(*concentratorv1.Listener); ok {
			all[l.GetName()] = l
		}
	}
	return all, nil
}

// ends says whether a change ends a session, as internal/session brings changes to live ones.
func (ch *Change) ends(s *concentratorv1.Session, listeners map[string]*concentratorv1.Listener) bool {
	plain := s.GetProtocol() == concentratorv1.Listener_L2TP
	switch {
	case ch.Action != Update && ch.Action != Delete:
		return false
	case ch.Kind.Name == "Tenant" && ch.Action == Delete:
		return tenantOf(s.GetName()) == ch.Name
	case ch.Kind.Name == "Listener" && ch.Action == Delete:
		return s.GetListener() == ch.Name
	case ch.Kind.Name == "Profile" && ch.Action == Delete:
		return plain && ch.Name == tenantOf(ch.Name)+"/profiles/default" && lets(listeners, s, tenantOf(ch.Name))
	}
	switch is := ch.is.(type) {
	case *concentratorv1.Tenant:
		would, ok := ch.would.(*concentratorv1.Tenant)
		if !ok {
			return false
		}
		if tenantOf(s.GetName()) == ch.Name && moved(is.GetNetwork(), would.GetNetwork()) {
			return true
		}
		return plain && is.GetAuthentication().GetBackend() != would.GetAuthentication().GetBackend() && lets(listeners, s, ch.Name)
	case *concentratorv1.Listener:
		would, ok := ch.would.(*concentratorv1.Listener)
		return ok && s.GetListener() == ch.Name && closes(is, would, s.GetProtocol())
	case *concentratorv1.Profile:
		would, ok := ch.would.(*concentratorv1.Profile)
		return ok && plain && ch.Name == tenantOf(ch.Name)+"/profiles/default" && lets(listeners, s, tenantOf(ch.Name)) &&
			(is.GetAllowPlaintext() && !would.GetAllowPlaintext() || !slices.Equal(is.GetAuthMethods(), would.GetAuthMethods()))
	}
	return false
}

// alters says whether a session goes on under other rules after a change.
func (ch *Change) alters(s *concentratorv1.Session) bool {
	return ch.Kind.Name == "Acl" && ch.Action == Update && s.GetAcl() == ch.Name && slices.Contains(ch.Fields, "rules")
}

// moved says whether a network is closed and opened anew for what it shall be.
func moved(is, would *concentratorv1.Tenant_Network) bool {
	return is.GetNamespace() != would.GetNamespace() || is.GetDevice() != would.GetDevice() || is.GetMtu() != would.GetMtu()
}

// closes says whether what carries sessions of a protocol at a listener is closed for what it shall be.
func closes(is, would *concentratorv1.Listener, p concentratorv1.Listener_Protocol) bool {
	has := func(l *concentratorv1.Listener, p concentratorv1.Listener_Protocol) bool {
		return slices.Contains(l.GetProtocols(), p)
	}
	if is.GetNamespace() != would.GetNamespace() || !has(would, p) {
		return true
	}
	const ipsec = concentratorv1.Listener_L2TP_IPSEC
	switch p {
	case concentratorv1.Listener_PPTP: // goes on at another address: each has a connection of its own
		return false
	case concentratorv1.Listener_L2TP:
		if is.GetDefaultTenant() != would.GetDefaultTenant() || !slices.Equal(is.GetTenants(), would.GetTenants()) {
			return true
		}
	default:
	}
	return is.GetAddress() != would.GetAddress() || has(is, ipsec) != has(would, ipsec)
}

// lets says whether the profile default of a tenant decides if a session's listener takes L2TP outside IPsec. Of a listener
// that the caller may not see, those of the tenant itself count.
func lets(listeners map[string]*concentratorv1.Listener, s *concentratorv1.Session, tenantName string) bool {
	l, ok := listeners[s.GetListener()]
	switch {
	case !ok:
		return tenantOf(s.GetName()) == tenantName
	case l.GetDefaultTenant() != "":
		return l.GetDefaultTenant() == tenantName
	}
	return slices.Contains(l.GetTenants(), tenantName)
}

// tenantOf returns the name of the tenant below which a name stands; "" if it stands below none.
func tenantOf(name string) string {
	parts := strings.SplitN(name, "/", 3)
	if len(parts) < 2 || parts[0] != "tenants" {
		return ""
	}
	return "tenants/" + parts[1]
}
