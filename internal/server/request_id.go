package server

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"concentrator/internal/store"
)

// creation is the input of a Create method.
type creation interface {
	proto.Message
	GetRequestId() string
	GetValidateOnly() bool
}

// once is what is known of a create's request ID, AIP-155.
type once struct {
	made string // what the same request has made before; "": nothing

	ids        *store.RequestIDs // nil: the request has no ID
	caller, id string
	request    []byte
}

// once looks a request's ID up. b.writing is held from here to the commit.
func (b *backend) once(ctx context.Context, r creation) (once, error) {
	if r.GetRequestId() == "" || r.GetValidateOnly() {
		return once{}, nil
	}
	request, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		return once{}, fmt.Errorf("encode the request: %w", err)
	}
	o := once{
		ids: b.requests, caller: callerOf(ctx).name, id: r.GetRequestId(),
		request: append(request, r.ProtoReflect().Descriptor().FullName()...),
	}
	o.made, err = o.ids.Find(o.caller, o.id, o.request)
	if errors.Is(err, store.ErrRequestReused) {
		return once{}, invalid("requestId", "was used for another request within the hour; a new request takes a new one")
	}
	return o, err
}

// also remembers, with the commit that makes a resource, that this request made it.
func (o once) also(name string) store.Also {
	if o.ids == nil {
		return nil
	}
	return o.ids.With(o.caller, o.id, o.request, name)
}

// madeBefore answers a create that was done before: with the resource as it is now.
func madeBefore[T store.Record, M message](b *backend, k *resource[T, M], name string) (M, error) {
	r, err := store.Get[T](b.store, name)
	if err != nil {
		var none M
		if isNotFound(err) {
			err = fmt.Errorf("%w; this request has made it, and it was deleted since", err)
		}
		return none, &resourceError{name, err}
	}
	return k.message(b, r), nil
}
