package server

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
	"concentrator/internal/store/storetest"
)

// A process that has given up namespaces takes none that is new, wherever it is named; what was stored before may be changed
// otherwise, and go.
func TestNoNamespaces(t *testing.T) {
	s := storetest.Open(t)
	old := &store.Tenant{Meta: store.Meta{Name: "tenants/old"}, Network: store.Network{Namespace: "old"}}
	if err := store.Create(s, old); err != nil {
		t.Fatal(err)
	}
	for _, refuses := range []bool{true, false} {
		f := start(t, func(c *Config) {
			c.NoNamespaces = refuses
			if refuses {
				c.Store = s
			}
		})
		f.seed(t)
		check := func(what, field string, err error) {
			t.Helper()
			got := failureOf(err)
			switch {
			case !refuses && err != nil:
				t.Errorf("%s: %v", what, err)
			case refuses && (!got.equal(failure{codes.FailedPrecondition, "UNMET_REFERENCE", []string{field}}) ||
				!strings.Contains(err.Error(), "privileges: {namespaces: always}")):
				t.Errorf("%s is not refused: %v", what, err)
			}
		}
		tenants := concentratorv1.NewTenantServiceClient(f.conn)
		_, err := tenants.CreateTenant(t.Context(), &concentratorv1.CreateTenantRequest{
			TenantId: "blue", Tenant: &concentratorv1.Tenant{Network: &concentratorv1.Tenant_Network{Namespace: "blue"}},
		})
		check("a tenant's", "network.namespace", err)
		_, err = tenants.UpdateTenant(t.Context(), &concentratorv1.UpdateTenantRequest{
			Tenant:     &concentratorv1.Tenant{Name: "tenants/acme", Network: &concentratorv1.Tenant_Network{Namespace: "acme"}},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"network.namespace"}}, ValidateOnly: true,
		})
		check("a tenant's, later", "network.namespace", err)
		_, err = concentratorv1.NewListenerServiceClient(f.conn).CreateListener(t.Context(), &concentratorv1.CreateListenerRequest{
			ListenerId: "blue", Listener: &concentratorv1.Listener{
				Address: "0.0.0.0", Protocols: []concentratorv1.Listener_Protocol{concentratorv1.Listener_PPTP},
				Tenants: []string{"tenants/acme"}, Namespace: "blue",
			},
		})
		check("a listener's", "namespace", err)
		_, err = concentratorv1.NewRadiusServerServiceClient(f.conn).CreateRadiusServer(t.Context(), &concentratorv1.CreateRadiusServerRequest{
			Parent: "tenants/acme", RadiusServerId: "blue", RadiusServer: &concentratorv1.RadiusServer{
				Address: "192.0.2.6", Secrets: []string{"hush"}, Namespace: "blue",
			},
		})
		check("a RADIUS server's", "namespace", err)
		if !refuses {
			continue
		}
		must(t)(tenants.UpdateTenant(t.Context(), &concentratorv1.UpdateTenantRequest{
			Tenant:     &concentratorv1.Tenant{Name: "tenants/old", DisplayName: "Old"},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name"}},
		}))
		must(t)(tenants.UpdateTenant(t.Context(), &concentratorv1.UpdateTenantRequest{
			Tenant:     &concentratorv1.Tenant{Name: "tenants/old"},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"network.namespace"}},
		}))
	}
}
