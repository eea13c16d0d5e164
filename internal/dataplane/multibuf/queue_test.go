package multibuf

import (
	"slices"
	"testing"
)

func TestQueue(t *testing.T) {
	var q queue
	for range 2 { // the second time it is not new
		q.reset()
		for i, add := range []struct{ group, class int }{{0, 3}, {1, 0}, {0, 7}, {0, 3}, {0, 100}, {2, 0}} {
			q.add(i, add.group, add.class)
		}
		if want := [3]int{4, 1, 1}; q.count != want {
			t.Errorf("counts %v, want %v", q.count, want)
		}
		for group, want := range [][]int{{4, 2, 3, 0, -1, -1}, {1, -1}, {5, -1}} {
			var got []int
			for range want {
				got = append(got, q.take(group))
			}
			if !slices.Equal(got, want) {
				t.Errorf("group %d: packets %v, want %v", group, got, want)
			}
		}
	}
}
