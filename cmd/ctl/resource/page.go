package resource

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	"concentrator/cmd/ctl/env"
)

// query says what is listed.
type query struct {
	parents       []string
	filter, order string
	limit         int                              // 0 is all
	narrow        func(protoreflect.Message) error // may be nil
}

// mostPage is how many the API gives at once.
const mostPage = 1000

// list reads pages until there is no further one or the limit is reached, and returns a List response of them all. more says
// that there are others.
func (n *Noun) list(ctx context.Context, e *env.Env, q query) (all protoreflect.Message, more bool, err error) {
	m := apiOf(n.Kind).list
	all = message(string(m.Output().FullName())).New()
	items := all.Mutable(listField(m.Output())).List()
	for i, parent := range q.parents {
		more, err = n.below(ctx, e, q, parent, items)
		if parent == "" && len(q.parents) > 1 && status.Code(err) == codes.PermissionDenied {
			continue // the caller is bound to a tenant, and sees what is below that one
		}
		if err != nil {
			return nil, false, err
		}
		if q.limit > 0 && items.Len() >= q.limit {
			return all, more || i < len(q.parents)-1, nil
		}
	}
	return all, false, nil
}

// below appends what stands below one parent.
func (n *Noun) below(ctx context.Context, e *env.Env, q query, parent string, items protoreflect.List) (
	more bool, err error,
) {
	m := apiOf(n.Kind).list
	for token := ""; ; {
		req := request(m)
		size := mostPage
		if q.limit > 0 {
			size = min(size, q.limit-items.Len())
		}
		set(req, "parent", parent)
		set(req, "page_size", int32(size))
		set(req, "page_token", token)
		set(req, "filter", q.filter)
		set(req, "order_by", q.order)
		if q.narrow != nil {
			if err := q.narrow(req); err != nil {
				return false, err
			}
		}
		page, err := call(ctx, e.Conn, m, req)
		if err != nil {
			return false, err
		}
		found := page.Get(listField(m.Output())).List()
		token = text(page, "next_page_token")
		for i := range found.Len() {
			if q.limit > 0 && items.Len() == q.limit {
				return true, nil
			}
			items.Append(found.Get(i))
		}
		if token == "" || q.limit > 0 && items.Len() >= q.limit {
			return token != "", nil
		}
	}
}
