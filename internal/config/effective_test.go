package config

import (
	"reflect"
	"testing"

	"sigs.k8s.io/yaml"
)

// What Effective says, read as a file, is the same configuration again: every key of the full file, and no default is lost.
func TestEffective(t *testing.T) {
	all, err := parse("f", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Config{"full": all, "default": Default()} {
		text, err := yaml.Marshal(c.Effective())
		if err != nil {
			t.Fatal(err)
		}
		again, err := parse("f", text)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
		if !reflect.DeepEqual(again, c) {
			t.Errorf("%s: got  %+v\nwant %+v", name, again, c)
		}
	}
}
