// Package fakeapi is an API in memory for tests of what stands in front of one: the standard methods of every kind,
// without any of the server's checks.
package fakeapi

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// API answers the standard methods. It is a grpc.ClientConnInterface and safe for concurrent use.
type API struct {
	mu        sync.Mutex
	resources map[string]proto.Message
	writes    int
	// Calls are the methods called so far, with the resource's name: "CreateTenant tenants/acme".
	Calls []string
	// Fail, when set, is asked before each call; its error is the answer.
	Fail func(method, name string) error
}

// New makes an empty API.
func New() *API { return &API{resources: make(map[string]proto.Message)} }

// Get returns what is stored under a name, or nil.
func (a *API) Get(name string) proto.Message {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.resources[name]
}

// NewStream implements grpc.ClientConnInterface. No standard method streams.
func (*API) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "fakeapi has no streams")
}

// Invoke implements grpc.ClientConnInterface.
func (a *API) Invoke(_ context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	method = method[strings.LastIndexByte(method, '/')+1:]
	req, out := args.(proto.Message).ProtoReflect(), reply.(proto.Message)
	for _, verb := range []string{"Get", "Create", "Update", "Delete", "List"} {
		if kind, ok := strings.CutPrefix(method, verb); ok {
			return a.do(verb, kind, req, out)
		}
	}
	return status.Errorf(codes.Unimplemented, "fakeapi has no %s", method)
}

func (a *API) do(verb, kind string, req protoreflect.Message, out proto.Message) error {
	text := func(field string) string {
		if f := req.Descriptor().Fields().ByName(protoreflect.Name(field)); f != nil {
			return req.Get(f).String()
		}
		return ""
	}
	dry := text("validate_only") == "true"
	var given protoreflect.Message // the resource in the request
	for i := range req.Descriptor().Fields().Len() {
		if f := req.Descriptor().Fields().Get(i); f.Message() != nil && string(f.Message().Name()) == kind {
			given = req.Get(f).Message()
		}
	}
	name := text("name")
	switch verb {
	case "Create":
		parent, id := text("parent"), ""
		for i := range req.Descriptor().Fields().Len() {
			if f := req.Descriptor().Fields().Get(i); strings.HasSuffix(string(f.Name()), "_id") && f.Name() != "request_id" {
				id = req.Get(f).String()
			}
		}
		collection := strings.ToLower(kind[:1]) + kind[1:] + "s/"
		name = collection + id
		if parent != "" {
			name = parent + "/" + name
		}
	case "Update":
		name = get(given, "name")
	case "List":
		name = text("parent")
	}
	a.Calls = append(a.Calls, verb+kind+" "+name)
	if a.Fail != nil {
		if err := a.Fail(verb+kind, name); err != nil {
			return err
		}
	}
	is, exists := a.resources[name]
	switch {
	case verb == "List":
		return a.list(name, out)
	case verb == "Create" && exists:
		return status.Errorf(codes.AlreadyExists, "%s exists", name)
	case verb != "Create" && !exists:
		return status.Errorf(codes.NotFound, "%s does not exist", name)
	case verb == "Get":
		proto.Merge(out, is)
	case verb == "Delete":
		if !dry {
			delete(a.resources, name)
		}
	default:
		proto.Merge(out, a.put(name, given, is, dry))
	}
	return nil
}

// put stores a resource whole and returns it; only one that differs gets a new etag.
func (a *API) put(name string, given protoreflect.Message, is proto.Message, dry bool) proto.Message {
	r := proto.Clone(given.Interface())
	set(r.ProtoReflect(), "name", name)
	if is != nil {
		set(r.ProtoReflect(), "etag", get(is.ProtoReflect(), "etag"))
		if proto.Equal(r, is) {
			return r
		}
	}
	if dry {
		set(r.ProtoReflect(), "etag", "")
		return r
	}
	a.writes++
	set(r.ProtoReflect(), "etag", fmt.Sprint(a.writes))
	a.resources[name] = r
	return r
}

// list answers with the resources of the response's kind below parent, in one page.
func (a *API) list(parent string, out proto.Message) error {
	m := out.ProtoReflect()
	f := m.Descriptor().Fields().Get(0)
	var names []string
	for name, r := range a.resources {
		if r.ProtoReflect().Descriptor().FullName() == f.Message().FullName() &&
			(parent == "" || parent == "tenants/-" || strings.HasPrefix(name, parent+"/")) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		m.Mutable(f).List().Append(protoreflect.ValueOfMessage(a.resources[name].ProtoReflect()))
	}
	return nil
}

func get(m protoreflect.Message, field protoreflect.Name) string {
	return m.Get(m.Descriptor().Fields().ByName(field)).String()
}

func set(m protoreflect.Message, field protoreflect.Name, v string) {
	m.Set(m.Descriptor().Fields().ByName(field), protoreflect.ValueOfString(v))
}
