package server

import (
	"net/http"
	"regexp"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	"concentrator/internal/server/query"
)

// What the gateway and protojson say of a body or a query that they can't read.
var (
	badDuration = regexp.MustCompile(`invalid google\.protobuf\.Duration value "([^"]*)"`)
	badTime     = regexp.MustCompile(`invalid google\.protobuf\.Timestamp value "([^"]*)"`)
	badField    = regexp.MustCompile(`unknown field "([^"]+)"`)
	badValue    = regexp.MustCompile(`invalid value for (\w+) (?:field|type) (\w+): (.*)`)
	badQuery    = regexp.MustCompile(`parsing (?:field|list) "([^"]+)": (.*)`)
	quoted      = regexp.MustCompile(`"[^"]*"`)
	badPlace    = regexp.MustCompile(`^(?:proto:\s*)?(?:syntax error )?\(line (\d+):(\d+)\):\s*`)
)

// explainJSON puts the gateway's words about a request that it can't read into ours: which field, as far as they tell, and
// what would be right.
func explainJSON(r *http.Request, text string) *status.Status {
	text = strings.ReplaceAll(text, "\u00a0", " ")
	if m := badDuration.FindStringSubmatch(text); m != nil {
		if _, err := query.ParseSeconds(m[1]); err != nil {
			return newStatus(codes.InvalidArgument, reasonRequest, err.Error(), nil)
		}
	}
	if m := badTime.FindStringSubmatch(text); m != nil {
		return newStatus(codes.InvalidArgument, reasonRequest, `"`+m[1]+`" is not a time such as 2030-01-31T00:00:00Z`, nil)
	}
	var bad fieldErrors
	place := ""
	if m := badPlace.FindStringSubmatch(text); m != nil {
		place = " (line " + m[1] + ", character " + m[2] + ")"
	}
	if m := badField.FindStringSubmatch(text); m != nil {
		bad.add(m[1], "no such field%s; /docs shows which there are", place)
	} else if m := badValue.FindStringSubmatch(text); m != nil {
		bad.add(m[2], "%s is %s%s", m[3], notA(r, m[1], m[2]), place)
	}
	if m := badQuery.FindStringSubmatch(text); m != nil {
		name, text := unreadableParameter(r, m[1], m[2])
		bad.add(name, "%s", text)
	}
	if !bad.empty() {
		return status.Convert(bad.err())
	}
	return newStatus(codes.InvalidArgument, reasonRequest, "can't be read: "+text, nil)
}

// unreadableParameter is a parameter of the URL as JSON spells it, and what is wrong with its value. said are the gateway's words.
func unreadableParameter(r *http.Request, name, said string) (field, text string) {
	b := bindingOf(r)
	if b == nil {
		return name, said
	}
	fd := b.input.Fields().ByName(protoreflect.Name(name))
	if fd == nil {
		return name, said
	}
	kind := fd.Kind().String()
	if value := quoted.FindString(said); value != "" && fd.Message() == nil {
		return fd.JSONName(), value + " is " + notA(r, kind, fd.JSONName())
	}
	return fd.JSONName(), said
}

// notA says what a value is not that a field of that kind should hold.
func notA(r *http.Request, kind, field string) string {
	switch kind {
	case "enum":
		if b := bindingOf(r); b != nil {
			if words := enumWords(b.input, field, 0); words != nil {
				return "not one of " + strings.Join(words, ", ")
			}
		}
		return "not one of its words"
	case "int32", "int64":
		return "no whole number"
	case "string":
		return "no text; put it in quotation marks"
	case "bool":
		return "neither true nor false"
	}
	return "no " + kind
}

// enumWords are the values of the enum field of that JSON name, in the message or in what it holds; nil if there is none.
func enumWords(md protoreflect.MessageDescriptor, field string, depth int) []string {
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if e := fd.Enum(); e != nil && (fd.JSONName() == field || string(fd.Name()) == field) {
			var words []string
			for j := 1; j < e.Values().Len(); j++ { // the first is the unspecified one
				words = append(words, string(e.Values().Get(j).Name()))
			}
			return words
		}
		if fd.Message() != nil && depth < 4 {
			if words := enumWords(fd.Message(), field, depth+1); words != nil {
				return words
			}
		}
	}
	return nil
}
