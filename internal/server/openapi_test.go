package server

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"concentrator/api/gen"
)

// openAPI is the document as it is served.
func openAPI(t *testing.T) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(gen.OpenAPI, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// inDoc follows a path of keys; nil where it ends early.
func inDoc(v any, keys ...string) any {
	for _, key := range keys {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

// openAPIShape says which keys an object of the document may have, and what is behind them: the part of the OpenAPI
// Specification 3.1.0, section 4.8, that the document uses. "*" stands for any key; a ! marks what must be there; [] a list.
var openAPIShape = map[string]map[string]string{
	"document": {
		"openapi!": "", "info!": "info", "servers": "[]server", "tags": "[]tag", "paths!": "paths", "components": "components",
		"security": "[]requirement",
	},
	"info":        {"title!": "", "version!": "", "description": "", "license": "license"},
	"license":     {"name!": "", "identifier": ""},
	"server":      {"url!": ""},
	"tag":         {"name!": "", "description": ""},
	"requirement": {"*": "any"},
	"paths":       {"*": "path"},
	"path":        {"get": "operation", "post": "operation", "patch": "operation", "put": "operation", "delete": "operation"},
	"operation": {
		"operationId!": "", "summary!": "", "description": "", "tags!": "any", "parameters": "[]parameter", "requestBody": "body",
		"responses!": "responses", "security": "[]requirement", "deprecated": "any",
	},
	"parameter":  {"name!": "", "in!": "", "description!": "", "required": "any", "schema!": "schema", "example": "any"},
	"body":       {"content!": "content", "required": "any", "description": ""},
	"content":    {"*": "media"},
	"media":      {"schema!": "schema", "example": "any"},
	"responses":  {"*": "response"},
	"response":   {"description!": "", "content": "content", "headers": "headers"},
	"headers":    {"*": "header"},
	"header":     {"description": "", "schema!": "schema"},
	"components": {"schemas": "schemas", "responses": "responses", "securitySchemes": "schemes"},
	"schemes":    {"*": "scheme"},
	"scheme":     {"type!": "", "scheme": "", "description": ""},
	"schemas":    {"*": "schema"},
	"schema":     {"type": "", "format": "", "description": "", "enum": "any", "const": "any", "properties": "schemas", "required": "any", "items": "schema", "additionalProperties": "schema?", "readOnly": "any", "writeOnly": "any", "deprecated": "any", "allOf": "[]schema", "anyOf": "[]schema", "$ref": "", "pattern": "", "minLength": "any", "maxLength": "any", "minimum": "any", "maximum": "any", "maxItems": "any", "minItems": "any"},
	"reference":  {"$ref!": ""},
}

// checkShape says what is wrong with an object of the document.
func checkShape(t *testing.T, where string, v any, shape string) {
	t.Helper()
	if inner, ok := strings.CutPrefix(shape, "[]"); ok {
		list, ok := v.([]any)
		if !ok {
			t.Errorf("%s is no list", where)
		}
		for i, child := range list {
			checkShape(t, fmt.Sprintf("%s[%d]", where, i), child, inner)
		}
		return
	}
	m, ok := v.(map[string]any)
	switch {
	case shape == "any":
		return
	case shape == "":
		if _, ok := v.(string); !ok {
			t.Errorf("%s is %v, not a text", where, v)
		}
		return
	case shape == "schema?" && v == true:
		return
	case !ok:
		t.Errorf("%s is no object", where)
		return
	case m["$ref"] != nil && shape != "schema":
		shape = "reference"
	}
	keys := openAPIShape[strings.TrimSuffix(shape, "?")]
	for key := range keys {
		if name, must := strings.CutSuffix(key, "!"); must && m[name] == nil {
			t.Errorf("%s has no %s", where, name)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		inner, known := keys[key]
		if !known {
			inner, known = keys[key+"!"]
		}
		if !known {
			inner, known = keys["*"]
		}
		if !known {
			t.Errorf("%s: a %s has no %s", where, shape, key)
			continue
		}
		checkShape(t, where+"."+key, m[key], inner)
	}
}

// The document is OpenAPI 3.1: nothing that the specification does not have, nothing that it wants is missing, and every
// reference leads somewhere.
func TestOpenAPIIsValid(t *testing.T) {
	doc := openAPI(t)
	checkShape(t, "document", doc, "document")
	used := map[string]bool{}
	var walk func(where string, v any)
	walk = func(where string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if to, ok := v["$ref"].(string); ok {
				used[to] = true
				if inDoc(doc, strings.Split(strings.TrimPrefix(to, "#/"), "/")...) == nil {
					t.Errorf("%s: %s leads nowhere", where, to)
				}
			}
			for key, child := range v {
				walk(where+"."+key, child)
			}
		case []any:
			for _, child := range v {
				walk(where, child)
			}
		}
	}
	walk("document", doc)
	for name := range inDoc(doc, "components", "schemas").(map[string]any) {
		if !used["#/components/schemas/"+name] {
			t.Errorf("nothing uses %s", name)
		}
	}
}

// eachOperation calls fn with every call of the document.
func eachOperation(doc map[string]any, fn func(path, method string, op map[string]any)) {
	for path, item := range doc["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			fn(path, method, op.(map[string]any))
		}
	}
}

// collectionOf is a collection and the star for one of its members.
var collectionOf = regexp.MustCompile(`([A-Za-z]+)s/\*`)

// readablePath is how the document spells a path template.
func readablePath(template string) string {
	return collectionOf.ReplaceAllString(pathVariable.ReplaceAllString(template, "$1"), "${1}s/{$1}")
}

// The calls of the document are those of the protos, each with the parameters that its request has, and only those.
func TestOpenAPIHasEveryCall(t *testing.T) {
	doc := openAPI(t)
	left := map[string]bool{}
	ids := map[string]string{}
	tags := map[string]bool{}
	for _, tag := range doc["tags"].([]any) {
		tags[inDoc(tag, "name").(string)] = true
	}
	eachOperation(doc, func(path, method string, op map[string]any) {
		left[method+" "+path] = true
		id := op["operationId"].(string)
		if other := ids[id]; other != "" || !regexp.MustCompile(`^[A-Z][A-Za-z]+$`).MatchString(id) {
			t.Errorf("%s %s is called %s, as %s", method, path, id, other)
		}
		ids[id] = path
		for _, tag := range op["tags"].([]any) {
			if !tags[tag.(string)] {
				t.Errorf("%s has tag %s, which nothing describes", id, tag)
			}
		}
		for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
			if !slices.ContainsFunc(listOf(op["parameters"]), func(p any) bool {
				return inDoc(p, "name") == m[1] && inDoc(p, "in") == "path" && inDoc(p, "required") == true
			}) {
				t.Errorf("%s has no parameter %s", id, m[1])
			}
		}
	})
	for _, path := range []string{"/livez", "/readyz", "/openapi.json"} {
		op := inDoc(doc, "paths", path, "get")
		if security, ok := inDoc(op, "security").([]any); !ok || len(security) != 0 {
			t.Errorf("%s wants a token", path)
		}
		delete(left, "get "+path)
	}
	eachBinding(func(m protoreflect.MethodDescriptor, method, template, _ string) {
		path, method := readablePath(template), strings.ToLower(method)
		delete(left, method+" "+path)
		op, _ := inDoc(doc, "paths", path, method).(map[string]any)
		if op == nil {
			t.Errorf("%s: the document has no %s %s", m.FullName(), method, path)
			return
		}
		if id := op["operationId"].(string); strings.Replace(id, "Instance", "", 1) != strings.Replace(string(m.Name()), "Instance", "", 1) {
			t.Errorf("%s is called %s", m.FullName(), id)
		}
		for _, p := range listOf(op["parameters"]) {
			name := inDoc(p, "name").(string)
			if inDoc(p, "in") == "path" && !strings.Contains(path, "{"+name+"}") {
				t.Errorf("%s: the path %s has no %s", m.FullName(), path, name)
			}
			if inDoc(p, "in") == "query" && m.Input().Fields().ByJSONName(name) == nil {
				t.Errorf("%s: a request has no %s", m.FullName(), name)
			}
		}
		if _, etag := etagField(dynamicpb.NewMessage(m.Input())); (etag != nil) != hasParameter(op, "If-Match", "header") {
			t.Errorf("%s: If-Match is described wrongly", m.FullName())
		}
		checkAnswers(t, m, op)
	})
	for call := range left {
		t.Errorf("the protos have no %s", call)
	}
}

// hasParameter says whether a call is described with a parameter.
func hasParameter(op map[string]any, name, in string) bool {
	return slices.ContainsFunc(listOf(op["parameters"]), func(p any) bool { return inDoc(p, "name") == name && inDoc(p, "in") == in })
}

func listOf(v any) []any {
	l, _ := v.([]any)
	return l
}

// checkAnswers compares the answers in the document with what the method returns.
func checkAnswers(t *testing.T, m protoreflect.MethodDescriptor, op map[string]any) {
	t.Helper()
	if inDoc(op, "responses", "default", "$ref") != "#/components/responses/Error" {
		t.Errorf("%s: no error is described", m.FullName())
	}
	content, _ := inDoc(op, "responses", "200", "content").(map[string]any)
	var types []string
	for name := range content {
		types = append(types, name)
	}
	slices.Sort(types)
	switch {
	case m.Output().FullName() == "google.api.HttpBody":
		if len(types) != 1 || types[0] == typeJSON || inDoc(content[types[0]], "schema", "format") != "binary" {
			t.Errorf("%s sends a file, and is described as %v", m.FullName(), content)
		}
	case m.IsStreamingServer():
		if !slices.Equal(types, []string{typeLines, typeEvents}) {
			t.Errorf("%s is described as %q", m.FullName(), types)
		}
		if !hasParameter(op, "Last-Event-ID", "header") {
			t.Errorf("%s can't be resumed by a browser", m.FullName())
		}
	default:
		if !slices.Equal(types, []string{typeJSON}) {
			t.Errorf("%s is described as %q", m.FullName(), types)
		}
	}
}

// The types of the document have the fields of the messages, as JSON spells them, with what the protos say of them.
func TestOpenAPIHasEveryField(t *testing.T) {
	schemas := inDoc(openAPI(t), "components", "schemas").(map[string]any)
	seen := 0
	for name, s := range schemas {
		full, isPatch := strings.CutSuffix(name, ".Patch")
		if !strings.HasPrefix(full, "concentrator.") {
			continue
		}
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(full))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if text, _ := inDoc(s, "description").(string); text == "" {
			t.Errorf("%s has no description", name)
		}
		seen++
		switch d := d.(type) {
		case protoreflect.EnumDescriptor:
			checkEnum(t, d, s)
		case protoreflect.MessageDescriptor:
			checkFields(t, name, d, s, isPatch)
		}
	}
	if seen < 80 {
		t.Errorf("%d types", seen)
	}
}

func checkEnum(t *testing.T, d protoreflect.EnumDescriptor, s any) {
	t.Helper()
	var want []any
	for i := range d.Values().Len() {
		name := string(d.Values().Get(i).Name())
		want = append(want, name)
		if !strings.Contains(inDoc(s, "description").(string), "\n\n"+name+": ") {
			t.Errorf("%s does not say what %s means", d.FullName(), name)
		}
	}
	if !slices.Equal(listOf(inDoc(s, "enum")), want) {
		t.Errorf("%s is %v, want %v", d.FullName(), inDoc(s, "enum"), want)
	}
}

func checkFields(t *testing.T, name string, d protoreflect.MessageDescriptor, s any, isPatch bool) {
	t.Helper()
	properties, _ := inDoc(s, "properties").(map[string]any)
	if len(properties) != d.Fields().Len() {
		t.Errorf("%s has %d fields, want %d", name, len(properties), d.Fields().Len())
	}
	for i := range d.Fields().Len() {
		fd := d.Fields().Get(i)
		p, _ := properties[fd.JSONName()].(map[string]any)
		if p == nil {
			t.Errorf("%s has no %s", name, fd.JSONName())
			continue
		}
		where := name + "." + fd.JSONName()
		if text, _ := p["description"].(string); text == "" {
			t.Errorf("%s has no description", where)
		}
		behaviors, _ := proto.GetExtension(fd.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
		for b, got := range map[annotations.FieldBehavior]bool{
			annotations.FieldBehavior_OUTPUT_ONLY: p["readOnly"] == true,
			annotations.FieldBehavior_INPUT_ONLY:  p["writeOnly"] == true,
			annotations.FieldBehavior_REQUIRED:    slices.Contains(listOf(inDoc(s, "required")), any(fd.JSONName())),
		} {
			if want := slices.Contains(behaviors, b) && !(isPatch && b == annotations.FieldBehavior_REQUIRED); got != want {
				t.Errorf("%s: %v is %v, want %v", where, b, got, want)
			}
		}
		if fd.Message() != nil && fd.Message().FullName() == "google.protobuf.Struct" && p["additionalProperties"] != true {
			t.Errorf("%s may hold anything, and is described as empty", where)
		}
		if fd.Kind() == protoreflect.Int64Kind && !fd.IsList() && p["type"] != "string" {
			t.Errorf("%s is a %v, want a text as JSON has it", where, p["type"])
		}
	}
}

// The examples are requests that the API takes: those that make something are sent to it, the others are read.
func TestOpenAPIExamples(t *testing.T) {
	f := start(t)
	doc := openAPI(t)
	type call struct {
		path, body string
	}
	creates := map[string]call{}
	bodies := map[string]string{} // by method and path
	eachOperation(doc, func(path, method string, op map[string]any) {
		example := inDoc(op, "requestBody", "content", typeJSON, "example")
		if example == nil {
			return
		}
		text, err := json.Marshal(example)
		must(t)(text, err)
		bodies[method+" "+path] = string(text)
		query := url.Values{}
		for _, p := range listOf(op["parameters"]) {
			name, value := inDoc(p, "name").(string), fmt.Sprint(inDoc(p, "example"))
			if inDoc(p, "in") == "path" {
				path = strings.ReplaceAll(path, "{"+name+"}", value)
			} else if inDoc(p, "required") == true {
				query.Set(name, value)
			}
		}
		creates[op["operationId"].(string)] = call{path + "?" + query.Encode(), string(text)}
	})
	for _, id := range []string{
		"CreateTenant", "CreatePool", "CreateProfile", "CreateUser", "CreateAcl", "CreateRadiusServer", "CreateListener", "CreateApiToken",
	} {
		if code, body := f.rest(t, http.MethodPost, creates[id].path, creates[id].body); code != 200 {
			t.Errorf("%s: POST %s %s: %d %s", id, creates[id].path, creates[id].body, code, body)
		}
	}
	for _, id := range []string{"UpdateUser", "UpdateProfile"} {
		if code, body := f.rest(t, http.MethodPatch, creates[id].path, creates[id].body); code != 200 {
			t.Errorf("%s: PATCH %s %s: %d %s", id, creates[id].path, creates[id].body, code, body)
		}
	}
	eachBinding(func(m protoreflect.MethodDescriptor, method, template, _ string) {
		text, ok := bodies[strings.ToLower(method)+" "+readablePath(template)]
		if !ok {
			return
		}
		rule := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
		message := m.Input()
		if rule.GetBody() != "*" {
			message = message.Fields().ByName(protoreflect.Name(rule.GetBody())).Message()
		}
		if err := protojson.Unmarshal([]byte(text), dynamicpb.NewMessage(message)); err != nil {
			t.Errorf("%s: the example %s: %v", m.FullName(), text, err)
		}
	})
	if len(bodies) < 20 {
		t.Errorf("%d examples", len(bodies))
	}
}
