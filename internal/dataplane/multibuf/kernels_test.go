package multibuf

import "testing"

func TestPortable(t *testing.T) {
	before := Kernels()
	undo := Portable()
	if got := Kernels(); got != "std" {
		t.Errorf("kernels %q, want std", got)
	}
	undo()
	if got := Kernels(); got != before {
		t.Errorf("kernels %q after all, want %q", got, before)
	}
}
