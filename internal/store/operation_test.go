package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"concentrator/internal/store"
	"concentrator/internal/store/storetest"
	"concentrator/internal/tenant"
)

// Operations that ended do not keep their tenant from being deleted, however many they are, and go with it; those of others stay.
func TestOperationsGoWithTheirTenant(t *testing.T) {
	s := storetest.Open(t)
	create(t, s, &store.Tenant{Meta: named(acme)})
	create(t, s, &store.Tenant{Meta: named("tenants/beta")})
	for i := range store.MaxOps + 20 {
		create(t, s, &store.Operation{Meta: named(fmt.Sprintf("tenants/acme/operations/o%03d", i)), State: store.OperationSucceeded})
	}
	create(t, s, &store.OperationInput{Meta: named("tenants/acme/operationInputs/o1-00"), Data: tenant.Secret("hush")})
	create(t, s, &store.Operation{Meta: named("tenants/beta/operations/o1"), State: store.OperationRunning})
	create(t, s, &store.Operation{Meta: named("operations/o1"), State: store.OperationRunning})
	create(t, s, &store.User{Meta: named(alice), Password: tenant.Secret("x")})
	if err := store.Delete[store.Tenant](s, acme, ""); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("with a user: %v", err)
	}
	if list, _, err := store.List[store.Operation](s, acme, "", 0); err != nil || len(list) != store.MaxOps+20 {
		t.Errorf("a refused deletion has left %d operations (%v)", len(list), err)
	}
	if err := store.Delete[store.User](s, alice, ""); err != nil {
		t.Fatal(err)
	}
	runs := &store.Operation{Meta: named("tenants/acme/operations/o2"), State: store.OperationRunning}
	create(t, s, runs)
	if err := store.Delete[store.Tenant](s, acme, ""); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("with an operation that runs: %v", err)
	}
	runs.State = store.OperationCancelled
	if err := store.Update(s, runs); err != nil {
		t.Fatal(err)
	}
	if err := store.Delete[store.Tenant](s, acme, ""); err != nil {
		t.Errorf("with operations: %v", err)
	}
	for parent, want := range map[string]int{"tenants/-": 1, "": 1} {
		if list, _, err := store.List[store.Operation](s, parent, "", 0); err != nil || len(list) != want {
			t.Errorf("%q: %d operations are left, want %d (%v)", parent, len(list), want, err)
		}
	}
	if list, _, err := store.List[store.OperationInput](s, "tenants/-", "", 0); err != nil || len(list) != 0 {
		t.Errorf("%d inputs are left (%v)", len(list), err)
	}
}

// The longest piece of input fits a record, is sealed there and comes back.
func TestOperationInput(t *testing.T) {
	v := newVault(t)
	s := v.open(t, v.kv)
	data := bytes.Repeat([]byte("hush-hush-hush-!"), store.MaxInput/16)
	create(t, s, &store.OperationInput{Meta: named("operationInputs/o-00"), Data: data})
	if got := mustGet[store.OperationInput](t, s, "operationInputs/o-00"); !bytes.Equal(got.Data, data) {
		t.Error("it is another")
	}
	item, err := v.kv.Get(t.Context(), "r/operationInputs/operationInputs/o-00")
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range forms("hush-hush-hush-!") {
		if bytes.Contains(item.Value, form) {
			t.Errorf("it is stored as %s", form)
		}
	}
}

func TestDrained(t *testing.T) {
	s := storetest.Open(t)
	want := &store.Drained{Since: time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC), Caller: "ops"}
	for _, d := range []*store.Drained{nil, want, want, nil, nil} {
		if err := s.SetDrained("vpn-1", d); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Drained("vpn-1"); err != nil || !reflect.DeepEqual(got, d) {
			t.Errorf("it is %+v (%v), want %+v", got, err, d)
		}
		if got, err := s.Drained("vpn-2"); err != nil || got != nil {
			t.Errorf("another instance: %+v (%v)", got, err)
		}
	}
}
