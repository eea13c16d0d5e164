package netio

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"concentrator/internal/dataplane/netns"
)

// TestLook: which addresses a namespace has, whether their links are up, and that it is another one than before.
func TestLook(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	name := fmt.Sprintf("cctest-%d-look", os.Getpid())
	ip := func(args string) {
		t.Helper()
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	ip("netns add " + name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	ip("-n " + name + " link add near type veth peer name far")
	ip("-n " + name + " address add 192.0.2.1/24 dev near")
	a := netip.MustParseAddr("192.0.2.1")
	var first Sight
	for _, step := range []struct {
		do   string
		up   bool
		gone bool
	}{
		{do: "link set lo up"},
		{do: "link set near up"},
		{do: "link set far up", up: true},
		{do: "link set far down"},
		{do: "link set far up", up: true},
		{do: "link set near down"},
		{do: "link set near up", up: true},
		{do: "address del 192.0.2.1/24 dev near", gone: true},
	} {
		ip("-n " + name + " " + step.do)
		var s Sight
		for end := time.Now().Add(2 * time.Second); ; time.Sleep(time.Millisecond) { // the kernel takes notice a little later
			var err error
			if s, err = (Linux{}).Look(name); err != nil {
				t.Fatal(err)
			}
			if up, there := s.Up[a]; up == step.up && there != step.gone {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("after %s: %+v", step.do, s)
			}
		}
		if first.Namespace == 0 {
			first = s
		}
		if s.Namespace != first.Namespace {
			t.Errorf("after %s it is another namespace: %+v", step.do, s)
		}
	}
	ip("netns del " + name)
	if _, err := (Linux{}).Look(name); !errors.Is(err, netns.ErrNotFound) {
		t.Errorf("of a namespace that is gone: %v", err)
	}
	own, err := Linux{}.Look("")
	if err != nil || own.Namespace == 0 || own.Namespace == first.Namespace {
		t.Errorf("of our own: %+v, %v", own, err)
	}
}
