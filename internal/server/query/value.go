package query

import (
	"cmp"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Full names of the two messages that are compared as values.
const (
	timestampType = "google.protobuf.Timestamp"
	durationType  = "google.protobuf.Duration"
)

// isMoment says whether a field holds a time or a duration.
func isMoment(fd protoreflect.FieldDescriptor) bool {
	if fd.Message() == nil {
		return false
	}
	name := fd.Message().FullName()
	return name == timestampType || name == durationType
}

// secondsOf reads the message of a time or a duration: seconds and nanoseconds.
func secondsOf(v protoreflect.Value) (seconds, nanos int64) {
	m := v.Message()
	fields := m.Descriptor().Fields()
	return m.Get(fields.ByNumber(1)).Int(), m.Get(fields.ByNumber(2)).Int()
}

// ordered says whether a comparator asks which one is greater.
func ordered(op string) bool { return strings.ContainsAny(op, "<>") }

// compared says whether the outcome of a comparison, as of cmp.Compare, is what the comparator asks for.
func compared(op string, outcome int) bool {
	switch op {
	case "<":
		return outcome < 0
	case "<=":
		return outcome <= 0
	case ">":
		return outcome > 0
	case ">=":
		return outcome >= 0
	case "!=":
		return outcome != 0
	}
	return outcome == 0
}

// test compiles the comparison of one value of a field.
func (p *filterParser) test(fd protoreflect.FieldDescriptor, op string, v operand) (func(protoreflect.Value) bool, error) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return p.testText(op, v)
	case protoreflect.BoolKind:
		return p.testBool(fd, op, v)
	case protoreflect.EnumKind:
		return p.testEnum(fd, op, v)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind,
		protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return p.testInt(fd, op, v)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind,
		protoreflect.FloatKind, protoreflect.DoubleKind:
		return p.testFloat(fd, op, v)
	case protoreflect.MessageKind:
		switch fd.Message().FullName() {
		case timestampType:
			return p.testTime(op, v)
		case durationType:
			return p.testDuration(op, v)
		}
	case protoreflect.BytesKind, protoreflect.GroupKind:
	}
	return nil, p.scanner.errorAt(v.pos, "%s can't be compared with a value", fd.JSONName())
}

func (p *filterParser) testText(op string, v operand) (func(protoreflect.Value) bool, error) {
	switch {
	case ordered(op) && v.wild():
		return nil, p.scanner.errorAt(v.pos, "%s takes no wildcards; = does", op)
	case ordered(op):
		return func(s protoreflect.Value) bool { return compared(op, cmp.Compare(s.String(), v.text)) }, nil
	}
	want := op != "!="
	return func(s protoreflect.Value) bool { return globs(v.parts, s.String()) == want }, nil
}

// globs says whether a text is the parts in their order, with anything between them.
func globs(parts []string, s string) bool {
	last := len(parts) - 1
	if last == 0 {
		return s == parts[0]
	}
	s, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1:last] {
		if _, s, ok = strings.Cut(s, part); !ok {
			return false
		}
	}
	return strings.HasSuffix(s, parts[last])
}

// unordered refuses < and the like for what has no order.
func (p *filterParser) unordered(fd protoreflect.FieldDescriptor, op string, v operand) error {
	if ordered(op) {
		return p.scanner.errorAt(v.pos, "%s has no order, so %s can't be asked; = and != can", fd.JSONName(), op)
	}
	return nil
}

func (p *filterParser) testBool(fd protoreflect.FieldDescriptor, op string, v operand) (func(protoreflect.Value) bool, error) {
	if err := p.unordered(fd, op, v); err != nil {
		return nil, err
	}
	if v.text != "true" && v.text != "false" {
		return nil, p.scanner.errorAt(v.pos, "%q is neither true nor false", v.text)
	}
	want := (v.text == "true") == (op != "!=")
	return func(b protoreflect.Value) bool { return b.Bool() == want }, nil
}

func (p *filterParser) testEnum(fd protoreflect.FieldDescriptor, op string, v operand) (func(protoreflect.Value) bool, error) {
	if err := p.unordered(fd, op, v); err != nil {
		return nil, err
	}
	value := fd.Enum().Values().ByName(protoreflect.Name(v.text))
	if value == nil {
		return nil, p.scanner.errorAt(v.pos, "%q is none of %s", v.text, Words(fd.Enum().Values()))
	}
	want := op != "!="
	return func(e protoreflect.Value) bool { return (e.Enum() == value.Number()) == want }, nil
}

// testInt compares whole numbers, exactly if the operand is one.
func (p *filterParser) testInt(fd protoreflect.FieldDescriptor, op string, v operand) (func(protoreflect.Value) bool, error) {
	if n, err := strconv.ParseInt(v.text, 10, 64); err == nil {
		return func(i protoreflect.Value) bool { return compared(op, cmp.Compare(i.Int(), n)) }, nil
	}
	n, err := p.float(fd, v)
	return func(i protoreflect.Value) bool { return compared(op, cmp.Compare(float64(i.Int()), n)) }, err
}

func (p *filterParser) testFloat(fd protoreflect.FieldDescriptor, op string, v operand) (func(protoreflect.Value) bool, error) {
	n, err := p.float(fd, v)
	value := func(f protoreflect.Value) float64 { return f.Float() }
	if k := fd.Kind(); k != protoreflect.FloatKind && k != protoreflect.DoubleKind {
		value = func(u protoreflect.Value) float64 { return float64(u.Uint()) }
	}
	return func(f protoreflect.Value) bool { return compared(op, cmp.Compare(value(f), n)) }, err
}

func (p *filterParser) float(fd protoreflect.FieldDescriptor, v operand) (float64, error) {
	n, err := strconv.ParseFloat(v.text, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, p.scanner.errorAt(v.pos, "%q is not a number, as %s is", v.text, fd.JSONName())
	}
	return n, nil
}

func (p *filterParser) testTime(op string, v operand) (func(protoreflect.Value) bool, error) {
	t, err := time.Parse(time.RFC3339Nano, v.text)
	if err != nil {
		return nil, p.scanner.errorAt(v.pos, "%q is not a time such as 2030-01-31T00:00:00Z", v.text)
	}
	return testSeconds(op, t.Unix(), int64(t.Nanosecond())), nil
}

func (p *filterParser) testDuration(op string, v operand) (func(protoreflect.Value) bool, error) {
	d, err := ParseSeconds(v.text)
	if err != nil {
		return nil, p.scanner.errorAt(v.pos, "%v", err)
	}
	return testSeconds(op, int64(d/time.Second), int64(d%time.Second)), nil
}

func testSeconds(op string, seconds, nanos int64) func(protoreflect.Value) bool {
	return func(v protoreflect.Value) bool {
		s, n := secondsOf(v)
		return compared(op, cmp.Or(cmp.Compare(s, seconds), cmp.Compare(n, nanos)))
	}
}
