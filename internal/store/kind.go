package store

import (
	"errors"
	"fmt"
	"strings"

	"concentrator/internal/tenant"
)

// Kind is the kind of a record, spelled as in the documents for apply.
type Kind string

// The kinds.
const (
	KindTenant       Kind = "Tenant"
	KindProfile      Kind = "Profile"
	KindUser         Kind = "User"
	KindPool         Kind = "Pool"
	KindACL          Kind = "Acl"
	KindRadiusServer Kind = "RadiusServer"
	KindListener     Kind = "Listener"
	KindAPIToken     Kind = "ApiToken"
	KindOperation    Kind = "Operation"
	// KindOperationInput is no resource of the API: what an operation still has to work on.
	KindOperationInput Kind = "OperationInput"
)

// ErrInvalidName is returned for a name that can't be that of a resource of the kind.
var ErrInvalidName = errors.New("invalid resource name")

// collections says how the resources of a kind are named, and in which order a tenant's go when it is deleted: what
// refers to others first.
var collections = []struct {
	kind       Kind
	collection string
	inTenant   bool
	alone      bool // may also stand under no tenant
	history    bool // does not keep its tenant from being deleted, and goes with it
}{
	{kind: KindListener, collection: "listeners"},
	{kind: KindTenant, collection: "tenants"},
	{kind: KindAPIToken, collection: "apiTokens", inTenant: true, alone: true},
	{kind: KindOperation, collection: "operations", inTenant: true, alone: true, history: true},
	{kind: KindOperationInput, collection: "operationInputs", inTenant: true, alone: true, history: true},
	{kind: KindUser, collection: "users", inTenant: true},
	{kind: KindProfile, collection: "profiles", inTenant: true},
	{kind: KindPool, collection: "pools", inTenant: true},
	{kind: KindACL, collection: "acls", inTenant: true},
	{kind: KindRadiusServer, collection: "radiusServers", inTenant: true},
}

// CollectionOf returns the last collection part of a kind's names, "users" for tenants/{tenant}/users/{user}, and
// whether the kind stands under a tenant; StandsAlone says whether it need not.
func CollectionOf(k Kind) (collection string, inTenant bool) {
	for _, c := range collections {
		if c.kind == k {
			return c.collection, c.inTenant
		}
	}
	panic("store: unknown kind " + string(k))
}

// StandsAlone says whether resources of the kind may stand under no tenant: apiTokens/{apiToken} beside
// tenants/{tenant}/apiTokens/{apiToken}.
func StandsAlone(k Kind) bool {
	for _, c := range collections {
		if c.kind == k {
			return c.alone || !c.inTenant
		}
	}
	return false
}

// KindOf returns the kind of T.
func KindOf[T Record]() Kind { return any((*T)(nil)).(record).kind() }

// CheckName says whether name can be the full resource name of a resource of kind k; the error is ErrInvalidName.
func CheckName(k Kind, name string) error {
	collection, inTenant := CollectionOf(k)
	rest := name
	if inTenant && (!StandsAlone(k) || strings.HasPrefix(name, "tenants/")) {
		after, ok := strings.CutPrefix(rest, "tenants/")
		id, after, ok2 := strings.Cut(after, "/")
		if !ok || !ok2 {
			return fmt.Errorf("%w: %q, want tenants/{tenant}/%s/{id}", ErrInvalidName, name, collection)
		}
		if err := tenant.CheckID(id); err != nil {
			return fmt.Errorf("%w: %q: tenant %w", ErrInvalidName, name, err)
		}
		rest = after
	}
	id, ok := strings.CutPrefix(rest, collection+"/")
	if !ok {
		return fmt.Errorf("%w: %q is no %s", ErrInvalidName, name, k)
	}
	if k != KindUser {
		if err := tenant.CheckID(id); err != nil {
			return fmt.Errorf("%w: %q: %w", ErrInvalidName, name, err)
		}
		return nil
	}
	if _, err := tenant.DecodeUser(id); err != nil {
		return fmt.Errorf("%w: %q: %w", ErrInvalidName, name, err)
	}
	return nil
}

// TenantOf returns the tenants/{tenant} that a resource stands under; empty for a tenant itself or a listener.
func TenantOf(name string) string {
	rest, ok := strings.CutPrefix(name, "tenants/")
	if !ok {
		return ""
	}
	id, _, ok := strings.Cut(rest, "/")
	if !ok {
		return ""
	}
	return "tenants/" + id
}

const recordPrefix = "r/"

func recordKey(k Kind, name string) string {
	collection, _ := CollectionOf(k)
	return recordPrefix + collection + "/" + name
}

// childKey is touched in the same commit as each resource that is made under the tenant.
func childKey(tenantName string) string { return "c/" + tenantName }

// splitKey is the reverse of recordKey.
func splitKey(key string) (k Kind, name string, ok bool) {
	rest, ok := strings.CutPrefix(key, recordPrefix)
	if !ok {
		return "", "", false
	}
	collection, name, ok := strings.Cut(rest, "/")
	if !ok {
		return "", "", false
	}
	for _, c := range collections {
		if c.collection == collection {
			return c.kind, name, true
		}
	}
	return "", "", false
}

// keysBelow is what the keys of all records of a kind under a parent begin with; parents are as in List.
func keysBelow(k Kind, parent string) (prefix string, err error) {
	collection, inTenant := CollectionOf(k)
	prefix = recordPrefix + collection + "/"
	switch {
	case !inTenant && parent != "", parent == "" && !StandsAlone(k):
		return "", fmt.Errorf("%w: %q is no parent of a %s", ErrInvalidName, parent, k)
	case !inTenant:
		return prefix, nil
	case parent == "":
		return prefix + collection + "/", nil
	case parent == "tenants/-":
		return prefix + "tenants/", nil
	}
	return prefix + parent + "/", CheckName(KindTenant, parent)
}
