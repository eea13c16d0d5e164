package server

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"concentrator/api/gen"
	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/session"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// apiFiles calls fn with every file of the API.
func apiFiles(t *testing.T, fn func(protoreflect.FileDescriptor)) {
	t.Helper()
	n := 0
	protoregistry.GlobalFiles.RangeFilesByPackage("concentrator.v1", func(f protoreflect.FileDescriptor) bool {
		n++
		fn(f)
		return true
	})
	if n < 9 {
		t.Fatalf("only %d files", n)
	}
}

func field(m protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	return m.Fields().ByName(protoreflect.Name(name))
}

func behaves(fd protoreflect.FieldDescriptor, b annotations.FieldBehavior) bool {
	all, _ := proto.GetExtension(fd.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return slices.Contains(all, b)
}

func resourceOption(m protoreflect.MessageDescriptor) *annotations.ResourceDescriptor {
	r, _ := proto.GetExtension(m.Options(), annotations.E_Resource).(*annotations.ResourceDescriptor)
	return r
}

// The conventions of google.aip.dev that buf does not know.
func TestAIPMethods(t *testing.T) {
	apiFiles(t, func(f protoreflect.FileDescriptor) {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				t.Run(string(s.Name())+"."+string(m.Name()), func(t *testing.T) { checkMethod(t, m) })
			}
		}
	})
}

func checkMethod(t *testing.T, m protoreflect.MethodDescriptor) {
	in, out, name := m.Input(), m.Output(), string(m.Name())
	http, _ := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	if http == nil {
		t.Fatal("has no HTTP rule")
	}
	if string(in.Name()) != name+"Request" {
		t.Errorf("takes %s", in.Name())
	}
	want := func(m protoreflect.MessageDescriptor, name string, kind protoreflect.Kind) {
		t.Helper()
		if fd := field(m, name); fd == nil || fd.Kind() != kind {
			t.Errorf("%s has no %s of kind %v", m.Name(), name, kind)
		}
	}
	path := http.GetGet() + http.GetPost() + http.GetPatch() + http.GetDelete()
	if !strings.HasPrefix(path, "/v1/") {
		t.Errorf("path %s", path)
	}
	verb, noun := "", ""
	for _, v := range []string{"Get", "List", "Create", "Update", "Delete", "Watch"} {
		if strings.HasPrefix(name, v) {
			verb, noun = v, strings.TrimPrefix(name, v)
		}
	}
	switch verb {
	case "Get":
		want(in, "name", protoreflect.StringKind)
		if http.GetGet() == "" || string(out.Name()) != noun {
			t.Errorf("returns %s by %v", out.Name(), http)
		}
	case "List":
		want(in, "page_size", protoreflect.Int32Kind)
		want(in, "page_token", protoreflect.StringKind)
		want(out, "next_page_token", protoreflect.StringKind)
		if fd := out.Fields().ByNumber(1); fd == nil || !fd.IsList() || resourceOption(fd.Message()) == nil {
			t.Errorf("field 1 of %s is no list of resources", out.Name())
		} else if plural := resourceOption(fd.Message()).GetPlural(); fd.JSONName() != plural || !strings.HasSuffix(path, "/"+plural) {
			t.Errorf("lists %s at %s, the plural is %s", fd.JSONName(), path, plural)
		}
		if http.GetGet() == "" {
			t.Errorf("by %v", http)
		}
	case "Create":
		id := strings.TrimSuffix(path[strings.LastIndex(path, "/")+1:], "s")
		want(in, snake(id)+"_id", protoreflect.StringKind)
		want(in, "validate_only", protoreflect.BoolKind)
		if http.GetPost() == "" || http.GetBody() != snake(id) || string(out.Name()) != noun {
			t.Errorf("returns %s by %v", out.Name(), http)
		}
	case "Update":
		want(in, "update_mask", protoreflect.MessageKind)
		want(in, "validate_only", protoreflect.BoolKind)
		if http.GetPatch() == "" || http.GetBody() == "" || field(in, http.GetBody()) == nil || string(out.Name()) != noun {
			t.Errorf("returns %s by %v", out.Name(), http)
		}
		want(out, "etag", protoreflect.StringKind)
	case "Delete":
		want(in, "name", protoreflect.StringKind)
		want(in, "etag", protoreflect.StringKind)
		want(in, "validate_only", protoreflect.BoolKind)
		if http.GetDelete() == "" || out.FullName() != "google.protobuf.Empty" {
			t.Errorf("returns %s by %v", out.Name(), http)
		}
	case "Watch":
		want(in, "revision", protoreflect.StringKind)
		want(out, "revision", protoreflect.StringKind)
		for _, event := range []string{"upsert", "removed", "snapshot_done"} {
			if fd := field(out, event); fd == nil || fd.ContainingOneof() == nil || fd.ContainingOneof().Name() != "event" {
				t.Errorf("%s has no event %s", out.Name(), event)
			}
		}
		if !m.IsStreamingServer() || !strings.HasSuffix(path, ":watch") {
			t.Errorf("by %v", http)
		}
	default: // AIP-136: a custom method
		v := strings.ToLower(name[:1])
		if http.GetPost() == "" || http.GetBody() != "*" || !strings.Contains(path, ":"+v) {
			t.Errorf("by %v", http)
		}
	}
	if m.IsStreamingClient() || m.IsStreamingServer() != (verb == "Watch") {
		t.Error("streams")
	}
}

// snake spells radiusServer as radius_server.
func snake(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Every resource is named, output is marked as such, secrets go in only, and every enum stands in a message.
func TestAIPMessages(t *testing.T) {
	resources := 0
	var check func(m protoreflect.MessageDescriptor)
	check = func(m protoreflect.MessageDescriptor) {
		for i := range m.Messages().Len() {
			check(m.Messages().Get(i))
		}
		for i := range m.Enums().Len() {
			e := m.Enums().Get(i)
			if zero := e.Values().Get(0); zero.Number() != 0 || string(zero.Name()) != strings.ToUpper(snake(strings.ToLower(string(e.Name()[:1]))+string(e.Name()[1:])))+"_UNSPECIFIED" {
				t.Errorf("%s begins with %s", e.FullName(), zero.Name())
			}
		}
		for i := range m.Fields().Len() {
			fd := m.Fields().Get(i)
			name := string(fd.Name())
			secret := strings.Contains(name, "password") || strings.HasSuffix(name, "secret") || strings.HasSuffix(name, "secrets") ||
				strings.HasPrefix(name, "private_key")
			if secret != behaves(fd, annotations.FieldBehavior_INPUT_ONLY) {
				t.Errorf("%s: secret %v, but its behaviour says otherwise", fd.FullName(), secret)
			}
			if secret && fd.Kind() == protoreflect.StringKind && !fd.IsList() && !fd.HasOptionalKeyword() {
				t.Errorf("%s needs presence: left out is not empty", fd.FullName())
			}
			if k := fd.Kind(); k == protoreflect.Uint32Kind || k == protoreflect.Uint64Kind || k == protoreflect.FloatKind {
				t.Errorf("%s is %v", fd.FullName(), k)
			}
		}
		r := resourceOption(m)
		if r == nil {
			return
		}
		resources++
		if fd := field(m, "name"); fd == nil || fd.Number() != 1 || !behaves(fd, annotations.FieldBehavior_IDENTIFIER) {
			t.Errorf("%s is not named by field 1", m.FullName())
		}
		if r.GetType() != "concentrator/"+string(m.Name()) || len(r.GetPattern()) == 0 || r.GetSingular() == "" || r.GetPlural() == "" {
			t.Errorf("%s is described as %v", m.FullName(), r)
		}
		for _, out := range []string{"create_time", "update_time", "usage", "state", "in_bytes"} {
			if fd := field(m, out); fd != nil && !behaves(fd, annotations.FieldBehavior_OUTPUT_ONLY) {
				t.Errorf("%s is not marked as output", fd.FullName())
			}
		}
		for i := range m.Fields().Len() {
			if fd := m.Fields().Get(i); len(proto.GetExtension(fd.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)) == 0 {
				t.Errorf("%s has no behaviour", fd.FullName())
			}
		}
	}
	apiFiles(t, func(f protoreflect.FileDescriptor) {
		if f.Enums().Len() > 0 {
			t.Errorf("%s has an enum outside a message", f.Path())
		}
		for i := range f.Messages().Len() {
			check(f.Messages().Get(i))
		}
	})
	if resources != 15 {
		t.Errorf("%d resources", resources)
	}
}

// The API's enums and the words of package tenant are the same, so that none is lost on the way.
func TestEnumsAreTheVocabulary(t *testing.T) {
	compare := func(e protoreflect.Enum, words ...string) {
		t.Helper()
		var names []string
		for i := range e.Descriptor().Values().Len() {
			if v := e.Descriptor().Values().Get(i); v.Number() != 0 {
				names = append(names, string(v.Name()))
			}
		}
		slices.Sort(names)
		slices.Sort(words)
		if !slices.Equal(names, words) {
			t.Errorf("%s has %v, the program %v", e.Descriptor().FullName(), names, words)
		}
	}
	compare(concentratorv1.LoginAttempt_Stage(0), spelled(tenant.Stages)...)
	compare(concentratorv1.LoginAttempt_Reason(0), spelled(slices.Concat(tenant.RefusedReasons, tenant.EndedReasons))...)
	compare(concentratorv1.Listener_Protocol(0), spelled([]tenant.Protocol{tenant.ProtocolPPTP, tenant.ProtocolL2TPIPsec, tenant.ProtocolL2TP})...)
	compare(concentratorv1.Profile_AuthMethod(0), spelled([]tenant.AuthMethod{tenant.AuthPAP, tenant.AuthCHAP, tenant.AuthMSCHAPv2, tenant.AuthEAP})...)
	compare(concentratorv1.Profile_Mppe_Policy(0), spelled([]tenant.MPPEPolicy{tenant.MPPERequired, tenant.MPPEOptional, tenant.MPPEDisabled})...)
	compare(concentratorv1.Tenant_Limits_DuplicatePolicy(0), spelled([]tenant.DuplicatePolicy{tenant.DuplicateDeny, tenant.DuplicateReplace})...)
	compare(concentratorv1.Tenant_Authentication_Backend(0), spelled([]tenant.Backend{tenant.BackendLocal, tenant.BackendRADIUS})...)
	compare(concentratorv1.RadiusServer_MessageAuthenticator(0), "REQUIRE", "AUTO", "OFF")
	compare(concentratorv1.RadiusServer_Transport(0), store.TransportUDP, store.TransportTLS)
	compare(concentratorv1.RadiusServer_Purpose(0), spelled([]store.RadiusPurpose{store.RadiusAuthentication, store.RadiusAccounting})...)
	compare(concentratorv1.RadiusServer_Health_State(0), spelled([]session.RadiusState{session.RadiusUnknown, session.RadiusAlive, session.RadiusDead})...)
	compare(concentratorv1.TestRadiusServerResponse_Secret(0),
		spelled([]session.SecretCheck{session.SecretUnknown, session.SecretRight, session.SecretWrong})...)
	compare(concentratorv1.TestRadiusServerResponse_Signature(0), spelled([]session.SignatureCheck{
		session.SignatureUnknown, session.SignatureSigned, session.SignatureMissing, session.SignatureWrong,
	})...)
	compare(concentratorv1.Acl_Rule_Action(0), spelled([]tenant.ACLAction{tenant.ACLPermit, tenant.ACLDeny})...)
	compare(concentratorv1.Acl_Rule_Direction(0), spelled([]tenant.ACLDirection{tenant.ACLUp, tenant.ACLDown, tenant.ACLBoth})...)
	compare(concentratorv1.AccountingRecord_Kind(0), spelled([]session.AccountingKind{
		session.AccountingStart, session.AccountingInterim, session.AccountingStop, session.AccountingOn, session.AccountingOff,
	})...)
	compare(concentratorv1.Lockout_Kind(0), "USER", "SOURCE", "TENANT")
	compare(concentratorv1.ApiToken_Role(0), spelled(tenant.Roles)...)
	compare(concentratorv1.Session_State(0), "ESTABLISHING", "AUTHENTICATING", "OPEN", "CLOSING")
	compare(concentratorv1.LoginAttempt_Outcome(0), "ACCEPTED", "REFUSED")
}

func spelled[S ~string](list []S) []string {
	var all []string
	for _, s := range list {
		all = append(all, string(s))
	}
	return all
}

// The OpenAPI document has a readable path for each HTTP rule, and none besides.
func TestOpenAPIIsComplete(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string
			Parameters  []struct{ Name, In string }
		}
	}
	must(t)(nil, json.Unmarshal(gen.OpenAPI, &doc))
	want := map[string]string{} // "get /v1/…" → operation
	variable := regexp.MustCompile(`\{[a-z_.]+=([^}]*)\}`)
	star := regexp.MustCompile(`([A-Za-z]+)s/\*`)
	apiFiles(t, func(f protoreflect.FileDescriptor) {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				first := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
				for _, r := range append(first.GetAdditionalBindings(), first) {
					for method, path := range map[string]string{"get": r.GetGet(), "post": r.GetPost(), "patch": r.GetPatch(), "delete": r.GetDelete()} {
						if path != "" {
							path = star.ReplaceAllString(variable.ReplaceAllString(path, "$1"), "${1}s/{$1}")
							want[method+" "+path] = string(s.Name()) + "_" + string(m.Name())
						}
					}
				}
			}
		}
	})
	for path, operations := range doc.Paths {
		for method, op := range operations {
			if id := want[method+" "+path]; id == "" || !strings.HasPrefix(op.OperationID, id) {
				t.Errorf("%s %s is %s, want %q", method, path, op.OperationID, id)
			}
			delete(want, method+" "+path)
			for _, p := range op.Parameters {
				if p.In == "path" && !strings.Contains(path, "{"+p.Name+"}") {
					t.Errorf("%s %s has no {%s}", method, path, p.Name)
				}
			}
		}
	}
	for rule, id := range want {
		t.Errorf("%s (%s) is missing", rule, id)
	}
}
