package server

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
)

// restPath is a path of the API with its methods.
type restPath struct {
	pattern pathPattern
	verb    bool // ends with a method of ours, as in :watch
	methods []string
}

// restPaths are all paths of the API, from the same annotations as the gateway's.
var restPaths = sync.OnceValue(func() []restPath {
	methods := map[string][]string{}
	eachBinding(func(m protoreflect.MethodDescriptor, method, template, _ string) {
		path := pathVariable.ReplaceAllString(template, "$1")
		methods[path] = append(methods[path], method)
		if method == http.MethodGet && !m.IsStreamingServer() {
			methods[path] = append(methods[path], http.MethodHead)
		}
	})
	var all []restPath
	for path, allowed := range methods {
		slices.Sort(allowed)
		all = append(all, restPath{
			patternOf(path), strings.Contains(path, ":"), append(slices.Compact(allowed), http.MethodOptions),
		})
	}
	return all
})

// pathPattern is a path by its parts; "*" in a part stands for one octet or more that are no slash. It is matched before anybody
// is asked for a token, against paths of up to maxHeader: so a part that does not fit must end it, and each octet be seen once.
type pathPattern []string

func patternOf(path string) pathPattern { return strings.Split(path, "/") }

// matches says whether a path, encoded as it came, is one of the pattern.
func (p pathPattern) matches(path string) bool {
	for i, want := range p {
		part, rest, more := strings.Cut(path, "/")
		if before, after, any := strings.Cut(want, "*"); any {
			if len(part) <= len(before)+len(after) || !strings.HasPrefix(part, before) || !strings.HasSuffix(part, after) {
				return false
			}
		} else if part != want {
			return false
		}
		if more != (i < len(p)-1) {
			return false
		}
		path = rest
	}
	return true
}

// pathVariable is the part of a path template that stands for a field, as in {name=tenants/*}.
var pathVariable = regexp.MustCompile(`\{[a-zA-Z0-9_.]+=([^}]*)\}`)

// eachBinding calls fn with every HTTP method and path template of every method of the API, and the field of the request that
// is the body: "*" is all of it, "" none.
func eachBinding(fn func(m protoreflect.MethodDescriptor, method, template, body string)) {
	protoregistry.GlobalFiles.RangeFilesByPackage(concentratorv1.File_concentrator_v1_tenant_proto.Package(), func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				m := service.Methods().Get(j)
				rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
				if !ok {
					continue
				}
				for _, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
					if method, template := binding(r); method != "" {
						fn(m, method, template, r.GetBody())
					}
				}
			}
		}
		return true
	})
}

func binding(r *annotations.HttpRule) (method, template string) {
	switch p := r.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		return http.MethodPost, p.Post
	case *annotations.HttpRule_Patch:
		return http.MethodPatch, p.Patch
	case *annotations.HttpRule_Delete:
		return http.MethodDelete, p.Delete
	case *annotations.HttpRule_Put:
		return http.MethodPut, p.Put
	}
	return "", ""
}

// methodsOf are the methods of a path, encoded as it came; none for a path that is not there.
func methodsOf(path string) []string {
	if _, ok := openPaths[path]; ok {
		return []string{http.MethodGet, http.MethodHead, http.MethodOptions}
	}
	var found []string
	for _, p := range restPaths() {
		if p.pattern.matches(path) {
			if p.verb {
				return p.methods // what else fits takes the verb for a part of the name
			}
			found = p.methods
		}
	}
	return found
}

// options answers what may be done with a path. It needs no token: the API is no secret.
func (h *rest) options(w http.ResponseWriter, r *http.Request, allowed []string) {
	if len(allowed) == 0 {
		unrouted(r.Context(), h.mux, restJSON, w, r, http.StatusNotFound)
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	w.WriteHeader(http.StatusNoContent)
}

// readOnly lets GET and HEAD pass, and answers everything else itself.
func readOnly(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", strings.Join(methodsOf(r.URL.Path), ", "))
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return false
	}
	writeError(w, http.StatusMethodNotAllowed, newStatus(codes.Unimplemented, reasonRequest, "this can only be read: use GET", nil))
	return false
}

// writeError answers with an error before the gateway has seen the request.
func writeError(w http.ResponseWriter, code int, st *status.Status) {
	text, err := restJSON.Marshal(st.Proto())
	if err != nil {
		text = nil // its details are messages of ours: they can be spelled
	}
	w.Header().Set("Content-Type", typeJSON)
	w.WriteHeader(code)
	_, _ = w.Write(text) // the caller has gone
}
