package automaton

import (
	"fmt"
	"testing"
)

// While a request of ours waits, an answer counts only with that request's identifier: with all others the very same
// options change nothing.
func TestKnownIdentifiers(t *testing.T) {
	for _, answer := range []string{"02%02x0007010309", "03%02x0007010304", "04%02x0007010309"} {
		l := newLayer(nil)
		l.m.Open(epoch)
		l.m.Up(epoch)
		l.receive(t, epoch, "01500007010307")
		l.take()
		for id := range 256 {
			if id == 1 {
				continue
			}
			l.receive(t, epoch, fmt.Sprintf(answer, id))
			if got := l.take(); len(got) != 0 || l.m.State() != AckSent {
				t.Fatalf(answer+": %q, state %s", id, got, l.m.State())
			}
		}
		l.receive(t, epoch, fmt.Sprintf(answer, 1))
		if got := l.take(); len(got) == 0 {
			t.Errorf(answer+" is not heard", 1)
		}
	}
}
