package server

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Bounds of a filter: a stranger chooses it, and it is held against every resource of a list.
const (
	maxFilter      = 2048 // octets
	maxFilterDepth = 16   // of parentheses and NOT
	maxFilterTerms = 64   // comparisons
)

// filter says which resources of a list, a watch or a bulk call are meant, as in google.aip.dev/160. It is safe for concurrent
// use. The nil filter means all of them.
type filter struct{ holds condition }

// condition is one part of a filter, compiled for one type.
type condition func(protoreflect.Message) bool

// newFilter reads a filter over messages of one type; nil for "". Fields are those that the API shows, spelled as in JSON or as
// in the proto file. The error is a violation of the field "filter" that names the place, and what would be right.
func newFilter(md protoreflect.MessageDescriptor, text string) (*filter, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > maxFilter {
		return nil, invalid("filter", "has %d octets, at most %d are allowed", len(text), maxFilter)
	}
	p := filterParser{scanner: filterScanner{text: text}, md: md}
	holds, err := p.parse()
	if err != nil {
		return nil, invalid("filter", "%v", err)
	}
	return &filter{holds}, nil
}

// matches says whether m, which must be of the filter's type, is meant.
func (f *filter) matches(m proto.Message) bool {
	return f == nil || f.holds(m.ProtoReflect())
}
