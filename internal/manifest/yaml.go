package manifest

import (
	"fmt"

	"sigs.k8s.io/yaml"
)

// ToYAML turns a JSON document into a YAML one with the same fields.
func ToYAML(json []byte) ([]byte, error) {
	out, err := yaml.JSONToYAML(json)
	if err != nil {
		return nil, fmt.Errorf("turn JSON into YAML: %w", err)
	}
	return out, nil
}

// Strict reads a YAML document into v. A key that v does not have, or that stands twice, is an error.
func Strict(data []byte, v any) error {
	if err := yaml.UnmarshalStrict(data, v); err != nil {
		return fmt.Errorf("no YAML as expected: %w", err)
	}
	return nil
}
