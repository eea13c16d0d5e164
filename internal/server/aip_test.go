package server

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

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
		want(in, "filter", protoreflect.StringKind)
		want(in, "order_by", protoreflect.StringKind)
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
		want(in, "request_id", protoreflect.StringKind)
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
		byPost := http.GetPost() != "" && http.GetBody() == "*"
		if readsFile := name == "DownloadOperation"; !byPost && !readsFile || !strings.Contains(path, ":"+v) {
			t.Errorf("by %v", http)
		}
	}
	file := out.FullName() == "google.api.HttpBody"
	if m.IsStreamingClient() || m.IsStreamingServer() != (verb == "Watch" || file) {
		t.Error("streams")
	}
	for _, rule := range append(http.GetAdditionalBindings(), http) {
		checkPath(t, rule, in)
	}
}

// checkPath wants the variable of a path to be the field that the request has, and its pattern to be that of the resource which
// the field refers to: for a parent, of one that stands under it.
func checkPath(t *testing.T, rule *annotations.HttpRule, in protoreflect.MessageDescriptor) {
	t.Helper()
	path := rule.GetGet() + rule.GetPost() + rule.GetPatch() + rule.GetDelete()
	_, rest, found := strings.Cut(path, "{")
	if !found {
		return
	}
	inside, rest, _ := strings.Cut(rest, "}")
	name, pattern, _ := strings.Cut(inside, "=")
	if strings.Contains(rest, "{") {
		t.Errorf("%s has two variables", path)
	}
	m := in
	for part := range strings.SplitSeq(name, ".") {
		fd := field(m, part)
		if fd == nil {
			t.Errorf("%s: %s has no field %s", path, m.Name(), part)
			return
		}
		if fd.Message() != nil {
			m = fd.Message()
			continue
		}
		kind := referenceOf(fd)
		if r := resourceOption(m); r != nil && part == "name" {
			kind = r.GetType()
		}
		collection, _, _ := strings.Cut(strings.TrimPrefix(rest, "/"), ":")
		for _, p := range patterns(t)[kind] {
			if p == pattern || collection != "" && strings.HasPrefix(p+"s", pattern+"/"+collection) {
				return
			}
		}
		t.Errorf("%s: {%s} is not of %s, which is at %v", path, inside, kind, patterns(t)[kind])
	}
}

// referenceOf is the type of resource that a field names, or whose parent it names.
func referenceOf(fd protoreflect.FieldDescriptor) string {
	r, _ := proto.GetExtension(fd.Options(), annotations.E_ResourceReference).(*annotations.ResourceReference)
	return r.GetType() + r.GetChildType()
}

var variablePart = regexp.MustCompile(`\{[a-z_A-Z]+\}`)

// patterns are those of the names of all types of resources, with * for each variable.
func patterns(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	apiFiles(t, func(f protoreflect.FileDescriptor) {
		for i := range f.Messages().Len() {
			r := resourceOption(f.Messages().Get(i))
			for _, p := range r.GetPattern() {
				all[r.GetType()] = append(all[r.GetType()], variablePart.ReplaceAllString(p, "*"))
			}
		}
	})
	return all
}

// Every field that comes in says how it behaves and is bounded, and every reference leads to a resource that there is.
func TestAIPInputs(t *testing.T) {
	known := patterns(t)
	n := 0
	var check func(m protoreflect.MessageDescriptor, request bool)
	check = func(m protoreflect.MessageDescriptor, request bool) {
		for i := range m.Messages().Len() {
			check(m.Messages().Get(i), request)
		}
		for i := range m.Fields().Len() {
			fd := m.Fields().Get(i)
			if ref := referenceOf(fd); ref != "" && len(known[ref]) == 0 {
				t.Errorf("%s refers to %s", fd.FullName(), ref)
			}
			required, optional := behaves(fd, annotations.FieldBehavior_REQUIRED), behaves(fd, annotations.FieldBehavior_OPTIONAL)
			input := behaves(fd, annotations.FieldBehavior_INPUT_ONLY)
			if request && resourceOption(m) == nil && !required && !optional && !input {
				t.Errorf("%s is neither REQUIRED nor OPTIONAL", fd.FullName())
			}
			if name := string(fd.Name()); request && (name == "name" || name == "parent") && referenceOf(fd) == "" {
				t.Errorf("%s refers to nothing", fd.FullName())
			}
			if required || optional || input {
				n++
				checkBound(t, fd, input)
			}
		}
	}
	apiFiles(t, func(f protoreflect.FileDescriptor) {
		for i := range f.Messages().Len() {
			m := f.Messages().Get(i)
			check(m, strings.HasSuffix(string(m.Name()), "Request"))
		}
	})
	if n < 300 {
		t.Errorf("only %d fields", n)
	}
}

// checkBound wants a rule that bounds a field that comes in, where the type alone does not.
func checkBound(t *testing.T, fd protoreflect.FieldDescriptor, secret bool) {
	t.Helper()
	rules, _ := proto.GetExtension(fd.Options(), validate.E_Field).(*validate.FieldRules)
	if fd.IsList() {
		if !rules.GetRepeated().HasMaxItems() {
			t.Errorf("%s may be of any length", fd.FullName())
		}
		rules = rules.GetRepeated().GetItems()
	}
	switch fd.Kind() {
	case protoreflect.EnumKind:
		if !rules.GetEnum().GetDefinedOnly() {
			t.Errorf("%s may have values that are not defined", fd.FullName())
		}
	case protoreflect.StringKind:
		bounded := map[string]bool{
			"filter": true, "order_by": true, "page_token": true, "etag": true, "revision": true,
		}[string(fd.Name())]
		if (bounded || secret) && !rules.GetString().HasMaxBytes() {
			t.Errorf("%s may have any length", fd.FullName())
		}
		if fd.Name() == "request_id" && !rules.GetString().GetUuid() {
			t.Errorf("%s need not be a UUID", fd.FullName())
		}
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		if !rules.HasInt32() && !rules.HasInt64() {
			t.Errorf("%s may be any number", fd.FullName())
		}
	case protoreflect.MessageKind:
		if !fd.IsList() && fd.Message().FullName() == "google.protobuf.Duration" && len(rules.GetCel()) == 0 {
			t.Errorf("%s may be any duration", fd.FullName())
		}
	default:
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
			secret := name == "csv" || strings.Contains(name, "password") || strings.HasSuffix(name, "secret") || strings.HasSuffix(name, "secrets") ||
				strings.HasPrefix(name, "private_key")
			if secret != behaves(fd, annotations.FieldBehavior_INPUT_ONLY) {
				t.Errorf("%s: secret %v, but its behaviour says otherwise", fd.FullName(), secret)
			}
			if secret && name != "csv" && fd.Kind() == protoreflect.StringKind && !fd.IsList() && !fd.HasOptionalKeyword() {
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
	if resources != 17 {
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
