package query

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// fieldBySpelling finds a field by its name in JSON or in the proto file; nil if there is none.
func fieldBySpelling(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if fd := md.Fields().ByJSONName(name); fd != nil {
		return fd
	}
	return md.Fields().ByName(protoreflect.Name(name))
}

// shownFields lists the fields of a type that are shown, for errors.
func shownFields(md protoreflect.MessageDescriptor) string {
	var names []string
	for i := range md.Fields().Len() {
		if fd := md.Fields().Get(i); !WriteOnly(fd) {
			names = append(names, fd.JSONName())
		}
	}
	return strings.Join(names, ", ")
}

// compile makes the condition that a comparison stands for.
func (p *filterParser) compile(field []segment, op string, v operand) (condition, error) {
	p.field = pathOf(field)
	return p.below(p.md, field, op, v)
}

// pathOf spells the path of a field.
func pathOf(field []segment) string {
	parts := make([]string, len(field))
	for i, s := range field {
		parts[i] = s.text
	}
	return strings.Join(parts, ".")
}

// below compiles a comparison with a field of md, or further down.
func (p *filterParser) below(md protoreflect.MessageDescriptor, field []segment, op string, v operand) (condition, error) {
	at, rest := field[0], field[1:]
	fd := fieldBySpelling(md, at.text)
	switch {
	case fd == nil:
		return nil, p.scanner.errorAt(at.pos, "no field %q; there are %s", at.text, shownFields(md))
	case WriteOnly(fd):
		return nil, p.scanner.errorAt(at.pos, "%s is never shown, so nothing can be asked about it", fd.JSONName())
	case fd.IsMap():
		return p.inMap(fd, at, rest, op, v)
	case fd.IsList():
		return p.inList(fd, at, rest, op, v)
	case fd.Message() == nil || isMoment(fd):
		if len(rest) > 0 {
			return nil, p.scanner.errorAt(rest[0].pos, "%s has no fields of its own", fd.JSONName())
		}
		return p.single(fd, op, v)
	case len(rest) == 0:
		if op != ":" || !v.isStar() {
			return nil, p.scanner.errorAt(at.pos, "%s", hasFields(fd))
		}
		return func(m protoreflect.Message) bool { return m.Has(fd) }, nil
	case Children(fd) == nil:
		return nil, p.scanner.errorAt(rest[0].pos, "%s", hasFields(fd))
	}
	inner, err := p.below(fd.Message(), rest, op, v)
	if err != nil {
		return nil, err
	}
	return func(m protoreflect.Message) bool { return m.Has(fd) && inner(m.Get(fd).Message()) }, nil
}

// hasFields says what can be asked of a message.
func hasFields(fd protoreflect.FieldDescriptor) string {
	name := fd.JSONName()
	text := name + ":* asks whether there is one"
	if fd.Message().FullName().Parent() != "google.protobuf" {
		text = name + " is compared by its fields " + shownFields(fd.Message()) + "; " + text
	}
	return text
}

// single compiles a comparison with a field that has one value. What is unset and can be is neither equal nor unequal to anything.
func (p *filterParser) single(fd protoreflect.FieldDescriptor, op string, v operand) (condition, error) {
	if op == ":" && v.isStar() {
		return func(m protoreflect.Message) bool { return m.Has(fd) }, nil
	}
	test, err := p.test(fd, op, v)
	if err != nil {
		return nil, err
	}
	optional := fd.HasPresence()
	return func(m protoreflect.Message) bool { return (!optional || m.Has(fd)) && test(m.Get(fd)) }, nil
}

// inList compiles a question about the elements of a list: whether one of them is so.
func (p *filterParser) inList(
	fd protoreflect.FieldDescriptor, at segment, rest []segment, op string, v operand,
) (condition, error) {
	var test func(protoreflect.Value) bool
	switch {
	case op != ":":
		return nil, p.scanner.errorAt(at.pos, "%s is a list; %s asks whether the value is in it", fd.JSONName(), p.field+":VALUE")
	case len(rest) == 0 && v.isStar():
		return func(m protoreflect.Message) bool { return m.Get(fd).List().Len() > 0 }, nil
	case len(rest) == 0 && (fd.Message() == nil || isMoment(fd)):
		var err error
		if test, err = p.test(fd, op, v); err != nil {
			return nil, err
		}
	case elements(fd) == nil:
		return nil, p.scanner.errorAt(at.pos, "%s has no fields of its own", fd.JSONName())
	case len(rest) == 0:
		return nil, p.scanner.errorAt(at.pos, "the elements of %s are compared by their fields %s; %s:* asks whether there are any",
			fd.JSONName(), shownFields(fd.Message()), fd.JSONName())
	default:
		inner, err := p.below(fd.Message(), rest, op, v)
		if err != nil {
			return nil, err
		}
		test = func(v protoreflect.Value) bool { return inner(v.Message()) }
	}
	return func(m protoreflect.Message) bool {
		list := m.Get(fd).List()
		for i := range list.Len() {
			if test(list.Get(i)) {
				return true
			}
		}
		return false
	}, nil
}

// elements is the type of a list's elements, if it is one of ours.
func elements(fd protoreflect.FieldDescriptor) protoreflect.MessageDescriptor {
	if fd.Message() == nil || fd.Message().FullName().Parent() == "google.protobuf" {
		return nil
	}
	return fd.Message()
}

// inMap compiles a question about a map: whether it has a key, or what the value behind a key is.
func (p *filterParser) inMap(
	fd protoreflect.FieldDescriptor, at segment, rest []segment, op string, v operand,
) (condition, error) {
	if len(rest) == 0 {
		if op != ":" {
			return nil, p.scanner.errorAt(at.pos, "%s is a map; %s:KEY asks whether the key is in it, %s.KEY is the value behind a key",
				fd.JSONName(), at.text, at.text)
		}
		if v.isStar() {
			return func(m protoreflect.Message) bool { return m.Get(fd).Map().Len() > 0 }, nil
		}
		key, err := p.test(fd.MapKey(), op, v)
		if err != nil {
			return nil, err
		}
		return func(m protoreflect.Message) bool {
			found := false
			m.Get(fd).Map().Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
				found = key(k.Value())
				return !found
			})
			return found
		}, nil
	}
	if len(rest) > 1 || fd.MapKey().Kind() != protoreflect.StringKind {
		return nil, p.scanner.errorAt(rest[0].pos, "%s.KEY has no fields of its own; a key with a point stands in quotation marks", at.text)
	}
	key := protoreflect.ValueOfString(rest[0].text).MapKey()
	if op == ":" && v.isStar() {
		return func(m protoreflect.Message) bool { return m.Get(fd).Map().Has(key) }, nil
	}
	test, err := p.test(fd.MapValue(), op, v)
	if err != nil {
		return nil, err
	}
	return func(m protoreflect.Message) bool {
		value := m.Get(fd).Map().Get(key)
		return value.IsValid() && test(value)
	}, nil
}
