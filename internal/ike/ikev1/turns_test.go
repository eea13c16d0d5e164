package ikev1

import (
	"slices"
	"testing"
)

// Strangers come behind all others, but in time, and leave a worker free.
func TestTurns(t *testing.T) {
	var q turns
	q.init(4)
	q.limit = 1
	var order []string
	name := map[*strand]string{}
	put := func(n string, stranger bool) {
		s := newStrand()
		s.stranger = stranger
		name[s] = n
		q.put(s)
	}
	take := func() *strand {
		s := q.take()
		order = append(order, name[s])
		return s
	}
	put("a", true)
	put("b", true)
	put("1", false)
	put("2", false)
	take()
	take()
	a := take()
	if s := q.take(); s != nil || q.empty() {
		t.Errorf("a second worker is given to strangers, or nobody waits")
	}
	put("3", false)
	take()
	q.done(a)
	q.done(take())
	if want := []string{"1", "2", "a", "3", "b"}; !slices.Equal(order, want) || !q.empty() {
		t.Errorf("the order was %q, want %q", order, want)
	}
	// Who is known can't keep strangers waiting for ever.
	put("stranger", true)
	for range 2 * strangersTurn {
		put("known", false)
	}
	order = nil
	for !slices.Contains(order, "stranger") && len(order) <= strangersTurn {
		take()
	}
	if len(order) > strangersTurn {
		t.Errorf("a stranger waits behind %d others", len(order))
	}
}
