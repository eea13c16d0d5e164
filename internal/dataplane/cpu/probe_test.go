//go:build amd64 && !purego

package cpu

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestProbe compares with what Linux found, which also leaves out what it doesn't save the registers of.
func TestProbe(t *testing.T) {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Skip(err)
	}
	_, text, ok := strings.Cut(string(b), "\nflags")
	if !ok {
		t.Skip("no flags in cpuinfo")
	}
	text, _, _ = strings.Cut(text, "\n")
	flags := strings.Fields(text)
	has := func(name string) bool { return slices.Contains(flags, name) && slices.Contains(flags, "avx") }
	want := Features{AES: has("aes"), AVX2: has("avx2"), VAES: has("aes") && has("avx2") && has("vaes"), SHA: has("sha_ni")}
	if got := Probe(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
