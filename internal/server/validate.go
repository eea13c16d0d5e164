package server

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"concentrator/internal/server/query"
)

// checkRules holds a request against the rules of the proto files: lengths, ranges, patterns. What needs more than the one field
// to be decided, or has to be parsed anyway, is checked where it is used. The error is a BadRequest with a violation for each
// field, spelled as in JSON.
func checkRules(req proto.Message) error {
	err := protovalidate.Validate(req)
	if err == nil {
		return nil
	}
	var invalid *protovalidate.ValidationError
	if !errors.As(err, &invalid) {
		return fmt.Errorf("rules of %s: %w", req.ProtoReflect().Descriptor().FullName(), err)
	}
	var bad fieldErrors
	for _, v := range invalid.Violations {
		b := breachOf(req, v)
		bad.add(b.path, "%s", b.text())
	}
	return bad.err()
}

// breach is a rule that a request breaks.
type breach struct {
	rule    string // as in "string.max_len"
	message string // the rule's own
	path    string // as fieldErrors spells it: from the resource, if the request holds one
	field   protoreflect.FieldDescriptor
	element bool // about one element of the list that the field is
	value   protoreflect.Value
	limit   protoreflect.Value // what the rule says
}

func breachOf(req proto.Message, v *protovalidate.Violation) breach {
	b := breach{rule: v.Proto.GetRuleId(), message: v.Proto.GetMessage(), value: v.FieldValue, limit: v.RuleValue}
	md := req.ProtoReflect().Descriptor()
	elements := v.Proto.GetField().GetElements()
	for i, e := range elements {
		fd := md.Fields().ByNumber(protoreflect.FieldNumber(e.GetFieldNumber()))
		if fd == nil {
			break
		}
		b.field, b.element, md = fd, e.HasIndex(), fd.Message()
		if i == 0 && md != nil && !fd.IsList() && len(elements) > 1 && isResource(md) {
			continue
		}
		if b.path != "" {
			b.path += "."
		}
		b.path += fd.JSONName()
		if b.element {
			b.path = at(b.path, int(e.GetIndex()))
		}
	}
	return b
}

// text says what is wrong with the value and what would be right. The value itself stands there unless it is a secret.
func (b breach) text() string {
	if b.field == nil {
		return b.message
	}
	rules, _ := proto.GetExtension(b.field.Options(), validate.E_Field).(*validate.FieldRules)
	zero := rules.GetIgnore() == validate.Ignore_IGNORE_IF_ZERO_VALUE
	if b.element {
		rules = rules.GetRepeated().GetItems()
	}
	switch {
	case b.rule == "string.max_len":
		return fmt.Sprintf("has %d characters, at most %d are allowed", utf8.RuneCountInString(b.value.String()), b.limit.Uint())
	case b.rule == "string.max_bytes", b.rule == "string.min_bytes":
		n, least, most := len(b.value.String()), rules.GetString().GetMinBytes(), rules.GetString().GetMaxBytes()
		if least == 0 {
			return fmt.Sprintf("has %d octets, at most %d are allowed", n, most)
		}
		return fmt.Sprintf("has %d octets, must have %d to %d", n, least, most)
	case b.rule == "string.uuid":
		return fmt.Sprintf("%q is not a UUID such as 123e4567-e89b-42d3-a456-426614174000", b.value.String())
	case b.rule == "repeated.max_items":
		return fmt.Sprintf("has %d entries, at most %d are allowed", b.value.List().Len(), b.limit.Uint())
	case b.rule == "enum.defined_only":
		return fmt.Sprintf("%d is none of %s", b.value.Enum(), query.Words(b.field.Enum().Values()))
	case b.rule == "int32.in":
		return fmt.Sprintf("%d is none of %s", b.value.Int(), listed(rules.GetInt32().GetIn()))
	case strings.HasPrefix(b.rule, "int32."):
		return rangeText(b.value.Int(), int64(rules.GetInt32().GetGte()), int64(rules.GetInt32().GetLte()), zero)
	case strings.HasPrefix(b.rule, "int64."):
		return rangeText(b.value.Int(), rules.GetInt64().GetGte(), rules.GetInt64().GetLte(), zero)
	}
	return b.shown() + b.message
}

// rangeText is for a whole number that is out of its range; most is 0 if there is no upper end.
func rangeText(n, least, most int64, zero bool) string {
	switch {
	case most == 0 && least == 0:
		return fmt.Sprintf("is %d, must not be negative", n)
	case most == 0:
		return fmt.Sprintf("is %d, must be at least %d", n, least)
	case zero:
		return fmt.Sprintf("is %d, must be %d to %d, or 0", n, least, most)
	}
	return fmt.Sprintf("is %d, must be %d to %d", n, least, most)
}

func listed[T any](list []T) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = fmt.Sprint(v)
	}
	return strings.Join(texts, ", ")
}

// shown begins the text for a rule that has its own words.
func (b breach) shown() string {
	switch {
	case query.WriteOnly(b.field) || b.field.IsList() && !b.element:
		return ""
	case b.field.Kind() == protoreflect.StringKind:
		return fmt.Sprintf("%q ", b.value.String())
	case b.field.Message() == nil:
		return ""
	}
	if d, ok := b.value.Message().Interface().(*durationpb.Duration); ok {
		return "is " + query.Seconds(d.AsDuration()) + ", "
	}
	return ""
}

// isResource says whether a type is one of the API's resources.
func isResource(md protoreflect.MessageDescriptor) bool {
	return proto.HasExtension(md.Options(), annotations.E_Resource)
}
