package wipe

import "reflect"

// Value sets what v points to to zero, unexported fields too: key schedules and hash states of the standard library, which
// offers no other way. What the value in its turn points to stays as it is. Of anything but a pointer, and of nil, it does
// nothing.
func Value(v any) {
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && !p.IsNil() {
		p.Elem().SetZero()
	}
}

// Bytes clears the octets in a field of the structure that v points to, exported or not. It returns false where there is no
// such field, as in another version of the library that v is of.
func Bytes(v any, field string) bool {
	f, ok := fieldOf(v, field)
	if !ok || f.Kind() != reflect.Slice || f.Type().Elem().Kind() != reflect.Uint8 {
		return false
	}
	clear(f.Bytes())
	return true
}

// BytesIn is Bytes for a field of the structure that a field of v points to.
func BytesIn(v any, pointer, field string) bool {
	p, ok := fieldOf(v, pointer)
	if !ok || p.Kind() != reflect.Pointer || p.IsNil() || p.Elem().Kind() != reflect.Struct {
		return false
	}
	f := p.Elem().FieldByName(field)
	if !f.IsValid() || f.Kind() != reflect.Slice || f.Type().Elem().Kind() != reflect.Uint8 {
		return false
	}
	clear(f.Bytes())
	return true
}

// fieldOf is a field of the structure that v points to.
func fieldOf(v any, name string) (reflect.Value, bool) {
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() || p.Elem().Kind() != reflect.Struct {
		return reflect.Value{}, false
	}
	f := p.Elem().FieldByName(name)
	return f, f.IsValid()
}
