package resource

import (
	"context"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "concentrator/api/gen/concentrator/v1" // registers the messages
)

const apiPackage = "concentrator.v1"

// api is what the API's descriptors say of a kind: its names and its standard methods, nil where it has none such.
type api struct {
	message                  protoreflect.MessageType
	patterns                 []string // of its names: tenants/{tenant}/users/{user}
	get, list, watch, remove protoreflect.MethodDescriptor
}

// apiOf reads a kind off the descriptors. It panics if the API has none such: the table of nouns would not pass a test.
func apiOf(kind string) api {
	a := api{message: message(apiPackage + "." + kind)}
	r, ok := proto.GetExtension(a.message.Descriptor().Options(), annotations.E_Resource).(*annotations.ResourceDescriptor)
	if !ok || len(r.GetPattern()) == 0 {
		panic("ctl: " + kind + " has no google.api.resource")
	}
	a.patterns = r.GetPattern()
	protoregistry.GlobalFiles.RangeFilesByPackage(apiPackage, func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			for j := range f.Services().Get(i).Methods().Len() {
				a.add(f.Services().Get(i).Methods().Get(j), kind)
			}
		}
		return true
	})
	return a
}

// add keeps a method if it is a standard one of the kind.
func (a *api) add(m protoreflect.MethodDescriptor, kind string) {
	is := a.message.Descriptor().FullName()
	switch name := string(m.Name()); {
	case name == "Get"+kind:
		a.get = m
	case name == "Delete"+kind:
		a.remove = m
	case strings.HasPrefix(name, "List"):
		if f := listField(m.Output()); f != nil && f.Message().FullName() == is {
			a.list = m
		}
	case strings.HasPrefix(name, "Watch"):
		if f := m.Output().Fields().ByName("upsert"); f != nil && f.Message().FullName() == is {
			a.watch = m
		}
	}
}

// listField is the field of a List response that holds the resources.
func listField(m protoreflect.MessageDescriptor) protoreflect.FieldDescriptor {
	for i := range m.Fields().Len() {
		if f := m.Fields().Get(i); f.IsList() && f.Message() != nil {
			return f
		}
	}
	return nil
}

// message is the Go type of a message of the API, which is linked in.
func message(name string) protoreflect.MessageType {
	mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		panic("ctl: " + err.Error())
	}
	return mt
}

// path is a method as gRPC calls it.
func path(m protoreflect.MethodDescriptor) string {
	return "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
}

// request makes a method's request.
func request(m protoreflect.MethodDescriptor) protoreflect.Message {
	return message(string(m.Input().FullName())).New()
}

// set sets a field of a request, if it has it.
func set(m protoreflect.Message, field protoreflect.Name, v any) {
	if f := m.Descriptor().Fields().ByName(field); f != nil {
		m.Set(f, protoreflect.ValueOf(v))
	}
}

// text is a text field of a message; "" if it has none such.
func text(m protoreflect.Message, field protoreflect.Name) string {
	if f := m.Descriptor().Fields().ByName(field); f != nil && f.Kind() == protoreflect.StringKind && !f.IsList() {
		return m.Get(f).String()
	}
	return ""
}

// call calls a method that answers once.
func call(ctx context.Context, conn grpc.ClientConnInterface, m protoreflect.MethodDescriptor, req protoreflect.Message) (
	protoreflect.Message, error,
) {
	out := message(string(m.Output().FullName())).New()
	return out, conn.Invoke(ctx, path(m), req.Interface(), out.Interface())
}
