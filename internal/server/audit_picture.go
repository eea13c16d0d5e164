package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"concentrator/internal/server/query"
	"concentrator/internal/store"
)

const (
	// masked stands for a secret.
	masked = "***"
	// maxPictureText is the longest text that a picture holds as it is, in octets: certificates are longer.
	maxPictureText = 512
	// maxPicture is how large a picture may be, in octets of JSON.
	maxPicture = 32 << 10
)

// picture is a resource as the audit trail shows it: its JSON fields without those that no caller chooses, secrets as "***",
// long texts by their beginning and hash. nil: there is no resource.
type picture map[string]any

// pictureOf makes the picture of a record; nil for none.
func pictureOf[T store.Record, M message](k *resource[T, M], r *T) picture {
	if r == nil {
		return nil
	}
	m := proto.Clone(k.raw(r))
	for _, name := range fixed {
		if fd := m.ProtoReflect().Descriptor().Fields().ByName(name); fd != nil {
			m.ProtoReflect().Clear(fd)
		}
	}
	p := picture{}
	text, err := protojson.Marshal(m)
	if err != nil || json.Unmarshal(text, (*map[string]any)(&p)) != nil {
		return picture{} // can't be: what is stored came as JSON or protobuf
	}
	shorten(map[string]any(p))
	for _, field := range secretFields(r) {
		setField(p, field, masked)
	}
	return p
}

// secretFields lists a record's fields that hold a secret, an API token's token too, of which only the hash is kept.
func secretFields[T store.Record](r *T) []string {
	if token, ok := any(r).(*store.APIToken); ok && token.Hash != (store.Fingerprint{}) {
		return []string{"token"}
	}
	return store.SecretFields(r)
}

// changedSecrets lists the fields whose secrets two records do not have in common; nil is no record.
func changedSecrets[T store.Record](before, after *T) []string {
	a, ok := any(before).(*store.APIToken)
	if !ok {
		return store.ChangedSecrets(before, after)
	}
	b, _ := any(after).(*store.APIToken)
	var x, y store.Fingerprint
	if a != nil {
		x = a.Hash
	}
	if b != nil {
		y = b.Hash
	}
	if x == y {
		return nil
	}
	return []string{"token"}
}

// shorten cuts long texts and takes out what is empty, in place.
func shorten(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, e := range v {
			if e = shorten(e); isEmpty(e) {
				delete(v, key)
				continue
			}
			v[key] = e
		}
	case []any:
		for i, e := range v {
			v[i] = shorten(e)
		}
	case string:
		if len(v) > maxPictureText {
			sum := sha256.Sum256([]byte(v))
			return fmt.Sprintf("%s… (%d octets, SHA-256 %s)", strings.ToValidUTF8(v[:64], ""), len(v), hex.EncodeToString(sum[:]))
		}
	}
	return v
}

func isEmpty(v any) bool {
	m, ok := v.(map[string]any)
	return ok && len(m) == 0
}

// setField sets the field at a path as in "ipsec.psks[0].secret", and makes what it stands in.
func setField(m map[string]any, path, value string) {
	parts := strings.Split(path, ".")
	for _, part := range parts[:len(parts)-1] {
		next, ok := element(m, part).(map[string]any)
		if !ok {
			next = map[string]any{}
			setElement(m, part, next)
		}
		m = next
	}
	setElement(m, parts[len(parts)-1], value)
}

// maxList is how long a list of secrets may be, for an index into it.
const maxList = 1000

// index splits "psks[0]" into "psks" and 0; a name without an index has -1.
func index(part string) (name string, i int) {
	name, rest, ok := strings.Cut(part, "[")
	if !ok {
		return name, -1
	}
	i, err := strconv.Atoi(strings.TrimSuffix(rest, "]"))
	if err != nil || i < 0 || i > maxList {
		return name, -1
	}
	return name, i
}

func element(m map[string]any, part string) any {
	name, i := index(part)
	if i < 0 {
		return m[name]
	}
	if list, ok := m[name].([]any); ok && i < len(list) {
		return list[i]
	}
	return nil
}

func setElement(m map[string]any, part string, value any) {
	name, i := index(part)
	if i < 0 {
		m[name] = value
		return
	}
	list, _ := m[name].([]any)
	for len(list) <= i {
		list = append(list, nil)
	}
	list[i] = value
	m[name] = list
}

// comparison returns what an event holds of two pictures, and the fields that differ: those of secrets, which look alike,
// are given. Pictures that are too large show only those fields, or nothing.
func comparison(before, after picture, secrets []string) (b, a json.RawMessage, changed []string) {
	changed = differences(before, after, "")
	for _, path := range secrets {
		path, _, _ = strings.Cut(path, "[") // lists change as a whole
		changed = append(changed, path)
	}
	slices.Sort(changed)
	changed = slices.Compact(changed)
	return before.json(changed), after.json(changed), changed
}

// differences lists the paths of fields that differ; lists and what is no object are compared as a whole.
func differences(a, b map[string]any, prefix string) []string {
	var paths []string
	keys := maps.Clone(a)
	if keys == nil {
		keys = map[string]any{}
	}
	maps.Copy(keys, b)
	for key := range keys {
		x, xIs := a[key].(map[string]any)
		y, yIs := b[key].(map[string]any)
		switch {
		case (xIs || a[key] == nil) && (yIs || b[key] == nil):
			paths = append(paths, differences(x, y, prefix+key+".")...)
		case !reflect.DeepEqual(a[key], b[key]):
			paths = append(paths, prefix+key)
		}
	}
	return paths
}

// json is the picture as an event holds it.
func (p picture) json(changed []string) json.RawMessage {
	if p == nil {
		return nil
	}
	text, err := json.Marshal(p)
	if err == nil && len(text) > maxPicture {
		part := picture{}
		for _, path := range changed {
			name, _, _ := strings.Cut(path, ".")
			if v, ok := p[name]; ok {
				part[name] = v
			}
		}
		text, err = json.Marshal(part)
	}
	if err != nil || len(text) > maxPicture {
		return nil
	}
	return text
}

// wording is what a request asked for, as JSON without secrets and without what names the resource.
func wording(req any) string {
	m, ok := req.(proto.Message)
	if !ok {
		return ""
	}
	m = proto.Clone(m)
	hide(m.ProtoReflect(), 0)
	text, err := protojson.Marshal(m)
	if err != nil || len(text) <= len("{}") {
		return ""
	}
	var out bytes.Buffer
	if err := json.Compact(&out, text); err != nil { // protojson puts spaces in at random
		return ""
	}
	return out.String()
}

// hide masks what a request holds of secrets, and takes out its name and parent, in place.
func hide(m protoreflect.Message, depth int) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case depth == 0 && slices.Contains([]protoreflect.Name{"name", "parent", "etag", "request_id"}, fd.Name()):
			m.Clear(fd)
		case query.WriteOnly(fd) || fd.Kind() == protoreflect.BytesKind:
			m.Clear(fd)
			if !fd.IsList() && fd.Kind() == protoreflect.StringKind {
				m.Set(fd, protoreflect.ValueOfString(masked))
			}
		case fd.Message() != nil && !fd.IsMap() && !fd.IsList():
			hide(v.Message(), depth+1)
		case fd.Message() != nil && fd.IsList():
			for i := range v.List().Len() {
				hide(v.List().Get(i).Message(), depth+1)
			}
		}
		return true
	})
}

// readField returns the text at a path of field names; "" where there is none.
func readField(m protoreflect.Message, path string) string {
	outer, rest, nested := strings.Cut(path, ".")
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(outer))
	switch {
	case fd == nil || fd.IsList() || fd.IsMap():
		return ""
	case !nested && fd.Kind() == protoreflect.StringKind:
		return m.Get(fd).String()
	case !nested || fd.Message() == nil:
		return ""
	}
	return readField(m.Get(fd).Message(), rest)
}
