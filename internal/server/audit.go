package server

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"concentrator/internal/server/query"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
)

// maxAuditText is how long a text of an audit event may be, in octets: a stranger chooses some of them.
const maxAuditText = 512

// auditTrail writes the audit trail. A write of a record and its event are one commit; the others' events are commits of
// their own. It is safe for concurrent use.
type auditTrail struct {
	store   *store.Store
	metrics *telemetry.Metrics
	log     *slog.Logger
	refusals
}

// newAuditTrail makes the trail of a store.
func newAuditTrail(s *store.Store, m *telemetry.Metrics, log *slog.Logger) *auditTrail {
	return &auditTrail{store: s, metrics: m, log: log, refusals: refusals{
		known: knownLimit.limiter(), stranger: strangerLimit.limiter(), counted: map[refusal]*store.AuditEvent{},
	}}
}

// auditing is what the trail will say of one call. A nil one says nothing. It belongs to the call's goroutine.
type auditing struct {
	trail *auditTrail
	who   caller
	base  store.AuditEvent
	call  string      // the method in full
	req   any         // nil: a stream's has not come yet
	own   bool        // what it writes are records: each has an event of its own
	begun atomic.Bool // a stream whose event is written: its sender may be a goroutine of its own
	// elsewhere: it was refused since it is not of the caller's tenant.
	elsewhere bool
}

type auditKey struct{}

// auditOf returns what the trail will say of the call of ctx; nil outside a call.
func auditOf(ctx context.Context) *auditing {
	a, _ := ctx.Value(auditKey{}).(*auditing)
	return a
}

// auditAs makes a context for work that goes on after the call that it came from: what it writes is recorded as that call's.
func (t *auditTrail) auditAs(ctx context.Context, who caller, method, requestID string) context.Context {
	ctx = context.WithValue(ctx, callerKey{}, who)
	return context.WithValue(ctx, auditKey{}, t.of(who, method, requestID))
}

// of begins with what is known of a call from its beginning.
func (t *auditTrail) of(who caller, method, requestID string) *auditing {
	a := &auditing{trail: t, who: who, call: method}
	a.base = store.AuditEvent{
		Caller: who.name, Role: string(who.role), Address: cut(who.address), Method: lastPart(method), RequestID: requestID,
		Code: codeOK, Count: 1,
	}
	return a
}

// target names the resource that the call is about, where the request does not.
func (a *auditing) target(name string) {
	if a != nil {
		a.base.Resource = cut(name)
	}
}

// foreign says that the call was refused because of the tenant that its caller is bound to.
func (a *auditing) foreign() {
	if a != nil {
		a.elsewhere = true
	}
}

// about makes an event about a resource. What a bound caller does is its own tenant's, whatever it names, and what a stranger
// tries is the instance's.
func (a *auditing) about(resource string) store.AuditEvent {
	e := a.base
	e.Resource = cut(resource)
	if e.Tenant = a.who.tenant; e.Tenant == "" && a.who.name != "" {
		e.Tenant = tenantIn(resource)
	}
	return e
}

// tenantIn returns the tenants/{tenant} that a name is or begins with; "" for none.
func tenantIn(name string) string {
	parts := strings.SplitN(name, "/", 3)
	if len(parts) < 2 || checkTenantName(parts[0]+"/"+parts[1]) != nil {
		return ""
	}
	return parts[0] + "/" + parts[1]
}

// audited makes the event of a write, to go into the write's own commit: before and after are the record as it was and as it
// will be, nil for none.
func audited[T store.Record, M message](ctx context.Context, k *resource[T, M], before, after *T) store.Also {
	a := auditOf(ctx)
	if a == nil {
		return nil
	}
	a.own = true
	r := after
	if r == nil {
		r = before
	}
	e := a.about(k.meta(r).Name)
	e.Before, e.After, e.ChangedFields = comparison(pictureOf(k, before), pictureOf(k, after), changedSecrets(before, after))
	return a.also(&e)
}

// with makes the event of a write that is no resource's own change, as of an operation that begins, to go into its commit. The
// event says what was asked for, and that it is about a resource; "": what the request names.
func (a *auditing) with(resource string) store.Also {
	if a == nil {
		return nil
	}
	a.own = true
	a.target(resource)
	e := a.done(nil)
	return a.also(&e)
}

// also puts an event into a commit.
func (a *auditing) also(e *store.AuditEvent) store.Also {
	return store.WithAudit(e, func() { a.trail.metrics.Audited(e.Code) })
}

// nothing says that a call which might have written did not need to.
func (a *auditing) nothing() {
	if a != nil {
		a.own = true
	}
}

// end records a call that is over, unless its event is written already. st is nil for one that did what it was to do. It returns
// whether the call is one of many of its kind, so that it is no news to the log either.
func (t *auditTrail) end(a *auditing, resp any, st *status.Status) (counted bool) {
	write := isWrite(a.call) && !validateOnly(a.req)
	switch {
	case st != nil:
		if write && !a.begun.Load() || a.elsewhere || refusedCode(st.Code()) {
			return t.refused(a.failed(targetOf(a.call, a.req), st))
		}
	case write && !a.own && !a.begun.Load():
		_ = t.write(a.done(resp)) // it is done, and logged
	}
	return false
}

// done is the event of a call that did what it was to do, and that wrote no record.
func (a *auditing) done(resp any) store.AuditEvent {
	resource := a.base.Resource
	if resource == "" {
		resource = targetOf(a.call, a.req)
	}
	if resource == "" {
		resource = resourceOf(resp, a.req)
	}
	e := a.about(resource)
	e.Detail = cut(wording(a.req))
	return e
}

// failed is the event of a call that was refused, or that failed.
func (a *auditing) failed(resource string, st *status.Status) store.AuditEvent {
	e := a.about(resource)
	e.Code, e.Reason, e.Detail = codeName(st.Code()), reasonOf(st), cut(st.Message())
	if fields := secretsAbout(a.req, st); len(fields) > 0 {
		e.Detail = strings.Join(fields, ", ") + ": what is wrong may repeat secrets, so it is not kept"
	}
	return e
}

// secretsAbout lists the fields that a status says something of and that hold secrets: in a table of users that lacks its first
// line, or a column, a password stands where something else should.
func secretsAbout(req any, st *status.Status) (fields []string) {
	m, ok := req.(proto.Message)
	if !ok {
		return nil
	}
	for _, d := range st.Details() {
		bad, _ := d.(*errdetails.BadRequest)
		for _, v := range bad.GetFieldViolations() {
			fd := m.ProtoReflect().Descriptor().Fields().ByJSONName(v.GetField())
			if fd != nil && query.WriteOnly(fd) && !slices.Contains(fields, v.GetField()) {
				fields = append(fields, v.GetField())
			}
		}
	}
	return fields
}

// answer is told of the first message that a stream sends: what it was asked for is then being done.
func (a *auditing) answer() error {
	if a == nil || !isWrite(a.call) || !a.begun.CompareAndSwap(false, true) {
		return nil
	}
	return a.trail.write(a.done(nil))
}

// write puts one event into the trail. The call may have been given up meanwhile, so it has no context.
func (t *auditTrail) write(e store.AuditEvent) error {
	if err := t.store.Audit(context.Background(), &e); err != nil {
		t.log.Error("audit event is lost", telemetry.Caller, e.Caller, telemetry.Method, e.Method, telemetry.Resource, e.Resource,
			telemetry.Code, e.Code, telemetry.Request, e.RequestID, telemetry.Error, err.Error())
		return err
	}
	t.metrics.Audited(e.Code)
	return nil
}

// stranger records a call of REST that ends before there is a call of ours, since nobody knows who it is. A nil trail records
// nothing.
func (t *auditTrail) stranger(r *http.Request) {
	if t == nil {
		return
	}
	st := status.Convert(errUnauthenticated)
	a := t.of(caller{address: r.RemoteAddr}, "", "")
	e := a.failed(r.URL.Path, st)
	e.Method = methodName(r.Method)
	t.refused(e)
}

// methodName is a method of HTTP, unless the caller has made it up.
func methodName(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "HTTP"
}

// refusedCode says whether a call with such an answer was refused, whatever it asked for.
func refusedCode(c codes.Code) bool {
	return c == codes.Unauthenticated || c == codes.PermissionDenied || c == codes.ResourceExhausted
}

// targetOf names what a request is about: the field that the method's permission looks at, its name, or its parent.
func targetOf(method string, req any) string {
	m, ok := req.(proto.Message)
	if !ok {
		return ""
	}
	if name := nameToMake(m.ProtoReflect()); name != "" {
		return name
	}
	if p := permissions[method]; p.field != "" {
		if name := readField(m.ProtoReflect(), p.field); name != "" {
			return name
		}
	}
	return resourceOf(nil, req)
}

// codeName spells a code as google.rpc.Code does.
func codeName(c codes.Code) string { return code.Code(c).String() }

// reasonOf is the reason that a status gives.
func reasonOf(st *status.Status) string {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// nameToMake is the name of the resource that a request of a standard Create would make; "" for other requests.
func nameToMake(m protoreflect.Message) string {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		id := fields.ByName(fd.Name() + "_id")
		if id == nil || fd.Message() == nil || id.Kind() != protoreflect.StringKind {
			continue
		}
		kind, ok := proto.GetExtension(fd.Message().Options(), annotations.E_Resource).(*annotations.ResourceDescriptor)
		if !ok || kind.GetPlural() == "" || m.Get(id).String() == "" {
			continue
		}
		name := kind.GetPlural() + "/" + m.Get(id).String()
		if parent := readField(m, "parent"); parent != "" {
			name = parent + "/" + name
		}
		return canonical(name)
	}
	return ""
}

// codeOK is the code of what went well.
const codeOK = "OK"

// cut makes a text as short as an event takes it, and valid UTF-8.
func cut(s string) string {
	if len(s) > maxAuditText {
		s = s[:maxAuditText] + "…"
	}
	return strings.ToValidUTF8(s, "")
}

// lastPart is what is behind the last slash.
func lastPart(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }

// hostOf is an address without its port.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}
