package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"sigs.k8s.io/yaml"
)

// maxFile bounds the text of all documents, octets.
const maxFile = 64 << 20

// Document is one resource as a file wants it.
type Document struct {
	Kind     Kind
	Name     string
	Resource proto.Message
	Line     int // of the document's begin, from 1
	file     string
}

// String says which document it is, as errors name it.
func (d Document) String() string {
	return fmt.Sprintf("%s:%d: %s %s", d.file, d.Line, d.Kind.Name, d.Name)
}

// Parse reads YAML documents. file is for messages. Its error joins one for each wrong document, which names the
// document, the field and what would be right.
func Parse(file string, data []byte) ([]Document, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: %d octets, at most %d are read", file, len(data), maxFile)
	}
	var docs []Document
	var errs []error
	seen := make(map[string]int)
	for _, part := range splitDocuments(data) {
		d, err := parseDocument(file, part)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if d == nil {
			continue
		}
		if line, ok := seen[d.Name]; ok {
			errs = append(errs, fmt.Errorf("%s: stands in the file already, at line %d", d, line))
			continue
		}
		seen[d.Name] = d.Line
		docs = append(docs, *d)
	}
	slices.SortStableFunc(docs, func(a, b Document) int { return a.Kind.rank - b.Kind.rank })
	return docs, errors.Join(errs...)
}

type part struct {
	line int
	text []byte
}

// splitDocuments cuts a stream at its document markers; YAML lets "---" stand at a line's begin for nothing else.
func splitDocuments(data []byte) []part {
	var parts []part
	begin := part{line: 1}
	line := 0
	for l := range bytes.Lines(data) {
		line++
		if bytes.Equal(bytes.TrimRight(l, " \t\r\n"), []byte("---")) || bytes.HasPrefix(l, []byte("--- ")) {
			parts = append(parts, begin)
			begin = part{line: line + 1}
			if rest, ok := bytes.CutPrefix(l, []byte("--- ")); ok {
				begin = part{line: line, text: slices.Clone(rest)}
			}
			continue
		}
		begin.text = append(begin.text, l...)
	}
	return append(parts, begin)
}

func parseDocument(file string, p part) (*Document, error) {
	at := fmt.Sprintf("%s:%d", file, p.line)
	text, err := yaml.YAMLToJSONStrict(p.text)
	if err != nil {
		return nil, fmt.Errorf("%s: no YAML: %w", at, err)
	}
	if string(text) == "null" {
		return nil, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, fmt.Errorf("%s: a document is a map of fields that begins with kind and name", at)
	}
	var kind, name string
	if err := json.Unmarshal(fields["kind"], &kind); err != nil {
		return nil, fmt.Errorf("%s: kind: missing or no text, want one of %s", at, strings.Join(order, ", "))
	}
	k, err := KindOf(kind)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	if err := json.Unmarshal(fields["name"], &name); err != nil {
		return nil, fmt.Errorf("%s: %s: name: missing or no text, want %s", at, kind, k.Pattern)
	}
	d := &Document{Kind: k, Name: name, Resource: k.New(), Line: p.line, file: file}
	if err := k.checkName(name); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	delete(fields, "kind")
	rest, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	if err := protojson.Unmarshal(rest, d.Resource); err != nil {
		return nil, fmt.Errorf("%s: %w", d, Explain(err, rest, d.Resource.ProtoReflect().Descriptor()))
	}
	return d, nil
}

var (
	positions    = regexp.MustCompile(`^(proto:\s*)?\(line \d+:\d+\):\s*`)
	unknownField = regexp.MustCompile(`unknown field "([^"]+)"`)
	unknownEnum  = regexp.MustCompile(`invalid value for enum field ([A-Za-z0-9_]+): "?([^"]*)"?`)
	badDuration  = regexp.MustCompile(`invalid google\.protobuf\.Duration value "([^"]*)"`)
	badTime      = regexp.MustCompile(`invalid google\.protobuf\.Timestamp value "([^"]*)"`)
	badText      = regexp.MustCompile(`invalid value for string field ([A-Za-z0-9_]+): (.*)`)
)

// Explain turns protojson's words about doc, JSON that nobody wrote, into what is wrong with a resource of type m and what would
// be right.
func Explain(err error, doc []byte, m protoreflect.MessageDescriptor) error {
	text := positions.ReplaceAllString(strings.ReplaceAll(err.Error(), "\u00a0", " "), "")
	if f := unknownField.FindStringSubmatch(text); f != nil {
		var v any
		if json.Unmarshal(doc, &v) == nil {
			if where := misplaced(v, m, ""); where != nil {
				return where
			}
		}
		return fmt.Errorf("%s: no such field; there are %s", f[1], strings.Join(fieldNames(m), ", "))
	}
	if f := unknownEnum.FindStringSubmatch(text); f != nil {
		if e := findEnum(m, f[1], 0); e != nil {
			return fmt.Errorf("%s: %q is not one of %s", f[1], f[2], strings.Join(EnumNames(e), ", "))
		}
	}
	if f := badDuration.FindStringSubmatch(text); f != nil {
		return inSeconds(f[1])
	}
	if f := badTime.FindStringSubmatch(text); f != nil {
		return fmt.Errorf("%q is not a time such as 2030-01-31T12:00:00Z", f[1])
	}
	if f := badText.FindStringSubmatch(text); f != nil {
		return fmt.Errorf("%s: %s is no text; put it in quotes", f[1], f[2])
	}
	return errors.New(text)
}

// misplaced finds the first field of v, which is a message of type m in JSON, that is none, and says where and what there is.
func misplaced(v any, m protoreflect.MessageDescriptor, at string) error {
	switch v := v.(type) {
	case []any:
		for i := range v {
			if err := misplaced(v[i], m, fmt.Sprintf("%s[%d]", strings.TrimSuffix(at, "."), i)+"."); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			f := m.Fields().ByJSONName(key)
			if f == nil {
				f = m.Fields().ByName(protoreflect.Name(key))
			}
			if f == nil {
				return fmt.Errorf("%s%s: no such field; there are %s", at, key, strings.Join(fieldNames(m), ", "))
			}
			if f.Message() == nil || f.IsMap() || f.Message().ParentFile().Package() != m.ParentFile().Package() {
				continue // those of google.protobuf have a form of their own
			}
			if err := misplaced(v[key], f.Message(), at+key+"."); err != nil {
				return err
			}
		}
	}
	return nil
}

// inSeconds says what is wrong with a duration, and how it is spelled: seconds and nothing else.
func inSeconds(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is not a duration in seconds such as 20s", text)
	}
	return fmt.Errorf("%q is not in seconds; write %ss", text, strconv.FormatFloat(d.Seconds(), 'f', -1, 64))
}

func fieldNames(m protoreflect.MessageDescriptor) []string {
	var names []string
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		if !outputOnly(f) {
			names = append(names, f.JSONName())
		}
	}
	return names
}

// findEnum looks for an enum field by its JSON name, in the message or what it holds.
func findEnum(m protoreflect.MessageDescriptor, name string, depth int) protoreflect.EnumDescriptor {
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		if f.Enum() != nil && (f.JSONName() == name || string(f.Name()) == name) {
			return f.Enum()
		}
		if f.Message() != nil && depth < 4 {
			if e := findEnum(f.Message(), name, depth+1); e != nil {
				return e
			}
		}
	}
	return nil
}

// EnumNames lists the values of an enum that may be given.
func EnumNames(e protoreflect.EnumDescriptor) []string {
	var names []string
	for i := range e.Values().Len() {
		if v := e.Values().Get(i); v.Number() != 0 {
			names = append(names, string(v.Name()))
		}
	}
	return names
}
