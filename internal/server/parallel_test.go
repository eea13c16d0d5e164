package server

import (
	"fmt"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
)

// Many callers create under the same request IDs, change, delete, make again and list, while secrets are sealed anew: each
// request is done once, each list is of records as they are or were, and the audit trail is one chain.
func TestCallersInParallel(t *testing.T) {
	f := start(t)
	f.seed(t)
	users := concentratorv1.NewUserServiceClient(f.conn)
	op, err := concentratorv1.NewInstanceServiceClient(f.conn).ReencryptInstance(t.Context(), &concentratorv1.ReencryptInstanceRequest{Name: "instances/vpn-1"})
	must(t)(op, err)
	const callers, rounds = 6, 8
	var created sync.Map // etag of each answer, by user and round
	var wg sync.WaitGroup
	for n := range callers {
		wg.Go(func() {
			id := fmt.Sprintf("u%d", n/2) // two callers each send the same
			for round := range rounds {
				m, err := users.CreateUser(t.Context(), &concentratorv1.CreateUserRequest{
					Parent: acmeTenant, UserId: id + fmt.Sprint("-", round), RequestId: fmt.Sprintf("1c5f0d5e-0000-4000-8000-00000000%d%03d", n/2, round),
					User: &concentratorv1.User{Password: new("hush")},
				})
				if err != nil {
					t.Errorf("create: %v", err)
					return
				}
				if was, twice := created.LoadOrStore(m.GetName(), m.GetCreateTime().AsTime()); twice && was != m.GetCreateTime().AsTime() {
					t.Errorf("%s was made twice", m.GetName())
				}
				own := fmt.Sprintf("own%d", n)
				if _, err := users.CreateUser(t.Context(), &concentratorv1.CreateUserRequest{
					Parent: acmeTenant, UserId: own, User: &concentratorv1.User{Password: new("hush")},
				}); err != nil {
					t.Errorf("create: %v", err)
				}
				m, err = users.UpdateUser(t.Context(), &concentratorv1.UpdateUserRequest{
					User:       &concentratorv1.User{Name: acmeTenant + "/users/" + own, MaxSessions: int32(round + 1)},
					UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"max_sessions"}},
				})
				if err != nil {
					t.Errorf("update: %v", err)
					return
				}
				list, err := users.ListUsers(t.Context(), &concentratorv1.ListUsersRequest{Parent: acmeTenant, Filter: `name = "*/` + own + `"`})
				if err != nil || len(list.GetUsers()) != 1 || !proto.Equal(list.GetUsers()[0], m) {
					t.Errorf("the list has %v (%v), not %v", list.GetUsers(), err, m)
				}
				if _, err := users.DeleteUser(t.Context(), &concentratorv1.DeleteUserRequest{Name: m.GetName(), Etag: m.GetEtag()}); err != nil {
					t.Errorf("delete: %v", err)
				}
				list, err = users.ListUsers(t.Context(), &concentratorv1.ListUsersRequest{Parent: acmeTenant, Filter: `name = "*/` + own + `"`})
				if err != nil || len(list.GetUsers()) != 0 {
					t.Errorf("the list still has %v (%v)", list.GetUsers(), err)
				}
			}
		})
	}
	wg.Wait()
	if m := f.ended(t, op.GetName()); m.GetState() != concentratorv1.Operation_SUCCEEDED {
		t.Errorf("sealing anew ended as %v", m)
	}
	r, err := f.store.VerifyAudit(t.Context(), store.Fingerprint{})
	if err != nil || r.Problem != "" {
		t.Errorf("audit trail: %+v, %v", r, err)
	}
	// The creates of the request IDs were made once each; the own users thrice changed each round.
	all, err := f.store.AuditEvents(t.Context(), r.First, r.Last, "")
	must(t)(all, err)
	count := map[string]int{}
	for _, e := range all {
		count[e.Method+" "+e.Code]++
	}
	if want := callers/2*rounds + callers*rounds + 1; count["CreateUser OK"] != want || count["DeleteUser OK"] != callers*rounds {
		t.Errorf("events: %v, want %d creates", count, want)
	}
}
