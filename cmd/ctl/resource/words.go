package resource

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"concentrator/cmd/ctl/env"
	"concentrator/internal/manifest"
)

// words lists the values of an enum for people: A, B or C.
func words(e protoreflect.Enum) string { return either(manifest.EnumNames(e.Descriptor())) }

func either(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// setWord sets a field of an enum by a word in any case. The flag is called as the field; "" sets nothing.
func setWord(m protoreflect.Message, field protoreflect.Name, word string) error {
	f := m.Descriptor().Fields().ByName(field)
	if word == "" || f == nil {
		return nil
	}
	v := f.Enum().Values().ByName(protoreflect.Name(strings.ToUpper(word)))
	if v == nil || v.Number() == 0 {
		return fmt.Errorf("%w: --%s %q is not %s", env.ErrUsage, strings.ReplaceAll(string(field), "_", "-"), word,
			either(manifest.EnumNames(f.Enum())))
	}
	m.Set(f, protoreflect.ValueOfEnum(v.Number()))
	return nil
}

// Word is the value of an enum that a word in any case names, for the flag of that name; "" is 0.
func Word[E interface {
	~int32
	protoreflect.Enum
}](flag, word string) (E, error) {
	var zero E
	if word == "" {
		return zero, nil
	}
	v := zero.Descriptor().Values().ByName(protoreflect.Name(strings.ToUpper(word)))
	if v == nil || v.Number() == 0 {
		return zero, fmt.Errorf("%w: --%s %q is not %s", env.ErrUsage, flag, word, words(zero))
	}
	return E(v.Number()), nil
}
