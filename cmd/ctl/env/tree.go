package env

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"concentrator/internal/manifest"
)

// node is a key with a value, or with nodes below it.
type node struct {
	key, value string
	below      []node
}

// Tree shows all fields of a message for people, a line each, those of messages inside indented and each entry of a list in
// one line. Keys are those of JSON, and
// what is only ever given, as a password, is left out.
func (e *Env) Tree(m proto.Message) string {
	var b strings.Builder
	write(&b, e.nodes(m.ProtoReflect()), "")
	return b.String()
}

func write(b *strings.Builder, nodes []node, indent string) {
	width := 0
	for _, n := range nodes {
		if len(n.below) == 0 {
			width = max(width, len([]rune(Clean(n.key))))
		}
	}
	for _, n := range nodes {
		key := Clean(n.key)
		if len(n.below) > 0 {
			fmt.Fprintf(b, "%s%s\n", indent, key)
			write(b, n.below, indent+"  ")
			continue
		}
		value := Clean(n.value)
		if value == "" {
			value = "-"
		}
		fmt.Fprintf(b, "%s%s%s  %s\n", indent, key, strings.Repeat(" ", width-len([]rune(key))), value)
	}
}

// flat puts nodes into one line: what they say, each with its path.
func flat(nodes []node, path string) string {
	var parts []string
	for _, n := range nodes {
		switch {
		case len(n.below) > 0:
			parts = append(parts, flat(n.below, path+n.key+"."))
		case n.value != "":
			parts = append(parts, path+n.key+"="+n.value)
		}
	}
	return strings.Join(parts, "  ")
}

func (e *Env) nodes(m protoreflect.Message) (all []node) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if manifest.Behaves(f, annotations.FieldBehavior_INPUT_ONLY) {
			continue
		}
		all = append(all, e.field(m, f))
	}
	return all
}

// field is one field of a message.
func (e *Env) field(m protoreflect.Message, f protoreflect.FieldDescriptor) node {
	n := node{key: f.JSONName()}
	switch {
	case f.HasPresence() && !m.Has(f):
	case f.IsMap():
		m.Get(f).Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			n.below = append(n.below, node{key: k.String(), value: scalar(f.MapValue(), v)})
			return true
		})
		slices.SortFunc(n.below, func(a, b node) int { return strings.Compare(a.key, b.key) })
	case f.IsList() && f.Message() != nil:
		list := m.Get(f).List()
		for i := range list.Len() {
			n.below = append(n.below, node{key: fmt.Sprintf("[%d]", i), value: flat(e.nodes(list.Get(i).Message()), "")})
		}
	case f.Message() != nil:
		n.value, n.below = e.message(f, m.Get(f))
	default:
		n.value = text(m, f.Name())
	}
	return n
}

// message shows a message inside: one of google.protobuf by its text.
func (e *Env) message(f protoreflect.FieldDescriptor, v protoreflect.Value) (string, []node) {
	switch m := v.Message().Interface().(type) {
	case *timestamppb.Timestamp:
		return scalar(f, v) + e.ago(m.AsTime()), nil
	case *structpb.Struct:
		return "", structNodes(m.AsMap())
	case *durationpb.Duration:
		return scalar(f, v), nil
	}
	return "", e.nodes(v.Message())
}

// structNodes shows a map of any form, its keys in order.
func structNodes(m map[string]any) (all []node) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		n := node{key: key}
		switch v := m[key].(type) {
		case map[string]any:
			n.below = structNodes(v)
		case []any:
			texts := make([]string, len(v))
			for i := range v {
				texts[i] = plain(v[i])
			}
			n.value = strings.Join(texts, ",")
		case nil:
		default:
			n.value = plain(v)
		}
		all = append(all, n)
	}
	return all
}

// plain shows a value of JSON. A number is written out: 268435456, not 2.68e+08.
func plain(v any) string {
	if f, ok := v.(float64); ok {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// ago says how long a time is past or to come.
func (e *Env) ago(t time.Time) string {
	d := e.Time().Sub(t)
	switch {
	case d < 0:
		return " (in " + Span(-d) + ")"
	case d < time.Second:
		return " (now)"
	}
	return " (" + Span(d) + " ago)"
}

// Span shows a duration in its two largest units at most, as in "3d 4h".
func Span(d time.Duration) string {
	units := []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}}
	var parts []string
	for _, u := range units {
		if n := d / u.of; n > 0 && len(parts) < 2 {
			parts = append(parts, fmt.Sprintf("%d%s", n, u.name))
			d -= n * u.of
		} else if len(parts) > 0 {
			break
		}
	}
	if len(parts) == 0 {
		return "less than 1s"
	}
	return strings.Join(parts, " ")
}
