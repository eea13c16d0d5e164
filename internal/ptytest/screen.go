package ptytest

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Screen is what a terminal like xterm shows of what was written to it: text and where it stands, no colours. It knows the
// control sequences (ECMA-48) that programs for the whole screen use. It belongs to one goroutine.
type Screen struct {
	columns, rows int
	cells         [][]rune
	x, y          int
	wrap          bool // the next character begins a new row
	top, bottom   int  // rows that scroll
	savedX        int
	savedY        int
	last          rune // what REP repeats
	colors        int  // how often a colour was set
	rest          []byte
}

// NewScreen makes an empty screen.
func NewScreen(columns, rows int) *Screen {
	s := &Screen{}
	s.resize(columns, rows)
	return s
}

// resize makes the screen another size, and empty.
func (s *Screen) resize(columns, rows int) {
	*s = Screen{columns: columns, rows: rows, bottom: rows - 1, cells: make([][]rune, rows), colors: s.colors}
	for i := range s.cells {
		s.cells[i] = s.blank()
	}
}

// Colors is how often something was drawn in a colour.
func (s *Screen) Colors() int { return s.colors }

func (s *Screen) blank() []rune { return slices.Repeat([]rune{' '}, s.columns) }

// String is the screen's rows, without spaces at their ends.
func (s *Screen) String() string {
	var b strings.Builder
	for _, row := range s.cells {
		b.WriteString(strings.TrimRight(string(row), " ") + "\n")
	}
	return b.String()
}

// Write draws. A sequence or character that is not whole yet waits for the rest of it.
func (s *Screen) Write(p []byte) {
	b := append(s.rest, p...)
	for len(b) > 0 {
		n := s.one(b)
		if n == 0 {
			break
		}
		b = b[n:]
	}
	s.rest = slices.Clone(b)
}

// one draws the first thing of b and says how long it is; 0 if it is not whole.
func (s *Screen) one(b []byte) int {
	switch c := b[0]; {
	case c == 0x1b:
		return s.escape(b)
	case c == '\r':
		s.x, s.wrap = 0, false
	case c == '\n':
		s.feed()
	case c == '\b':
		s.x, s.wrap = max(s.x-1, 0), false
	case c == '\t':
		s.x = min(s.x/8*8+8, s.columns-1)
	case c < ' ' || c == 0x7f:
	case c < utf8.RuneSelf:
		s.put(rune(c))
	default:
		if !utf8.FullRune(b) {
			return 0
		}
		r, n := utf8.DecodeRune(b)
		s.put(r)
		return n
	}
	return 1
}

func (s *Screen) put(r rune) {
	if s.wrap {
		s.x, s.wrap = 0, false
		s.feed()
	}
	s.cells[s.y][s.x], s.last = r, r
	if s.x == s.columns-1 {
		s.wrap = true
	} else {
		s.x++
	}
}

// feed goes down a row, and scrolls at the bottom.
func (s *Screen) feed() {
	s.wrap = false
	if s.y == s.bottom {
		s.scroll(s.top, 1)
	} else {
		s.y = min(s.y+1, s.rows-1)
	}
}

// scroll moves the rows from one on up, within those that scroll; by less than 0 down.
func (s *Screen) scroll(from, by int) {
	part := s.cells[from : s.bottom+1]
	for ; by > 0; by-- {
		copy(part, part[1:])
		part[len(part)-1] = s.blank()
	}
	for ; by < 0; by++ {
		copy(part[1:], part)
		part[0] = s.blank()
	}
}

// escape does what begins with ESC.
func (s *Screen) escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '[':
		return s.control(b)
	case ']', 'P', '_', '^', 'X': // a string: to BEL or ST
		for i := 2; i < len(b); i++ {
			if b[i] == 0x07 {
				return i + 1
			}
			if b[i] == 0x1b && i+1 < len(b) {
				return i + 2
			}
		}
		return 0
	case '(', ')', '*', '+', '#', '%', ' ': // one more follows
		if len(b) < 3 {
			return 0
		}
		return 3
	case '7':
		s.savedX, s.savedY = s.x, s.y
	case '8':
		s.x, s.y, s.wrap = s.savedX, s.savedY, false
	case 'D':
		s.feed()
	case 'E':
		s.x = 0
		s.feed()
	case 'M':
		if s.y == s.top {
			s.scroll(s.top, -1)
		} else {
			s.y = max(s.y-1, 0)
		}
	}
	return 2
}

// control does a control sequence: ESC [ parameters intermediates final.
func (s *Screen) control(b []byte) int {
	i := 2
	for i < len(b) && (b[i] < 0x40 || b[i] > 0x7e) {
		i++
	}
	if i == len(b) {
		return 0
	}
	params := string(b[2:i])
	if strings.ContainsAny(params, "?<=>! $'\"") {
		if params == "?1049" { // the other screen, which is empty
			s.resize(s.columns, s.rows)
		}
		return i + 1
	}
	var n []int
	for p := range strings.SplitSeq(params, ";") {
		v, _ := strconv.Atoi(p) // none is 0
		n = append(n, v)
	}
	if b[i] == 'm' && slices.ContainsFunc(n, func(v int) bool { return v >= 30 && v <= 49 || v >= 90 && v <= 107 }) {
		s.colors++
	}
	n = append(n, 0)
	s.do(b[i], n[0], n[1])
	return i + 1
}

// do does a control sequence with up to two numbers; 0 is that none was given.
func (s *Screen) do(final byte, a, b int) {
	one := max(a, 1)
	s.wrap = s.wrap && (final == 'm' || final == 'K' || final == 'h' || final == 'l')
	switch final {
	case 'A':
		s.y = max(s.y-one, 0)
	case 'B', 'e':
		s.y = min(s.y+one, s.rows-1)
	case 'C', 'a':
		s.x = min(s.x+one, s.columns-1)
	case 'D':
		s.x = max(s.x-one, 0)
	case 'E':
		s.x, s.y = 0, min(s.y+one, s.rows-1)
	case 'F':
		s.x, s.y = 0, max(s.y-one, 0)
	case 'G', '`':
		s.x = min(one, s.columns) - 1
	case 'd':
		s.y = min(one, s.rows) - 1
	case 'H', 'f':
		s.x, s.y = min(max(b, 1), s.columns)-1, min(one, s.rows)-1
	case 'J':
		s.eraseRows(a)
	case 'K':
		s.eraseRow(a)
	case 'X':
		s.fill(s.x, min(s.x+one, s.columns))
	case 'b':
		for range one {
			s.put(s.last)
		}
	case '@':
		row := slices.Insert(s.cells[s.y], s.x, slices.Repeat([]rune{' '}, one)...)
		s.cells[s.y] = row[:s.columns]
	case 'P':
		row := slices.Delete(s.cells[s.y], s.x, min(s.x+one, s.columns))
		s.cells[s.y] = append(row, slices.Repeat([]rune{' '}, s.columns-len(row))...)
	case 'L':
		s.scroll(s.y, -one)
	case 'M':
		s.scroll(s.y, one)
	case 'S':
		s.scroll(s.top, one)
	case 'T':
		s.scroll(s.top, -one)
	case 'r':
		s.top, s.bottom = one-1, s.rows-1
		if b > 0 {
			s.bottom = min(b, s.rows) - 1
		}
		s.x, s.y = 0, 0
	case 's':
		s.savedX, s.savedY = s.x, s.y
	case 'u':
		s.x, s.y = s.savedX, s.savedY
	}
}

func (s *Screen) fill(from, to int) {
	for i := from; i < to; i++ {
		s.cells[s.y][i] = ' '
	}
}

// eraseRow erases from the cursor on, up to it, or all of its row.
func (s *Screen) eraseRow(how int) {
	switch how {
	case 0:
		s.fill(s.x, s.columns)
	case 1:
		s.fill(0, s.x+1)
	default:
		s.fill(0, s.columns)
	}
}

// eraseRows erases from the cursor on, up to it, or all.
func (s *Screen) eraseRows(how int) {
	from, to := 0, s.rows
	switch how {
	case 0:
		s.eraseRow(0)
		from = s.y + 1
	case 1:
		s.eraseRow(1)
		to = s.y
	}
	for i := from; i < to; i++ {
		s.cells[i] = s.blank()
	}
}
