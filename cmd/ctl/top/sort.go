package top

import (
	"cmp"
	"slices"
	"strings"
)

// rows are those of the view that match the filter, sorted, and the key of the one that is selected: the first, if the one
// that was is gone.
func (m *model) rows() (rows []row, at string) {
	v := views[m.view]
	for _, r := range v.rows(m.samples, m.env.Time()) {
		if m.filter == "" || strings.Contains(strings.ToLower(strings.Join(r.cells, " ")), strings.ToLower(m.filter)) {
			rows = append(rows, r)
		}
	}
	by := m.sort[m.view]
	falling := v.sorts[by].falling != m.reverse
	slices.SortFunc(rows, func(a, b row) int {
		c := compare(a.order[by], b.order[by])
		if falling {
			c = -c
		}
		return cmp.Or(c, compare(a.key, b.key)) // one order for those that are equal, or they would jump about
	})
	if len(rows) > 0 {
		at = rows[0].key
	}
	if slices.ContainsFunc(rows, func(r row) bool { return r.key == m.at }) {
		at = m.at
	}
	return rows, at
}

// compare compares two values of the same kind.
func compare(a, b any) int {
	switch a := a.(type) {
	case float64:
		if b, ok := b.(float64); ok {
			return cmp.Compare(a, b)
		}
	case int64:
		if b, ok := b.(int64); ok {
			return cmp.Compare(a, b)
		}
	case string:
		if b, ok := b.(string); ok {
			return cmp.Compare(a, b)
		}
	}
	return 0
}
