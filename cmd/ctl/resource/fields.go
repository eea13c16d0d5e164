package resource

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"concentrator/cmd/ctl/env"
	"concentrator/internal/manifest"
)

// fields are the flags of create and update: one for each field that a caller may set. Fields of a message inside are
// spelled with a dot: --limits.max-sessions.
type fields struct {
	flags *pflag.FlagSet
	all   []field
}

type field struct {
	flag string
	path []protoreflect.FieldDescriptor
}

func (f field) last() protoreflect.FieldDescriptor { return f.path[len(f.path)-1] }

func addFields(cmd *cobra.Command, e *env.Env, k manifest.Kind) *fields {
	f := &fields{flags: cmd.Flags()}
	f.add(k.New().ProtoReflect().Descriptor(), nil)
	for _, fd := range f.all {
		completeField(cmd, e, fd.flag, fd.last())
	}
	return f
}

func (f *fields) add(m protoreflect.MessageDescriptor, path []protoreflect.FieldDescriptor) {
	for i := range m.Fields().Len() {
		fd := m.Fields().Get(i)
		if manifest.Behaves(fd, annotations.FieldBehavior_OUTPUT_ONLY) || len(path) == 0 && (fd.Name() == "name" || fd.Name() == "etag") {
			continue
		}
		at := append(append([]protoreflect.FieldDescriptor(nil), path...), fd)
		// Messages of our own are opened; those of google.protobuf have a text form, as in JSON.
		if own := fd.Message() != nil && strings.HasPrefix(string(fd.Message().FullName()), "concentrator."); own && !fd.IsList() && !fd.IsMap() {
			f.add(fd.Message(), at)
			continue
		}
		flag := flagName(at)
		f.all = append(f.all, field{flag, at})
		f.flags.String(flag, "", hint(fd))
		if fd.Kind() == protoreflect.BoolKind && !fd.IsList() {
			f.flags.Lookup(flag).NoOptDefVal = "true"
		}
	}
}

// flagName spells a path of fields as a flag: limits.maxSessions is limits.max-sessions.
func flagName(path []protoreflect.FieldDescriptor) string {
	var parts []string
	for _, p := range path {
		parts = append(parts, strings.ReplaceAll(string(p.Name()), "_", "-"))
	}
	return strings.Join(parts, ".")
}

// hint says what a flag takes.
func hint(f protoreflect.FieldDescriptor) string {
	what := map[protoreflect.Kind]string{
		protoreflect.BoolKind: "true or false", protoreflect.StringKind: "text",
		protoreflect.Int32Kind: "number", protoreflect.Int64Kind: "number",
	}[f.Kind()]
	switch {
	case f.Enum() != nil:
		what = strings.Join(manifest.EnumNames(f.Enum()), " or ")
	case f.Message() != nil && f.Message().FullName() == "google.protobuf.Duration":
		what = "seconds, as 30s"
	case f.Message() != nil && f.Message().FullName() == "google.protobuf.Timestamp":
		what = "time, as 2030-01-31T12:00:00Z"
	case f.Message() != nil:
		what = "JSON"
	}
	if f.IsList() {
		if f.Message() != nil {
			return "JSON list"
		}
		what += ", several by commas"
	}
	if manifest.Behaves(f, annotations.FieldBehavior_INPUT_ONLY) {
		what += "; @FILE or @- (standard input) keeps it off the command line"
	}
	return what
}

// resource makes the resource that the flags describe, and the mask of the fields that were given.
func (f *fields) resource(e *env.Env, k manifest.Kind, name string) (proto.Message, []string, error) {
	doc := map[string]any{"name": name}
	var mask []string
	for _, fd := range f.all {
		if !f.flags.Changed(fd.flag) {
			continue
		}
		given, err := f.flags.GetString(fd.flag)
		if err != nil {
			return nil, nil, fmt.Errorf("--%s: %w", fd.flag, err)
		}
		if manifest.Behaves(fd.last(), annotations.FieldBehavior_INPUT_ONLY) {
			if given, err = e.Secret(given); err != nil {
				return nil, nil, fmt.Errorf("--%s: %w", fd.flag, err)
			}
		}
		v, err := value(fd.last(), given)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: --%s: %w", env.ErrUsage, fd.flag, err)
		}
		if err := f.readable(k, fd, v); err != nil {
			return nil, nil, err
		}
		at, path := doc, make([]string, len(fd.path))
		for i, p := range fd.path {
			path[i] = string(p.Name())
			if i == len(fd.path)-1 {
				at[p.JSONName()] = v
				break
			}
			next, ok := at[p.JSONName()].(map[string]any)
			if !ok {
				next = make(map[string]any)
				at[p.JSONName()] = next
			}
			at = next
		}
		mask = append(mask, strings.Join(path, "."))
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, nil, fmt.Errorf("make %s: %w", name, err)
	}
	r := k.New()
	if err := protojson.Unmarshal(text, r); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", env.ErrUsage, manifest.Explain(err, text, r.ProtoReflect().Descriptor()))
	}
	return r, mask, nil
}

// readable says whether a flag's value alone is one of its field, so that an error can name the flag.
func (f *fields) readable(k manifest.Kind, fd field, v any) error {
	for i := len(fd.path) - 1; i >= 0; i-- {
		v = map[string]any{fd.path[i].JSONName(): v}
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("--%s: %w", fd.flag, err)
	}
	r := k.New()
	if err = protojson.Unmarshal(text, r); err == nil {
		return nil
	}
	said := manifest.Explain(err, text, r.ProtoReflect().Descriptor()).Error()
	// What is said begins with the field, in full or by its last name, if it names it at all.
	if flag, rest, ok := strings.Cut(said, ": "); ok {
		if at := f.flagOf(flag); at != "" {
			return fmt.Errorf("%w: %s: %s", env.ErrUsage, at, rest)
		}
		if flag == fd.last().JSONName() {
			said = rest
		}
	}
	return fmt.Errorf("%w: --%s: %s", env.ErrUsage, fd.flag, said)
}

// value turns a flag's text into what protojson takes for the field. An empty list is "".
func value(f protoreflect.FieldDescriptor, given string) (any, error) {
	if f.IsList() {
		if given == "" {
			return []any{}, nil
		}
		if f.Message() != nil || strings.HasPrefix(given, "[") {
			var list []any
			if err := json.Unmarshal([]byte(given), &list); err != nil {
				return nil, fmt.Errorf("%s: no JSON list: %w", given, err)
			}
			return list, nil
		}
		var list []any
		for s := range strings.SplitSeq(given, ",") {
			v, err := single(f, strings.TrimFunc(s, unicode.IsSpace))
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	}
	return single(f, given)
}

func single(f protoreflect.FieldDescriptor, given string) (any, error) {
	switch f.Kind() {
	case protoreflect.BoolKind:
		if given != "true" && given != "false" {
			return nil, fmt.Errorf("%q is not true or false", given)
		}
		return given == "true", nil
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return json.Number(given), number(given)
	}
	return given, nil
}

func number(s string) error {
	if s == "" || strings.Trim(s, "0123456789-") != "" {
		return fmt.Errorf("%q is no whole number", s)
	}
	return nil
}
