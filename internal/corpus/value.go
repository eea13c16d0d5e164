package corpus

import (
	"fmt"
	"strconv"
	"strings"
)

// integers are the sizes of integers, in bits, and whether they have a sign.
var integers = map[string]struct {
	bits   int
	signed bool
	as     func(signed int64, unsigned uint64) any
}{
	"int":    {strconv.IntSize, true, func(i int64, _ uint64) any { return int(i) }},
	"int8":   {8, true, func(i int64, _ uint64) any { return int8(i) }},
	"int16":  {16, true, func(i int64, _ uint64) any { return int16(i) }},
	"int32":  {32, true, func(i int64, _ uint64) any { return int32(i) }},
	"int64":  {64, true, func(i int64, _ uint64) any { return i }},
	"uint":   {strconv.IntSize, false, func(_ int64, u uint64) any { return uint(u) }},
	"uint8":  {8, false, func(_ int64, u uint64) any { return uint8(u) }},
	"uint16": {16, false, func(_ int64, u uint64) any { return uint16(u) }},
	"uint32": {32, false, func(_ int64, u uint64) any { return uint32(u) }},
	"uint64": {64, false, func(_ int64, u uint64) any { return u }},
}

// parseValue reads one line of an entry: a conversion of a literal, as the go command writes it.
func parseValue(line string) (any, error) {
	typ, rest, ok := strings.Cut(line, "(")
	text, closed := strings.CutSuffix(rest, ")")
	if !ok || !closed {
		return nil, fmt.Errorf("%q is not a value", clip(line))
	}
	v, err := literal(typ, text)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", clip(line), err)
	}
	return v, nil
}

func literal(typ, text string) (any, error) {
	switch typ {
	case "[]byte":
		s, err := strconv.Unquote(text)
		return []byte(s), err
	case "string":
		return strconv.Unquote(text)
	case "bool":
		return strconv.ParseBool(text)
	case "byte":
		c, _, rest, err := strconv.UnquoteChar(strings.TrimPrefix(text, "'"), '\'')
		if err != nil || rest != "'" || c > 0xff {
			return nil, fmt.Errorf("%s is not a byte", clip(text))
		}
		return byte(c), nil
	}
	n, ok := integers[typ]
	if !ok {
		return nil, fmt.Errorf("values of type %q can't be kept", clip(typ))
	}
	if n.signed {
		i, err := strconv.ParseInt(text, 0, n.bits)
		return n.as(i, 0), err
	}
	u, err := strconv.ParseUint(text, 0, n.bits)
	return n.as(0, u), err
}

// formatValue is the opposite of parseValue.
func formatValue(v any) string {
	switch v := v.(type) {
	case []byte:
		return fmt.Sprintf("[]byte(%q)", v)
	case string:
		return fmt.Sprintf("string(%q)", v)
	case byte:
		return fmt.Sprintf("byte(%q)", v)
	default:
		return fmt.Sprintf("%T(%v)", v, v)
	}
}

// clip shortens what an error shows.
func clip(s string) string {
	const most = 60
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
