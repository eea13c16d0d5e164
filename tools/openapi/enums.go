package main

import (
	"regexp"
	"strings"
)

// enumComments has, for the full name of each enum value, the comment above it.
type enumComments map[string]string

// What of a proto file counts here.
var (
	packageLine = regexp.MustCompile(`^package ([a-z0-9_.]+);`)
	opening     = regexp.MustCompile(`^\s*(message|enum|service|rpc|oneof)? ?([A-Za-z0-9]*).*\{$`)
	enumValue   = regexp.MustCompile(`^\s*([A-Z][A-Z0-9_]*) = [0-9]+`)
)

// read takes the comments of one proto file in. The files are formatted by buf: a block opens at the end of a line and
// closes on one of its own.
func (c enumComments) read(text []byte) error {
	var scope, comment []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		bare := strings.TrimSpace(line)
		if m := packageLine.FindStringSubmatch(line); m != nil {
			scope = []string{m[1]}
		}
		if rest, ok := strings.CutPrefix(bare, "//"); ok {
			comment = append(comment, strings.TrimSpace(rest))
			continue
		}
		switch m := enumValue.FindStringSubmatch(line); {
		case m != nil:
			c[strings.Join(scope, ".")+"."+m[1]] = strings.Join(comment, " ")
		case strings.HasSuffix(bare, "{"):
			scope = append(scope, opening.FindStringSubmatch(line)[2])
		case strings.HasPrefix(bare, "}") && len(scope) > 1:
			scope = scope[:len(scope)-1]
		}
		comment = nil
	}
	return nil
}

// describeEnums adds to each enum's description what its values mean.
func (d *document) describeEnums(values enumComments) {
	for name, s := range d.schemas {
		s := s.(object)
		enum, ok := s["enum"].([]any)
		if !ok {
			continue
		}
		text, _ := s["description"].(string)
		for _, v := range enum {
			if comment := values[name+"."+v.(string)]; comment != "" {
				text += "\n\n" + v.(string) + ": " + d.spelled(comment)
			}
		}
		s["description"] = text
	}
}
