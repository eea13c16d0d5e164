package manifest

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// Client calls the standard methods of every kind. Errors are gRPC statuses as the server sent them. It is as safe for
// concurrent use as its connection.
type Client struct {
	Conn grpc.ClientConnInterface
}

// request makes the request message of a kind's standard method with the fields given; a field that the message does
// not have is left out (a listener has no parent).
func request(name string, fields map[protoreflect.Name]any) proto.Message {
	m := mustMessage(name).New()
	for field, v := range fields {
		f := m.Descriptor().Fields().ByName(field)
		if f == nil {
			continue
		}
		switch v := v.(type) {
		case proto.Message:
			m.Set(f, protoreflect.ValueOfMessage(v.ProtoReflect()))
		default:
			m.Set(f, protoreflect.ValueOf(v))
		}
	}
	return m.Interface()
}

func (c Client) call(ctx context.Context, k Kind, method string, fields map[protoreflect.Name]any, out proto.Message) error {
	//nolint:wrapcheck // the status is the message
	return c.Conn.Invoke(ctx, "/"+apiPackage+k.Name+"Service/"+method, request(method+"Request", fields), out)
}

// field is the name of the field that holds the resource in Create and Update requests.
func (k Kind) field() protoreflect.Name { return snake(k.Name) }

// snake turns RadiusServer into radius_server.
func snake(camel string) protoreflect.Name {
	var b []byte
	for i := range len(camel) {
		c := camel[i]
		if 'A' <= c && c <= 'Z' {
			if i > 0 {
				b = append(b, '_')
			}
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return protoreflect.Name(b)
}

// Get returns one resource.
func (c Client) Get(ctx context.Context, k Kind, name string) (proto.Message, error) {
	out := k.New()
	return out, c.call(ctx, k, "Get"+k.Name, map[protoreflect.Name]any{"name": name}, out)
}

// Create makes the resource of that name.
func (c Client) Create(ctx context.Context, k Kind, name string, r proto.Message, validateOnly bool) (proto.Message, error) {
	parent, id := split(name)
	out := k.New()
	return out, c.call(ctx, k, "Create"+k.Name, map[protoreflect.Name]any{
		"parent": parent, k.field() + "_id": id, k.field(): r, "validate_only": validateOnly,
	}, out)
}

// Update changes the fields of a resource that mask names, in the spelling of the proto file; "*" is all.
func (c Client) Update(ctx context.Context, k Kind, r proto.Message, mask []string, validateOnly bool) (proto.Message, error) {
	out := k.New()
	return out, c.call(ctx, k, "Update"+k.Name, map[protoreflect.Name]any{
		k.field(): r, "update_mask": &fieldmaskpb.FieldMask{Paths: mask}, "validate_only": validateOnly,
	}, out)
}

// Delete removes a resource.
func (c Client) Delete(ctx context.Context, k Kind, name string, validateOnly bool) error {
	return c.call(ctx, k, "Delete"+k.Name, map[protoreflect.Name]any{"name": name, "validate_only": validateOnly}, new(emptypb.Empty))
}

// List returns one page in a List response. parent is a tenant's name or "tenants/-"; kinds that stand below nothing
// ignore it.
func (c Client) List(ctx context.Context, k Kind, parent string, pageSize int, token string) (proto.Message, error) {
	method := "List" + plural(k)
	out := mustMessage(method + "Response").New().Interface()
	return out, c.call(ctx, k, method, map[protoreflect.Name]any{
		"parent": parent, "page_size": int32(pageSize), "page_token": token,
	}, out)
}

// plural is the kind's collection as it stands in method names.
func plural(k Kind) string { return string(k.Collection[0]-'a'+'A') + k.Collection[1:] }

// All returns every resource of the kind below parent.
func (c Client) All(ctx context.Context, k Kind, parent string) ([]proto.Message, error) {
	var out []proto.Message
	for token := ""; ; {
		page, err := c.List(ctx, k, parent, 1000, token)
		if err != nil {
			return nil, err
		}
		r := page.ProtoReflect()
		items := r.Get(r.Descriptor().Fields().ByName(snake(k.Collection))).List()
		for i := range items.Len() {
			out = append(out, items.Get(i).Message().Interface())
		}
		if token = r.Get(r.Descriptor().Fields().ByName("next_page_token")).String(); token == "" {
			return out, nil
		}
	}
}
