package manifest

import (
	"fmt"
	"net/url"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "concentrator/api/gen/concentrator/v1" // registers the messages
)

const apiPackage = "concentrator.v1."

// order is the kinds that documents may have, what others refer to first.
var order = []string{"Tenant", "Pool", "Acl", "Profile", "User", "RadiusServer", "Listener"}

// Kind is a kind of resource with the standard methods.
type Kind struct {
	Name       string // as documents spell it: "RadiusServer"
	Collection string // "radiusServers"
	Pattern    string // "tenants/{tenant}/radiusServers/{radius_server}"
	rank       int
	message    protoreflect.MessageType
}

// Kinds returns the kinds that documents may have, in the order of their dependencies.
func Kinds() []Kind {
	out := make([]Kind, len(order))
	for i, name := range order {
		out[i] = mustKind(name, i)
	}
	return out
}

// KindOf returns the kind of that name. The error lists what is allowed.
func KindOf(name string) (Kind, error) {
	for i, n := range order {
		if n == name {
			return mustKind(name, i), nil
		}
	}
	return Kind{}, fmt.Errorf("kind %q is not one of %s", name, strings.Join(order, ", "))
}

// mustKind reads a kind off its descriptor. It panics if the API has none such: the tree would not have passed a test.
func mustKind(name string, rank int) Kind {
	mt := mustMessage(name)
	r, ok := proto.GetExtension(mt.Descriptor().Options(), annotations.E_Resource).(*annotations.ResourceDescriptor)
	if !ok || len(r.GetPattern()) == 0 {
		panic("manifest: " + name + " has no google.api.resource")
	}
	return Kind{Name: name, Collection: r.GetPlural(), Pattern: r.GetPattern()[0], rank: rank, message: mt}
}

func mustMessage(name string) protoreflect.MessageType {
	mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(apiPackage + name))
	if err != nil {
		panic("manifest: " + err.Error())
	}
	return mt
}

// New makes an empty resource of the kind.
func (k Kind) New() proto.Message { return k.message.New().Interface() }

// InTenant says whether resources of the kind stand below a tenant.
func (k Kind) InTenant() bool { return strings.HasPrefix(k.Pattern, "tenants/{tenant}/") }

// FullName makes a resource name of a short one: the parts that the pattern has and the name lacks come from tenant
// ("tenants/acme" or "acme"). A name that is full already stays as it is.
func (k Kind) FullName(tenant, name string) (string, error) {
	if strings.HasPrefix(name, "tenants/") || strings.HasPrefix(name, k.Collection+"/") {
		return name, k.checkName(name)
	}
	if k.Name == "User" { // a short name is the login as it is typed
		name = url.PathEscape(name)
	}
	full := k.Collection + "/" + name
	if k.InTenant() {
		if tenant == "" {
			return "", fmt.Errorf("%s %q stands below a tenant: name the tenant too", k.Name, name)
		}
		full = "tenants/" + strings.TrimPrefix(tenant, "tenants/") + "/" + full
	}
	return full, k.checkName(full)
}

// checkName says whether name has the shape of the kind's pattern; the server checks the rest.
func (k Kind) checkName(name string) error {
	want, have := strings.Split(k.Pattern, "/"), strings.Split(name, "/")
	ok := len(want) == len(have)
	for i := 0; ok && i < len(want); i++ {
		ok = have[i] != "" && (strings.HasPrefix(want[i], "{") || want[i] == have[i])
	}
	if !ok {
		return fmt.Errorf("name %q is not of the form %s", name, k.Pattern)
	}
	return nil
}

// split cuts a resource name into its parent and its last part.
func split(name string) (parent, id string) {
	parts := strings.Split(name, "/")
	return strings.Join(parts[:len(parts)-2], "/"), parts[len(parts)-1]
}

// nameOf returns a resource's name.
func nameOf(m proto.Message) string {
	r := m.ProtoReflect()
	return r.Get(r.Descriptor().Fields().ByName("name")).String()
}

// Behaves says whether a field has a google.api.field_behavior.
func Behaves(f protoreflect.FieldDescriptor, b annotations.FieldBehavior) bool {
	list, _ := proto.GetExtension(f.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	for _, x := range list {
		if x == b {
			return true
		}
	}
	return false
}

// ListResponse makes the kind's List response of resources, without a further page.
func (k Kind) ListResponse(resources []proto.Message) proto.Message {
	m := mustMessage("List" + plural(k) + "Response").New()
	list := m.Mutable(m.Descriptor().Fields().ByName(snake(k.Collection))).List()
	for _, r := range resources {
		list.Append(protoreflect.ValueOfMessage(r.ProtoReflect()))
	}
	return m.Interface()
}
