package main

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// The generator names path parameters after proto fields, so that one path appears under several spellings
// ("/v1/tenants/{name}/users/{name_1}" and "/v1/tenants/{user.name}/users/{user.name_1}"). Here they are named after
// the collection before them ("/v1/tenants/{tenant}/users/{user}"), and the spellings become one path.

// parameter is a collection and the variable that stands for one of its members, as in "users/{user.name_1}".
var parameter = regexp.MustCompile(`([A-Za-z]+)s/\{([^}]+)\}`)

// addPath puts the calls of one path into the document, under its readable spelling.
func (d *document) addPath(path string, operations map[string]object) error {
	names := map[string]string{} // the generator's → ours
	path = parameter.ReplaceAllStringFunc(path, func(s string) string {
		m := parameter.FindStringSubmatch(s)
		names[m[2]] = m[1]
		return m[1] + "s/{" + m[1] + "}"
	})
	at, _ := d.paths[path].(object)
	if at == nil {
		at = object{}
		d.paths[path] = at
	}
	for method, op := range operations {
		if at[method] != nil {
			return fmt.Errorf("two operations for %s %s", method, path)
		}
		parameters, _ := op["parameters"].([]any)
		for _, p := range parameters {
			p := p.(object)
			if name, ok := names[p["name"].(string)]; ok && p["in"] == "path" {
				p["name"] = name
				p["description"] = pathDescription(name, p["description"])
			}
		}
		nameOperation(op, path)
		describeAnswers(op, path)
		at[method] = op
	}
	return nil
}

// pathDescription says what to put into a path.
func pathDescription(name string, before any) string {
	text := "The last part of the " + words(name) + "'s name, decoded: it is percent-encoded for the path as any parameter is."
	if s, _ := before.(string); name == "tenant" && strings.Contains(s, "tenants/-") {
		text += " \"-\" stands for all tenants."
	}
	return text
}

// words is a name in camel case as words.
func words(name string) string {
	var b strings.Builder
	for _, r := range name {
		if unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// nameOperation names a call as gRPC does. Where a method has a second path, for what stands under no tenant, that call has
// a name of its own: GetInstanceOperation beside GetOperation.
func nameOperation(op object, path string) {
	_, method, _ := strings.Cut(op["operationId"].(string), "_")
	method, _, second := strings.Cut(method, "_")
	op["operationId"] = method
	if second {
		i := strings.IndexFunc(method[1:], unicode.IsUpper) + 1
		op["operationId"] = method[:i] + "Instance" + method[i:]
	}
	tags := op["tags"].([]any)
	tags[0] = tagName(tags[0].(string))

	text, _ := op["summary"].(string)
	text = capital(strings.TrimPrefix(text, method+" "))
	summary, rest := firstSentence(text)
	op["summary"] = summary
	if second && !strings.HasPrefix(path, "/v1/tenants") {
		rest = strings.TrimSpace(rest + "\n\nThis is the same call without a tenant in its path.")
	}
	if rest != "" {
		op["description"] = rest
	}
}

// tagName is the noun of a service.
func tagName(service string) string { return strings.TrimSuffix(service, "Service") }

func capital(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// sentenceEnd is where a sentence ends and another begins.
var sentenceEnd = regexp.MustCompile(`\.\s+[A-Z]`)

// firstSentence splits a text behind its first sentence. Line breaks within are those of the proto file, and mean nothing.
func firstSentence(text string) (first, rest string) {
	if at := sentenceEnd.FindStringIndex(text); at != nil {
		first, rest = text[:at[0]], strings.TrimSpace(text[at[0]+1:])
	} else {
		first = strings.TrimSuffix(text, ".")
	}
	return unwrap(first), unwrap(rest)
}

// unwrap joins lines that a proto file had to break. An empty line still parts paragraphs.
func unwrap(text string) string {
	paragraphs := strings.Split(text, "\n\n")
	for i, p := range paragraphs {
		paragraphs[i] = strings.Join(strings.Fields(p), " ")
	}
	return strings.Join(paragraphs, "\n\n")
}
