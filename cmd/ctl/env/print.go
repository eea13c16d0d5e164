package env

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"concentrator/internal/manifest"
)

// Column is one column of a table.
type Column struct {
	Head string
	Wide bool // only with -o wide
	// InName says that it shows a part of the resource name.
	InName bool
	Cell   func(protoreflect.Message) string
}

// Field makes a column of a field, by its name in the proto file; "a.b" is field b of the message in field a.
func Field(head, name string) Column {
	return Column{Head: head, Cell: func(m protoreflect.Message) string {
		path := strings.Split(name, ".")
		for _, outer := range path[:len(path)-1] {
			f := m.Descriptor().Fields().ByName(protoreflect.Name(outer))
			if f == nil || f.Message() == nil || f.IsList() || f.IsMap() {
				return ""
			}
			m = m.Get(f).Message()
		}
		return text(m, protoreflect.Name(path[len(path)-1]))
	}}
}

// OnlyWide moves a column to -o wide.
func (c Column) OnlyWide() Column { c.Wide = true; return c }

// Name makes a column of the last part of the resource name, or of one further to the front: 0 is the last, 1 is the
// tenant of a resource that stands below one.
func Name(head string, back int) Column {
	return Column{Head: head, InName: true, Cell: func(m protoreflect.Message) string {
		parts := strings.Split(text(m, "name"), "/")
		if i := len(parts) - 1 - 2*back; i >= 0 {
			return parts[i]
		}
		return ""
	}}
}

// FullName makes a column of the whole resource name.
func FullName(head string) Column {
	c := Field(head, "name")
	c.InName = true
	return c
}

// Count makes a column of how many entries a list has.
func Count(head, list string) Column {
	return Column{Head: head, Cell: func(m protoreflect.Message) string {
		f := m.Descriptor().Fields().ByName(protoreflect.Name(list))
		if f == nil || !f.IsList() {
			return ""
		}
		return strconv.Itoa(m.Get(f).List().Len())
	}}
}

// Part makes a column of one part of the resource name, counted from the front: 1 is the tenant of what stands below one.
func Part(head string, i int) Column {
	return Column{Head: head, InName: true, Cell: func(m protoreflect.Message) string {
		if parts := strings.Split(text(m, "name"), "/"); i < len(parts) {
			return parts[i]
		}
		return ""
	}}
}

// text shows a field: lists by commas, messages that have a text of their own by it, enums by name.
func text(m protoreflect.Message, name protoreflect.Name) string {
	f := m.Descriptor().Fields().ByName(name)
	if f == nil || f.HasPresence() && !m.Has(f) {
		return ""
	}
	v := m.Get(f)
	if f.IsList() {
		items := make([]string, v.List().Len())
		for i := range items {
			items[i] = scalar(f, v.List().Get(i))
		}
		return strings.Join(items, ",")
	}
	return scalar(f, v)
}

func scalar(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch {
	case f.Enum() != nil:
		if e := f.Enum().Values().ByNumber(v.Enum()); e != nil && e.Number() != 0 {
			return string(e.Name())
		}
		return ""
	case f.Message() != nil:
		if ts, ok := v.Message().Interface().(*timestamppb.Timestamp); ok {
			return ts.AsTime().Format(time.RFC3339)
		}
		if d, ok := v.Message().Interface().(*durationpb.Duration); ok {
			return seconds(d.AsDuration())
		}
		b, err := protojson.Marshal(v.Message().Interface())
		if err != nil {
			return ""
		}
		var out bytes.Buffer
		if json.Compact(&out, b) != nil { // its spaces are random
			return ""
		}
		return strings.Trim(out.String(), `"`)
	}
	return v.String()
}

// seconds shows a duration as the API spells it, but no finer than people want it: 277µs, 5.22s, 28800s.
func seconds(d time.Duration) string {
	if d.Abs() < time.Second {
		return d.Round(time.Microsecond).String()
	}
	return strconv.FormatFloat(d.Round(10*time.Millisecond).Seconds(), 'f', -1, 64) + "s"
}

// options print every field that has a default as well, so that a reader finds the same keys each time.
var options = protojson.MarshalOptions{EmitDefaultValues: true}

// encode makes YAML or, with indent, JSON of a message, with a line end. protojson puts spaces in at random: they are set
// here.
func (e *Env) encode(m proto.Message, indent string) ([]byte, error) {
	b, err := options.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("print: %w", err)
	}
	if e.output == "yaml" {
		if b, err = manifest.ToYAML(b); err != nil {
			return nil, fmt.Errorf("print: %w", err)
		}
		return b, nil
	}
	var out bytes.Buffer
	if indent == "" {
		err = json.Compact(&out, b)
	} else {
		err = json.Indent(&out, b, "", indent)
	}
	if err != nil {
		return nil, fmt.Errorf("print: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// Print shows one resource.
func (e *Env) Print(m proto.Message, columns []Column) error {
	return e.print(m, []protoreflect.Message{m.ProtoReflect()}, columns)
}

// People says whether the output is for people: a table.
func (e *Env) People() bool { return e.output == "table" || e.output == "wide" }

// Wide says whether the output is -o wide.
func (e *Env) Wide() bool { return e.output == "wide" }

// Names says whether the output is -o name.
func (e *Env) Names() bool { return e.output == "name" }

// PrintList shows a List response.
func (e *Env) PrintList(list proto.Message, columns []Column) error {
	return e.print(list, itemsOf(list), columns)
}

// Table is the table of a List response, whatever --output says, its lines indented.
func (e *Env) Table(list proto.Message, columns []Column, indent string) (string, error) {
	var b strings.Builder
	if err := e.tableTo(&b, itemsOf(list), columns); err != nil {
		return "", fmt.Errorf("print: %w", err)
	}
	return indent + strings.TrimRight(strings.ReplaceAll(b.String(), "\n", "\n"+indent), " "), nil
}

// itemsOf are the resources of a List response.
func itemsOf(list proto.Message) (items []protoreflect.Message) {
	r := list.ProtoReflect()
	for i := range r.Descriptor().Fields().Len() {
		if f := r.Descriptor().Fields().Get(i); f.IsList() && f.Message() != nil {
			l := r.Get(f).List()
			for j := range l.Len() {
				items = append(items, l.Get(j).Message())
			}
			break
		}
	}
	return items
}

func (e *Env) print(whole proto.Message, items []protoreflect.Message, columns []Column) error {
	switch e.output {
	case "json", "yaml":
		b, err := e.encode(whole, "  ")
		if err != nil {
			return err
		}
		_, err = e.Out.Write(b)
		return err
	case "name":
		for _, m := range items {
			if _, err := fmt.Fprintln(e.Out, text(m, "name")); err != nil {
				return err
			}
		}
		return nil
	}
	return e.table(items, columns)
}

func (e *Env) table(items []protoreflect.Message, columns []Column) error {
	return e.tableTo(e.Out, items, columns)
}

// tableTo writes a table; its errors are those of to.
func (e *Env) tableTo(to io.Writer, items []protoreflect.Message, columns []Column) error {
	w := tabwriter.NewWriter(to, 2, 0, 2, ' ', 0)
	row := func(cell func(Column) string) {
		var cells []string
		for _, c := range columns {
			if !c.Wide || e.output == "wide" {
				cells = append(cells, Clean(cell(c)))
			}
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), " "))
	}
	row(func(c Column) string { return c.Head })
	for _, m := range items {
		row(func(c Column) string {
			if s := c.Cell(m); s != "" {
				return s
			}
			return "-"
		})
	}
	return w.Flush()
}

// Clean makes a text fit for a terminal: what a client sent must not move its cursor.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// Event writes one message of a stream: a line of JSON, a document of YAML, or line for people.
func (e *Env) Event(m proto.Message, line string) error {
	if e.output == "json" || e.output == "yaml" {
		b, err := e.encode(m, "")
		if err != nil {
			return err
		}
		if e.output == "yaml" {
			b = append([]byte("---\n"), b...)
		}
		_, err = e.Out.Write(b)
		return err
	}
	if line == "" {
		return nil
	}
	_, err := fmt.Fprintln(e.Out, line)
	return err
}
