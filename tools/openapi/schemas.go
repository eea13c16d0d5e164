package main

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// statusSchemas is google.rpc.Status with the details that this API sends.
var statusSchemas = object{
	"google.rpc.Status": object{
		"type": "object", "description": "An error.", "required": []any{"code", "message", "details"},
		"properties": object{
			"code":    object{"type": "integer", "format": "int32", "description": "A number of google.rpc.Code: 3 is INVALID_ARGUMENT, 5 is NOT_FOUND."},
			"message": object{"type": "string", "description": "For people. It may change."},
			"details": object{
				"type": "array", "description": "For programs.",
				"items": object{"anyOf": []any{
					ref("google.rpc.ErrorInfo"), ref("google.rpc.BadRequest"), ref("google.rpc.PreconditionFailure"), ref("google.rpc.RetryInfo"),
				}},
			},
		},
	},
	"google.rpc.ErrorInfo": detail("ErrorInfo", "What is wrong, as programs can rely on it. Every error has one.", object{
		"reason": object{"type": "string", "description": "The reason, as in RESOURCE_NOT_FOUND."},
		"domain": object{"type": "string", "description": "Always concentrator."},
		"metadata": object{
			"type": "object", "additionalProperties": object{"type": "string"}, "description": "What it is about, as in resource, requestId.",
		},
	}, "reason", "domain"),
	"google.rpc.BadRequest": detail("BadRequest", "Which fields of the request are wrong, and what would be right.", object{
		"fieldViolations": violations(object{
			"field":       object{"type": "string", "description": "The field's path as in JSON: mppe.keyBits[1]."},
			"description": object{"type": "string", "description": "What is wrong with it, and what would be right."},
			"reason":      object{"type": "string", "description": "Not used."},
		}, "field", "description"),
	}, "fieldViolations"),
	"google.rpc.PreconditionFailure": detail("PreconditionFailure", "What stands in the way.", object{
		"violations": violations(object{
			"type":        object{"type": "string", "description": "As in REFERENCE."},
			"subject":     object{"type": "string", "description": "The resource that stands in the way."},
			"description": object{"type": "string", "description": "How it does."},
		}, "type", "subject"),
	}, "violations"),
	"google.rpc.RetryInfo": detail("RetryInfo", "When to try again.", object{
		"retryDelay": object{"type": "string", "description": "After so long, as in \"0.500s\"."},
	}, "retryDelay"),
}

func ref(name string) object { return object{"$ref": "#/components/schemas/" + name} }

// detail is a message in the details of a status.
func detail(name, description string, properties object, required ...any) object {
	properties["@type"] = object{"type": "string", "const": "type.googleapis.com/google.rpc." + name}
	return object{"type": "object", "description": description, "properties": properties, "required": append([]any{"@type"}, required...)}
}

func violations(properties object, required ...any) object {
	return object{"type": "array", "items": object{"type": "object", "properties": properties, "required": required}}
}

// structs are the fields of type google.protobuf.Struct: the generator calls them objects without fields.
var structs = []string{"before", "after", "configuration"}

// polishSchemas makes types as stock generators take them best.
func (d *document) polishSchemas() {
	maps.Copy(d.schemas, statusSchemas)
	for _, s := range d.schemas {
		s := s.(object)
		properties, _ := s["properties"].(object)
		if oneOf, ok := s["oneOf"].([]any); ok && properties != nil {
			delete(s, "oneOf") // most generators make something unusable of it
			s["description"] = s["description"].(string) + " At most one of " + strings.Join(choices(oneOf), ", ") + " is set."
		}
		for _, name := range structs {
			if p, _ := properties[name].(object); p["type"] == "object" {
				p["additionalProperties"] = true
			}
		}
	}
}

// patchSchemas gives each update a type of its own where the resource has fields that must be given when it is made: an
// update may leave them out.
func (d *document) patchSchemas() {
	for _, path := range slices.Sorted(maps.Keys(d.paths)) {
		op, _ := d.paths[path].(object)["patch"].(object)
		body, _ := op["requestBody"].(object)
		content, _ := body["content"].(object)
		media, _ := content[typeJSON].(object)
		schema, _ := media["schema"].(object)
		to, _ := schema["$ref"].(string)
		name := strings.TrimPrefix(to, "#/components/schemas/")
		whole, _ := d.schemas[name].(object)
		if whole["required"] == nil {
			continue
		}
		part := maps.Clone(whole)
		delete(part, "required")
		part["description"] = part["description"].(string) + " In an update everything may be left out."
		d.schemas[name+".Patch"] = part
		media["schema"] = ref(name + ".Patch")
	}
}

// choices are the fields of a oneof.
func choices(oneOf []any) []string {
	var names []string
	for _, option := range oneOf {
		required, _ := option.(object)["required"].([]any)
		for _, name := range required {
			names = append(names, name.(string))
		}
	}
	return names
}

// snake is a name as protos spell it.
var snake = regexp.MustCompile(`\b[a-z][a-z0-9]*(_[a-z0-9]+)+\b`)

// learnFields takes in the names of all fields and parameters of one document.
func (d *document) learnFields(text []byte) error {
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		return err
	}
	walk(doc, func(o object) {
		properties, _ := o["properties"].(object)
		for name := range properties {
			d.fields[name] = true
		}
		if o["in"] != nil {
			d.fields[nameOf(o)] = true
		}
	})
	return nil
}

// respell makes descriptions speak of fields as JSON spells them, and joins lines that the proto file had to break.
func (d *document) respell(v any) {
	walk(v, func(o object) {
		for _, key := range []string{"description", "summary"} {
			if text, ok := o[key].(string); ok {
				o[key] = d.spelled(text)
			}
		}
	})
}

func (d *document) spelled(text string) string {
	return snake.ReplaceAllStringFunc(unwrap(text), func(s string) string {
		if camel := camelCase(s); d.fields[camel] {
			return camel
		}
		return s
	})
}

// camelCase is a proto field's name as in JSON.
func camelCase(name string) string {
	parts := strings.Split(name, "_")
	for i := range parts[1:] {
		parts[i+1] = capital(parts[i+1])
	}
	return strings.Join(parts, "")
}

// prune drops types that nothing refers to.
func (d *document) prune() {
	used := map[string]bool{}
	var follow func(v any)
	follow = func(v any) {
		walk(v, func(o object) {
			to, _ := o["$ref"].(string)
			name, ok := strings.CutPrefix(to, "#/components/schemas/")
			if ok && !used[name] {
				used[name] = true
				follow(d.schemas[name])
			}
		})
	}
	follow(d.paths)
	follow(errorResponse)
	for _, name := range slices.Collect(maps.Keys(d.schemas)) {
		if !used[name] {
			delete(d.schemas, name)
		}
	}
}
