//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// kernelCase is what kernelmppe says of one case.
type kernelCase struct {
	Name                                             string
	Bits                                             int
	Stateful                                         bool
	Sent, Lost, Delivered, Unreadable, Resets, Flags int
	Millis                                           int64
	Error                                            string
}

func (c kernelCase) String() string {
	return fmt.Sprintf("%d bits, stateful %t, %s: %d sent, %d lost (%d of them flag packets), %d delivered, %d unreadable, %d resets, %d ms",
		c.Bits, c.Stateful, c.Name, c.Sent, c.Lost, c.Flags, c.Delivered, c.Unreadable, c.Resets, c.Millis)
}

// TestKernelMPPE has the dataplane's MPPE talk with the kernel's, 128 and 40 bits, stateless and stateful, with losses,
// Reset-Requests and replays. No client reaches stateful mode from the kernel's side.
func TestKernelMPPE(t *testing.T) {
	t.Parallel()
	checkKernelMPPE(t, 1500)
}

// checkKernelMPPE runs kernelmppe in a guest. It checks every packet itself; here is checked that it did all of it.
func checkKernelMPPE(t *testing.T, packets int) {
	g := borrow(t, 1)[0]
	build := exec.Command("go", "build", "-tags=interop", "-o", g.Dir+"/", "concentrator/test/interop/kernelmppe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	out, status, err := g.Sh(ctx, fmt.Sprintf("modprobe ppp_synctty && /lab/kernelmppe -packets %d >/lab/kernelmppe.json", packets))
	if err != nil || status != 0 {
		t.Fatalf("kernelmppe ended with status %d, %v\n%s", status, err, out)
	}
	text, err := os.ReadFile(filepath.Join(g.Dir, "kernelmppe.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []kernelCase
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}

	type mode struct {
		bits     int
		stateful bool
	}
	done := map[mode]int{}
	for _, c := range cases {
		t.Log(c)
		done[mode{c.Bits, c.Stateful}]++
		switch {
		case c.Error != "":
			t.Errorf("%s", c.Error)
		case c.Sent != c.Lost+c.Delivered+c.Unreadable:
			t.Error("it doesn't add up")
		}
		switch c.Name {
		case "kernel to us", "us to kernel":
			if c.Sent != packets || c.Delivered != packets {
				t.Errorf("%d of %d packets delivered, want all of %d", c.Delivered, c.Sent, packets)
			}
		case "kernel to us, packets lost", "us to kernel, packets lost":
			if c.Sent != packets || c.Lost < packets/50 || c.Flags < 3 {
				t.Errorf("%d of %d packets lost, %d of them flag packets", c.Lost, c.Sent, c.Flags)
			}
			if !c.Stateful && c.Unreadable+c.Resets != 0 {
				t.Error("stateless MPPE must get over a loss at once")
			}
			if c.Stateful && (c.Resets < packets/100 || c.Delivered < packets/3) {
				t.Error("too few Reset-Requests, or they don't help")
			}
		case "replay", "no Reset-Ack":
		default:
			t.Errorf("unknown case %q", c.Name)
		}
	}
	for m, want := range map[mode]int{{128, false}: 5, {128, true}: 6, {40, false}: 5, {40, true}: 6} {
		if done[m] != want {
			t.Errorf("%d bits, stateful %t: %d cases, want %d", m.bits, m.stateful, done[m], want)
		}
	}
}
