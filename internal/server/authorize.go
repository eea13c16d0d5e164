package server

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"concentrator/internal/store"
)

func denied(format string, args ...any) error {
	return newStatus(codes.PermissionDenied, reasonDenied, fmt.Sprintf(format, args...), nil).Err()
}

// mayCall says whether a caller may call a method at all, whatever it is about.
func mayCall(who caller, method string) (permission, error) {
	p, ok := permissions[method]
	switch {
	case !ok:
		return p, denied("%s has no rule who may call it", method)
	case !who.role.Allows(p.role):
		return p, denied("this needs the role %s, the caller has %s", p.role, who.role)
	case p.of == ofInstance && who.tenant != "":
		return p, denied("this is for callers that are bound to no tenant; the caller is bound to %s", who.tenant)
	}
	return p, nil
}

// narrow holds a request against the tenant that its caller is bound to, and rewrites tenants/- into that one. What is
// another tenant's is answered as what does not exist.
func (p permission) narrow(who caller, req any) error {
	if who.tenant == "" || p.of != ofTenant {
		return nil
	}
	m, ok := req.(proto.Message)
	if !ok {
		return denied("the request can't be read")
	}
	holder, fd := findField(m.ProtoReflect(), p.field)
	if fd == nil {
		return denied("the request has no %s", p.field)
	}
	value := holder.Get(fd).String()
	if value == "" {
		switch p.empty {
		case emptyAll:
			value = anyTenant
		case emptyInstance:
			return denied("what stands under no tenant is not of %s, which the caller is bound to", who.tenant)
		default:
			return invalid(p.field, "is missing")
		}
	}
	if rest, ok := strings.CutPrefix(value, anyTenant); ok && isParent(p.field) && (rest == "" || rest[0] == '/') {
		holder.Set(fd, protoreflect.ValueOfString(who.tenant+rest))
		return nil
	}
	if value != who.tenant && !strings.HasPrefix(value, who.tenant+"/") {
		return &resourceError{value, fmt.Errorf("%s: %w", value, store.ErrNotFound)}
	}
	return nil
}

// isParent says whether a field may hold tenants/-, AIP-159.
func isParent(field string) bool { return field == "parent" }

// findField follows a path of field names. The message that holds the field is made where it is missing, as an empty
// one says the same; nil for a path that the type does not have.
func findField(m protoreflect.Message, path string) (protoreflect.Message, protoreflect.FieldDescriptor) {
	outer, last, nested := strings.Cut(path, ".")
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(outer))
	switch {
	case fd == nil || fd.IsList() || fd.IsMap():
		return nil, nil
	case !nested && fd.Kind() == protoreflect.StringKind:
		return m, fd
	case !nested || fd.Message() == nil:
		return nil, nil
	}
	return findField(m.Mutable(fd).Message(), last)
}

// narrowStream narrows what comes in on a stream.
type narrowStream struct {
	serverStream
	permission permission
	who        caller
}

// RecvMsg implements grpc.ServerStream.
func (s narrowStream) RecvMsg(m any) error {
	if err := s.serverStream.RecvMsg(m); err != nil {
		return err
	}
	a := auditOf(s.ctx)
	if a != nil {
		a.req = m
	}
	if err := s.permission.narrow(s.who, m); err != nil {
		a.foreign()
		return err
	}
	if req, ok := m.(proto.Message); ok {
		if err := checkRules(req); err != nil {
			return err
		}
	}
	// REST begins its answer then, also where there is nothing to say yet. Not before: there are clients that stop sending
	// their request when they see the answer begin. It fails only if the call is over, or this is not the first message.
	_ = s.SendHeader(nil)
	return nil
}

// SendMsg implements grpc.ServerStream. What a stream does that is to be in the audit trail is there before its answer begins.
func (s narrowStream) SendMsg(m any) error {
	if err := auditOf(s.ctx).answer(); err != nil {
		return err
	}
	return s.serverStream.SendMsg(m)
}

// authorized runs a unary call that its caller may make. One that only looks, or waits, ends with the caller's right to it.
func authorized(ctx context.Context, who caller, method string, req any, next grpc.UnaryHandler) (any, error) {
	p, err := mayCall(who, method)
	if err != nil {
		return nil, err
	}
	if err := p.narrow(who, req); err != nil {
		auditOf(ctx).foreign()
		return nil, err
	}
	if m, ok := req.(proto.Message); ok {
		if err := applyIfMatch(ctx, m); err != nil {
			return nil, err
		}
		if err := checkRules(m); err != nil {
			return nil, err
		}
	}
	if isWrite(method) {
		return next(ctx, req) // begun by who had the right, and it may be the one that ends it
	}
	ctx, cancel := who.grant.bound(ctx)
	defer cancel()
	resp, err := next(ctx, req)
	if who.grant.over() {
		return nil, errUnauthenticated
	}
	return resp, err
}

// authorizedStream runs a stream that its caller may open, until the caller's right to it ends.
func authorizedStream(ctx context.Context, who caller, method string, srv any, s grpc.ServerStream, next grpc.StreamHandler) error {
	p, err := mayCall(who, method)
	if err != nil {
		return err
	}
	ctx, cancel := who.grant.bound(ctx)
	defer cancel()
	err = next(srv, narrowStream{serverStream{s, ctx}, p, who})
	if who.grant.over() {
		return errUnauthenticated
	}
	return err
}
