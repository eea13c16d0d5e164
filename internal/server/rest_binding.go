package server

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// restBinding is one method of one path of the API.
type restBinding struct {
	method    string
	pattern   pathPattern
	verb      bool // as of restPath
	input     protoreflect.MessageDescriptor
	body      protoreflect.MessageDescriptor // nil: it takes none
	parameter map[string]bool                // the first parts of what the query may hold, as JSON spells them
}

// restBindings are all of them, from the same annotations as the gateway's.
var restBindings = sync.OnceValue(func() []*restBinding {
	var all []*restBinding
	eachBinding(func(m protoreflect.MethodDescriptor, method, template, body string) {
		path := pathVariable.ReplaceAllString(template, "$1")
		b := &restBinding{
			method: method, verb: strings.Contains(path, ":"), input: m.Input(), parameter: map[string]bool{},
			pattern: patternOf(path),
		}
		if body == "*" {
			b.body = b.input
			all = append(all, b)
			return
		}
		for i := range b.input.Fields().Len() {
			switch f := b.input.Fields().Get(i); {
			case string(f.Name()) == body:
				b.body = f.Message()
			case !strings.Contains(template, "{"+string(f.Name())+"="):
				b.parameter[f.JSONName()] = true
			}
		}
		all = append(all, b)
	})
	return all
})

// bindingOf is the one that answers a request, nil if there is none.
func bindingOf(r *http.Request) *restBinding {
	method, path := r.Method, r.URL.EscapedPath()
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var found *restBinding
	for _, b := range restBindings() {
		if b.method == method && b.pattern.matches(path) && (found == nil || b.verb) {
			found = b
		}
	}
	return found
}

// checkQuery refuses parameters that a call does not have. The gateway passes over them, so that a mistyped validateOnly would
// make the change that was only to be checked, and a mistyped filter list all.
func checkQuery(r *http.Request) error {
	b := bindingOf(r)
	if r.URL.RawQuery == "" || b == nil {
		return nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return newStatus(codes.InvalidArgument, reasonRequest, "the URL's parameters can't be read: "+err.Error(), nil).Err()
	}
	var bad fieldErrors
	for _, key := range slices.Sorted(maps.Keys(query)) {
		if len(bad.list) == maxNamed {
			break
		}
		if first, _, _ := strings.Cut(key, "."); !b.has(first) {
			bad.add(key, "%s", b.instead())
		}
	}
	return bad.err()
}

// has says whether a parameter is one, spelled as in JSON or as in the proto file.
func (b *restBinding) has(name string) bool {
	f := b.input.Fields().ByName(protoreflect.Name(name))
	return b.parameter[name] || f != nil && b.parameter[f.JSONName()]
}

// instead says what could be in the place of a parameter that is none.
func (b *restBinding) instead() string {
	switch {
	case b.body == b.input:
		return "is no parameter of the URL: this call takes all its fields in the body"
	case len(b.parameter) == 0:
		return "is no parameter of the URL: this call takes none"
	}
	return "is no parameter of the URL; there are " + strings.Join(slices.Sorted(maps.Keys(b.parameter)), ", ")
}
