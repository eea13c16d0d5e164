package resource

import (
	"errors"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// explain puts what the API says of fields into the words of the flags that give them. Another error stays as it is.
func (f *fields) explain(err error) error {
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	var texts []string
	known := false
	for _, d := range st.Details() {
		bad, ok := d.(*errdetails.BadRequest)
		if !ok {
			continue
		}
		for _, v := range bad.GetFieldViolations() {
			at := v.GetField()
			if flag := f.flagOf(at); flag != "" {
				at, known = flag, true
			}
			texts = append(texts, at+": "+v.GetDescription())
		}
	}
	if !known {
		return err
	}
	return errors.New(strings.Join(texts, "; "))
}

// flagOf is the flag for a field of the resource as JSON spells it, with an index behind if it has one: "--realms[1]" for
// "realms[1]"; "" if there is none.
func (f *fields) flagOf(path string) string {
	for _, fd := range f.all {
		names := make([]string, len(fd.path))
		for i, p := range fd.path {
			names[i] = p.JSONName()
		}
		if rest, ok := strings.CutPrefix(path, strings.Join(names, ".")); ok && (rest == "" || rest[0] == '[' || rest[0] == '.') {
			return "--" + fd.flag + rest
		}
	}
	return ""
}
