package tenant

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // zones are known by their names on a machine without a zone database too
)

// MaxHours is how many HourWindows a list may have.
const MaxHours = 32

const minutesPerDay = 24 * 60

// HourWindow is a time of day on some days of the week, to the minute. As text it is "Mon-Fri 08:00-18:00": a day, or the
// first and the last of several; then when it begins and when it is over. Without days it is every day. One that ends before
// it begins goes on until the next day: "Fri 22:00-06:00" is over on Saturday.
type HourWindow struct {
	first, last int // indexes in weekdays of the days on which it begins; last may be before first
	from        int // minute of the day
	to          int // the first minute after it; at most minutesPerDay more than from
}

// weekdays are the days in the order in which people write them.
var weekdays = []struct {
	name string
	day  time.Weekday
}{
	{"Mon", time.Monday},
	{"Tue", time.Tuesday},
	{"Wed", time.Wednesday},
	{"Thu", time.Thursday},
	{"Fri", time.Friday},
	{"Sat", time.Saturday},
	{"Sun", time.Sunday},
}

// ParseHourWindow reads what HourWindow describes.
func ParseHourWindow(text string) (HourWindow, error) {
	fault := func(what string) (HourWindow, error) {
		return HourWindow{}, fmt.Errorf("%q is no time such as \"Mon-Fri 08:00-18:00\": %s", text, what)
	}
	days, hours, withDays := strings.Cut(text, " ")
	if !withDays {
		days, hours = "Mon-Sun", days
	}
	var w HourWindow
	var okDays bool
	if w.first, w.last, okDays = parseDays(days); !okDays {
		return fault("days are one of Mon, Tue, Wed, Thu, Fri, Sat and Sun, or two with '-' between them")
	}
	from, to, isRange := strings.Cut(hours, "-")
	var okFrom, okTo bool
	w.from, okFrom = parseMinute(from)
	w.to, okTo = parseMinute(to)
	switch {
	case !isRange || !okFrom || !okTo || w.from == minutesPerDay:
		return fault("hours are 00:00-24:00, two digits each")
	case w.from == w.to:
		return fault("it ends when it begins; a whole day is 00:00-24:00")
	case w.to < w.from:
		w.to += minutesPerDay
	}
	return w, nil
}

// parseDays reads "Mon", "Mon-Fri" or "Sat-Mon". All seven are always Mon to Sun.
func parseDays(text string) (first, last int, ok bool) {
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		to = from
	}
	first, last = weekday(from), weekday(to)
	if first >= 0 && last == (first+len(weekdays)-1)%len(weekdays) {
		first, last = 0, len(weekdays)-1
	}
	return first, last, first >= 0 && last >= 0
}

// weekday is the index in weekdays, or -1.
func weekday(name string) int {
	for i, d := range weekdays {
		if d.name == name {
			return i
		}
	}
	return -1
}

// parseMinute reads "08:00"; "24:00" is the day's end.
func parseMinute(text string) (minute int, ok bool) {
	if len(text) != len("08:00") || text[2] != ':' {
		return 0, false
	}
	two := func(s string) (n int) {
		for i := range len(s) {
			if s[i] < '0' || s[i] > '9' {
				ok = false
			}
			n = 10*n + int(s[i]-'0')
		}
		return n
	}
	ok = true
	h, m := two(text[:2]), two(text[3:])
	minute = 60*h + m
	return minute, ok && m < 60 && minute <= minutesPerDay
}

// String is what ParseHourWindow reads, always in the same spelling.
func (w HourWindow) String() string {
	to := w.to
	if to > minutesPerDay {
		to -= minutesPerDay
	}
	hours := fmt.Sprintf("%02d:%02d-%02d:%02d", w.from/60, w.from%60, to/60, to%60)
	switch {
	case w.first == 0 && w.last == len(weekdays)-1:
		return hours
	case w.first == w.last:
		return weekdays[w.first].name + " " + hours
	}
	return weekdays[w.first].name + "-" + weekdays[w.last].name + " " + hours
}

// on says whether it begins on a day.
func (w HourWindow) on(day time.Weekday) bool {
	for i := w.first; ; i = (i + 1) % len(weekdays) {
		if weekdays[i].day == day {
			return true
		}
		if i == w.last {
			return false
		}
	}
}

// MarshalText implements encoding.TextMarshaler.
func (w HourWindow) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (w *HourWindow) UnmarshalText(text []byte) error {
	o, err := ParseHourWindow(string(text))
	if err != nil {
		return err
	}
	*w = o
	return nil
}

// Zone finds a time zone by its IANA name, such as "Europe/Berlin"; "" is UTC. This machine's own zone has no name here.
func Zone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, errors.New(`"Local" is not the name of a time zone such as Europe/Berlin`)
	}
	l, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is not the name of a time zone such as Europe/Berlin", name)
	}
	return l, nil
}
