package top

import (
	"time"
)

// column is one of a view. The last ones are left out where the terminal is narrow.
type column struct {
	head  string
	width int
	right bool
}

// row is one line of a view.
type row struct {
	key   string // names it from sample to sample
	cells []string
	order []any // what each of the view's sorts compares: float64, int64 or string
	mood  mood  // how it looks
}

// mood is how a row looks.
type mood int

const (
	calm mood = iota
	good
	bad
)

// sorting is one way to sort a view.
type sorting struct {
	name    string
	falling bool // the largest first
}

// view is one of the tables.
type view struct {
	name    string
	columns []column
	sorts   []sorting
	rows    func(pair, time.Time) []row
}

// views are in the order of their keys.
var views = [...]view{
	{
		"sessions",
		[]column{
			{"USER", 16, false},
			{"TENANT", 10, false},
			{"PROTOCOL", 10, false},
			{"ADDRESS", 15, false},
			{"IN b/s", 7, true},
			{"OUT b/s", 7, true},
			{"TIME", 7, true},
			{"TOTAL", 8, true},
			{"CLIENT", 21, false},
			{"CIPHER", 18, false},
			{"DROPS", 7, true},
			{"SESSION", 20, false},
		},
		[]sorting{{"traffic", true}, {"total", true}, {"user", false}, {"tenant", false}, {"newest", true}, {"drops", true}},
		sessionRows,
	},
	{
		"shards",
		[]column{
			{"SHARD", 5, true},
			{"SESSIONS", 8, true},
			{"CPU", 6, true},
			{"IN p/s", 9, true},
			{"OUT p/s", 9, true},
			{"DROPS/s", 9, true},
			{"DROPS", 10, true},
			{"WRONG", 8, true},
		},
		[]sorting{{"shard", false}, {"CPU", true}, {"packets", true}, {"drops", true}},
		shardRows,
	},
	{
		"drops",
		[]column{{"REASON", 28, false}, {"PER SECOND", 10, true}, {"TOTAL", 12, true}, {"BY SHARD", 26, false}},
		[]sorting{{"rate", true}, {"total", true}, {"reason", false}},
		dropRows,
	},
	{
		"RADIUS",
		[]column{
			{"TENANT", 10, false},
			{"SERVER", 12, false},
			{"STATE", 7, false},
			{"ROUND TRIP", 10, true},
			{"ASKED/s", 7, true},
			{"LOST/s", 6, true},
			{"ADDRESS", 15, false},
			{"LAST ERROR", 40, false},
		},
		[]sorting{{"state", false}, {"tenant", false}, {"requests", true}, {"round trip", true}},
		serverRows,
	},
	{
		"accounting",
		[]column{
			{"TENANT", 14, false},
			{"UNSENT", 8, true},
			{"OLDEST", 8, true},
			{"LIVE", 6, true},
			{"SENT/s", 8, true},
			{"FAILURES", 8, true},
			{"DROPPED", 8, true},
			{"LAST ERROR", 40, false},
		},
		[]sorting{{"unsent", true}, {"tenant", false}, {"failures", true}},
		queueRows,
	},
	{
		"log-ins",
		[]column{
			{"TIME", 8, false},
			{"TENANT", 10, false},
			{"USER", 16, false},
			{"OUTCOME", 8, false},
			{"REASON", 22, false},
			{"STAGE", 14, false},
			{"CLIENT", 21, false},
			{"DETAIL", 40, false},
		},
		[]sorting{{"newest", true}, {"user", false}, {"tenant", false}, {"outcome", true}},
		loginRows,
	},
}
