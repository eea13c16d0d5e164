package server

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"iter"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"concentrator/internal/server/query"
)

// Bounds of a page, AIP-158.
const (
	defaultPage = 100
	maxPage     = 1000
	// maxPageBytes ends a page early, so that it fits what gRPC clients take by default (4 MiB).
	maxPageBytes = 2 << 20
)

// listRequest is the input of a List method.
type listRequest interface {
	proto.Message
	GetPageSize() int32
	GetPageToken() string
	GetFilter() string
	GetOrderBy() string
}

// listing is a checked list request: which resources are asked for, in which order, and where the page begins.
type listing struct {
	hash   []byte // of everything but the page
	limit  int
	filter *query.Filter
	order  *query.Order // nil: the list's own
	after  string       // place of the last resource before the page; "" for the first page
}

// tokenVersion is the first octet of a page token.
const tokenVersion = 2

// queryHashLen is how much of the request's hash a page token holds, in octets. It catches mistakes; a token grants
// nothing, so there is nobody to keep out.
const queryHashLen = 8

// newListing checks a request for a list of resources of one type.
func newListing(r listRequest, md protoreflect.MessageDescriptor) (*listing, error) {
	l := &listing{limit: min(int(r.GetPageSize()), maxPage), hash: queryHash(r)}
	switch {
	case l.limit < 0:
		return nil, invalid("pageSize", "%d is negative; 0 means %d, and at most %d count", l.limit, defaultPage, maxPage)
	case l.limit == 0:
		l.limit = defaultPage
	}
	var err error
	if l.filter, err = query.ParseFilter(md, r.GetFilter()); err != nil {
		return nil, invalid("filter", "%v", err)
	}
	if l.order, err = query.ParseOrder(md, r.GetOrderBy()); err != nil {
		return nil, invalid("orderBy", "%v", err)
	}
	if r.GetPageToken() == "" {
		return l, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(r.GetPageToken())
	if err != nil || len(b) <= 1+queryHashLen || b[0] != tokenVersion {
		return nil, errPageToken
	}
	if string(b[1:1+queryHashLen]) != string(l.hash) {
		return nil, invalid("pageToken", "belongs to another list; everything but pageSize must be as in the request that returned it")
	}
	l.after = string(b[1+queryHashLen:])
	return l, nil
}

// errPageToken refuses what is no token of ours.
var errPageToken = invalid("pageToken", "is not one that a list returned")

// queryHash identifies a list request but for its page.
func queryHash(r listRequest) []byte {
	q := proto.Clone(r)
	for _, name := range []protoreflect.Name{"page_size", "page_token"} {
		q.ProtoReflect().Clear(q.ProtoReflect().Descriptor().Fields().ByName(name))
	}
	b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(q) // it came off the wire, so it can go back
	sum := sha256.Sum256(append(b, q.ProtoReflect().Descriptor().FullName()...))
	return sum[:queryHashLen]
}

// token makes the token for the page behind a place.
func (l *listing) token(place string) string {
	b := append([]byte{tokenVersion}, l.hash...)
	return base64.RawURLEncoding.EncodeToString(append(b, place...))
}

// resources yields the resources of a list in the list's own order, behind the one at a place; "" is before the first.
type resources[M proto.Message] func(after string) iter.Seq2[M, error]

// placed is a resource and its place in the order of a list.
type placed[M proto.Message] struct {
	place string
	m     M
}

// pageOf collects one page, and returns the token for the next one. What name says of a resource must be its own alone, and stay
// so; the list's own order must not change.
//
// So, whatever comes and goes between two pages, what is there all the time comes once, as long as the fields that order it stay
// as they are.
func pageOf[M proto.Message](ctx context.Context, l *listing, all resources[M], name func(M) string) ([]M, string, error) {
	var found []placed[M]
	from := l.after
	if l.order != nil {
		from = ""
	}
	seen := 0
	for m, err := range all(from) {
		if err != nil {
			return nil, "", err
		}
		if seen++; seen%1000 == 0 && ctx.Err() != nil {
			return nil, "", ctx.Err()
		}
		if !l.filter.Matches(m) {
			continue
		}
		at := placed[M]{name(m), m}
		if l.order == nil {
			if found = append(found, at); len(found) > l.limit {
				break
			}
			continue
		}
		if at.place = l.order.Place(m, at.place); at.place <= l.after {
			continue
		}
		if found = append(found, at); len(found) > 8*maxPage {
			found = first(found, l.limit+1)
		}
	}
	if l.order != nil {
		found = first(found, l.limit+1)
	}
	list, next := fill(l, found)
	return list, next, nil
}

// first sorts a list and keeps its first n.
func first[M proto.Message](list []placed[M], n int) []placed[M] {
	slices.SortFunc(list, func(a, b placed[M]) int { return cmp.Compare(a.place, b.place) })
	n = min(n, len(list))
	clear(list[n:])
	return list[:n]
}

// fill makes a page of what was found, until it is full in number or in octets.
func fill[M proto.Message](l *listing, found []placed[M]) (list []M, next string) {
	bytes := 0
	for i, f := range found {
		list = append(list, f.m)
		bytes += proto.Size(f.m)
		if i < len(found)-1 && (len(list) == l.limit || bytes >= maxPageBytes) {
			return list, l.token(f.place)
		}
	}
	return list, ""
}

// sorted yields encoded things that are sorted by name.
func sorted[T any, M proto.Message](list []T, name func(T) string, encode func(T) M) resources[M] {
	return func(after string) iter.Seq2[M, error] {
		return func(yield func(M, error) bool) {
			for _, t := range list {
				if name(t) > after && !yield(encode(t), nil) {
					return
				}
			}
		}
	}
}

// one yields the only resource that there is.
func one[M interface {
	proto.Message
	GetName() string
}](m M) resources[M] {
	return sorted([]M{m}, M.GetName, func(m M) M { return m })
}
