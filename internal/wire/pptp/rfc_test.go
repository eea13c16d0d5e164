package pptp

import (
	"bufio"
	"encoding/binary"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// rfcField is one field of a message as the RFC draws it.
type rfcField struct {
	name     string
	off, len int
}

func (f rfcField) reserved() bool { return strings.HasPrefix(f.name, "Reserved") }

type rfcMessage struct {
	name   string
	fields []rfcField // without the header
	size   int
}

// rfcMessages reads the transcription of RFC 2637 section 2.
func rfcMessages(tb testing.TB) map[Type]rfcMessage {
	tb.Helper()
	f, err := os.Open("testdata/rfc2637-2.txt")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	all := map[Type]rfcMessage{}
	var t Type
	for sc := bufio.NewScanner(f); sc.Scan(); {
		words := strings.Fields(sc.Text())
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if strings.HasPrefix(words[0], "2.") {
			n, err := strconv.Atoi(words[1])
			if err != nil {
				tb.Fatal(err)
			}
			t = Type(n)
			all[t] = rfcMessage{name: words[2]}
			continue
		}
		n, err := strconv.Atoi(words[len(words)-1])
		if err != nil {
			tb.Fatal(err)
		}
		m := all[t]
		if words[0] != "header" {
			m.fields = append(m.fields, rfcField{strings.Join(words[:len(words)-1], " "), m.size, n})
		}
		m.size += n
		all[t] = m
	}
	return all
}

func TestRFC2637Section2Sizes(t *testing.T) {
	all := rfcMessages(t)
	if len(all) != 15 {
		t.Fatalf("the transcription has %d messages", len(all))
	}
	longest := 0
	for typ, m := range all {
		if typ.Size() != m.size || typ.String() != m.name {
			t.Errorf("type %d is %s of %d octets, the RFC has %s of %d", uint16(typ), typ, typ.Size(), m.name, m.size)
		}
		longest = max(longest, m.size)
	}
	if longest != MaxSize {
		t.Errorf("MaxSize = %d, the longest message has %d octets", MaxSize, longest)
	}
	for _, typ := range []Type{0, 16, 0xffff} {
		if typ.Size() != 0 {
			t.Errorf("type %d has a size", uint16(typ))
		}
	}
}

// TestRFC2637Section2Fields fills each message with octets that are all different, and compares every field of the parsed
// value with the octets at the place where the RFC draws it.
func TestRFC2637Section2Fields(t *testing.T) {
	for typ, m := range rfcMessages(t) {
		b := make([]byte, m.size)
		for i := range b {
			b[i] = byte(i)
		}
		putHeader(b, typ)
		msg, err := Parse(b)
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		v := reflect.ValueOf(msg)
		next := 0
		for _, f := range m.fields {
			if f.reserved() {
				continue
			}
			if next == v.NumField() {
				t.Errorf("%s has no field %s", m.name, f.name)
				continue
			}
			want := b[f.off : f.off+f.len]
			var got []byte
			switch x := v.Field(next); x.Kind() {
			case reflect.Uint8:
				got = []byte{byte(x.Uint())}
			case reflect.Uint16:
				got = binary.BigEndian.AppendUint16(nil, uint16(x.Uint()))
			case reflect.Uint32:
				got = binary.BigEndian.AppendUint32(nil, uint32(x.Uint()))
			case reflect.Array:
				for i := range x.Len() {
					got = append(got, byte(x.Index(i).Uint()))
				}
			default:
				t.Fatalf("%s: field of kind %s", m.name, x.Kind())
			}
			if string(got) != string(want) {
				t.Errorf("%s, %s: %x, want %x", m.name, f.name, got, want)
			}
			next++
		}
		if next != v.NumField() {
			t.Errorf("%s has %d fields, the RFC %d", m.name, v.NumField(), next)
		}
	}
}

func putHeader(b []byte, t Type) {
	binary.BigEndian.PutUint16(b, uint16(len(b)))
	binary.BigEndian.PutUint16(b[2:], 1)
	binary.BigEndian.PutUint32(b[4:], 0x1a2b3c4d)
	binary.BigEndian.PutUint16(b[8:], uint16(t))
	binary.BigEndian.PutUint16(b[10:], 0)
}
