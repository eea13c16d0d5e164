package query

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Bounds of a filter: a stranger chooses it, and it is held against every resource of a list.
const (
	maxFilter      = 2048 // octets
	maxFilterDepth = 16   // of parentheses and NOT
	maxFilterTerms = 64   // comparisons
)

// Filter says which resources of a list, a watch or a bulk call are meant, as in google.aip.dev/160. It is safe for concurrent
// use. The nil filter means all of them.
type Filter struct{ holds condition }

// condition is one part of a filter, compiled for one type.
type condition func(protoreflect.Message) bool

// ParseFilter reads a filter over messages of one type; nil for "". Fields are those that the API shows, spelled as in JSON or as
// in the proto file. The error names the place, and what would be right.
func ParseFilter(md protoreflect.MessageDescriptor, text string) (*Filter, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > maxFilter {
		return nil, fmt.Errorf("has %d octets, at most %d are allowed", len(text), maxFilter)
	}
	p := filterParser{scanner: filterScanner{text: text}, md: md}
	holds, err := p.parse()
	if err != nil {
		return nil, err
	}
	return &Filter{holds}, nil
}

// Matches says whether m, which must be of the filter's type, is meant.
func (f *Filter) Matches(m proto.Message) bool {
	return f == nil || f.holds(m.ProtoReflect())
}
