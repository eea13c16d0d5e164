package automaton

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

var actionNames = map[string]Actions{
	"tlu": TLU, "tld": TLD, "tls": TLS, "tlf": TLF, "irc": IRC, "zrc": ZRC, "scr": SCR,
	"sca": SCA, "scn": SCN, "str": STR, "sta": STA, "scj": SCJ, "ser": SER,
}

// parseCell reads a cell as the RFC prints it: actions with commas, a slash, the new state, perhaps a letter.
func parseCell(text string) (Step, error) {
	if text == "-" {
		return Step{}, nil
	}
	st := Step{ok: true}
	actions, state, found := strings.Cut(text, "/")
	if !found {
		actions, state = "", text
	}
	if actions != "" {
		for name := range strings.SplitSeq(actions, ",") {
			a, ok := actionNames[name]
			if !ok {
				return Step{}, fmt.Errorf("no action %q", name)
			}
			st.Do |= a
		}
	}
	if n := len(state); n > 0 && strings.ContainsRune("rpx", rune(state[n-1])) {
		st.Mark, state = Mark(state[n-1]), state[:n-1]
	}
	n, err := strconv.Atoi(state)
	if err != nil {
		return Step{}, err
	}
	st.To = State(n)
	return st, nil
}

// TestRFC1661Section4_1 compares every cell of the table with the table as the RFC prints it.
func TestRFC1661Section4_1(t *testing.T) {
	text, err := os.ReadFile("testdata/rfc1661-4.1.txt")
	if err != nil {
		t.Fatal(err)
	}
	events := map[string]Event{}
	for e := range Event(numEvents) {
		events[e.String()] = e
	}
	var columns []State // of the part that is being read
	seen := map[[2]int]bool{}
	for line := range strings.Lines(string(text)) {
		left, right, ok := strings.Cut(strings.TrimRight(line, "\n"), "|")
		if !ok {
			continue
		}
		cells := strings.Fields(right)
		name := strings.TrimSpace(left)
		switch {
		case name == "" && len(cells) > 1: // the line of state numbers
			columns = columns[:0]
			for _, c := range cells {
				n, err := strconv.Atoi(c)
				if err != nil {
					t.Fatalf("state number: %v", err)
				}
				columns = append(columns, State(n))
			}
			continue
		case name == "Events": // the line of state names
			for i, c := range cells {
				if columns[i].String() != c {
					t.Errorf("state %d is %q, RFC %q", columns[i], columns[i], c)
				}
			}
			continue
		case name == "":
			continue
		}
		e, ok := events[name]
		if !ok {
			t.Fatalf("no event %q", name)
		}
		if len(cells) != len(columns) {
			t.Fatalf("%s: %d cells for %d states", name, len(cells), len(columns))
		}
		for i, c := range cells {
			want, err := parseCell(c)
			if err != nil {
				t.Fatalf("%s in %s: %q: %v", e, columns[i], c, err)
			}
			got, ok := Next(columns[i], e)
			if got != want || ok != want.ok {
				t.Errorf("%s in %s: have %+v, the RFC says %q", e, columns[i], got, c)
			}
			seen[[2]int{int(e), int(columns[i])}] = true
		}
	}
	if len(seen) != 160 || numEvents*numStates != 160 {
		t.Errorf("%d cells compared, want 160", len(seen))
	}
}

// TestTimerStates checks RFC 1661 section 4.1: "The states in which the Restart timer is running are identifiable by
// the presence of TO events."
func TestTimerStates(t *testing.T) {
	for s := range State(numStates) {
		_, minus := Next(s, TOMinus)
		if TimerRuns(s) != minus {
			t.Errorf("%s: TO+ and TO- disagree", s)
		}
		if want := s >= Closing && s <= AckSent; TimerRuns(s) != want {
			t.Errorf("%s: timer runs: %v, want %v", s, TimerRuns(s), want)
		}
	}
}

func TestNamesBeyondTheTable(t *testing.T) {
	if got := State(numStates).String() + Event(numEvents).String(); got != "??" {
		t.Errorf("got %q, want ??", got)
	}
}
