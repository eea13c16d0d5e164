package server

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"concentrator/internal/server/query"
)

// fixed are the fields that an update does not change: it finds its resource by name and guards it by etag, and
// the rest is output only. A mask may name them, as one made from a whole resource does.
var fixed = []protoreflect.Name{"name", "etag", "create_time", "update_time", "usage"}

// path is one path of a mask, resolved.
type path []protoreflect.FieldDescriptor

// resolveMask turns an update mask into paths of m's type. Names may be spelled as in proto or as in JSON; REST clients
// send the latter in the query. No mask means the fields that m has set, "*" means all (AIP-134).
func resolveMask(mask *fieldmaskpb.FieldMask, m proto.Message) ([]path, error) {
	r := m.ProtoReflect()
	var paths []path
	if len(mask.GetPaths()) == 0 {
		return setFields(r, nil), nil
	}
	if slices.Equal(mask.GetPaths(), []string{""}) && len(setFields(r, nil)) == 0 {
		return nil, nil // the gateway makes this of a body that has no field
	}
	if slices.Contains(mask.GetPaths(), "*") {
		if len(mask.GetPaths()) > 1 {
			return nil, invalid("updateMask", `"*" stands alone`)
		}
		for _, fd := range fieldsOf(r.Descriptor()) {
			paths = append(paths, path{fd})
		}
		return paths, nil
	}
	for _, text := range mask.GetPaths() {
		p, err := resolvePath(r.Descriptor(), text)
		if err != nil {
			return nil, err
		}
		if p != nil {
			paths = append(paths, p)
		}
	}
	return paths, nil
}

func resolvePath(md protoreflect.MessageDescriptor, text string) (path, error) {
	var p path
	at := md
	for name := range strings.SplitSeq(text, ".") {
		if at == nil {
			return nil, invalid("updateMask", "%q: %s has no fields of its own; name it as a whole", text, p[len(p)-1].JSONName())
		}
		fd := at.Fields().ByName(protoreflect.Name(name))
		if fd == nil {
			fd = at.Fields().ByJSONName(name)
		}
		if fd == nil {
			names := fieldsOf(at)
			known := make([]string, len(names))
			for i, n := range names {
				known[i] = n.JSONName()
			}
			return nil, invalid("updateMask", "%q: no field %q; there are %s", text, name, strings.Join(known, ", "))
		}
		if p == nil && slices.Contains(fixed, fd.Name()) {
			return nil, nil
		}
		p = append(p, fd)
		at = query.Children(fd)
	}
	return p, nil
}

// fieldsOf lists the fields of a type that an update may change.
func fieldsOf(md protoreflect.MessageDescriptor) []protoreflect.FieldDescriptor {
	var list []protoreflect.FieldDescriptor
	for i := range md.Fields().Len() {
		if fd := md.Fields().Get(i); !slices.Contains(fixed, fd.Name()) {
			list = append(list, fd)
		}
	}
	return list
}

// setFields lists the paths of what r has set, down to single fields.
func setFields(r protoreflect.Message, prefix path) []path {
	var list []path
	for _, fd := range fieldsOf(r.Descriptor()) {
		if !r.Has(fd) {
			continue
		}
		p := append(slices.Clone(prefix), fd)
		if query.Children(fd) != nil {
			list = append(list, setFields(r.Get(fd).Message(), p)...)
			continue
		}
		list = append(list, p)
	}
	return list
}

// applyMask copies what paths name from src to dst, which are of one type; what src has not set is cleared.
func applyMask(dst, src proto.Message, paths []path) {
	for _, p := range paths {
		d, s := dst.ProtoReflect(), src.ProtoReflect()
		for _, fd := range p[:len(p)-1] {
			if !s.Has(fd) && !d.Has(fd) {
				break // nothing to copy and nothing to clear below
			}
			d, s = d.Mutable(fd).Message(), s.Get(fd).Message()
		}
		last := p[len(p)-1]
		if d.Descriptor() != last.ContainingMessage() {
			continue
		}
		if s.Has(last) {
			d.Set(last, s.Get(last))
		} else {
			d.Clear(last)
		}
	}
}
