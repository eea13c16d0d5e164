package query

import (
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// WriteOnly says whether a field is never shown, so that nothing may be asked about it either.
func WriteOnly(fd protoreflect.FieldDescriptor) bool {
	list, _ := proto.GetExtension(fd.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return slices.Contains(list, annotations.FieldBehavior_INPUT_ONLY)
}

// Children is the type below a field if a mask can go further into it: not into lists, maps and google.protobuf.
func Children(fd protoreflect.FieldDescriptor) protoreflect.MessageDescriptor {
	if fd.IsList() || fd.IsMap() || fd.Message() == nil || fd.Message().FullName().Parent() == "google.protobuf" {
		return nil
	}
	return fd.Message()
}

// Words lists the values of an enum but the unset one.
func Words(values protoreflect.EnumValueDescriptors) string {
	var names []string
	for i := range values.Len() {
		if v := values.Get(i); v.Number() != 0 {
			names = append(names, string(v.Name()))
		}
	}
	return strings.Join(names, ", ")
}
