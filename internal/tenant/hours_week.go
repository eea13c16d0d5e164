package tenant

import "time"

// minutesPerWeek is counted on the clock on the wall, from Sunday 00:00.
const minutesPerWeek = 7 * minutesPerDay

// Hours says when something is allowed: in any of its windows, by the clock on the wall of one zone. The zero Hours allow
// always. It is never changed, and safe for concurrent use.
type Hours struct {
	week *[minutesPerWeek]bool // nil: always
	zone *time.Location
}

// NewHours joins windows; none allow always.
func NewHours(windows []HourWindow, zone *time.Location) Hours {
	if len(windows) == 0 {
		return Hours{}
	}
	h := Hours{week: new([minutesPerWeek]bool), zone: zone}
	for _, w := range windows {
		for day := range 7 {
			if !w.on(time.Weekday(day)) {
				continue
			}
			for m := w.from; m < w.to; m++ {
				h.week[(day*minutesPerDay+m)%minutesPerWeek] = true
			}
		}
	}
	for _, open := range h.week {
		if !open {
			return h
		}
	}
	return Hours{}
}

// Allow says whether t is within the hours.
func (h Hours) Allow(t time.Time) bool { return h.week == nil || h.week[h.minute(t)] }

// minute is t's minute of the week on the wall.
func (h Hours) minute(t time.Time) int {
	t = t.In(h.zone)
	return int(t.Weekday())*minutesPerDay + t.Hour()*60 + t.Minute()
}

// Until returns when the hours that t is in are over: t itself outside of them, the zero time if they never are. A clock
// that is put forward or back on the way counts: what is asked at each moment is what the wall shows then. What it returns
// is wall time, so that it holds when this machine's clock is set too.
func (h Hours) Until(t time.Time) time.Time {
	if h.week == nil {
		return time.Time{}
	}
	t = t.Round(0)
	for h.Allow(t) {
		left := 1
		for now := h.minute(t); h.week[(now+left)%minutesPerWeek]; left++ {
		}
		next := t.Add(-sinceMinute(t.In(h.zone))).Add(time.Duration(left) * time.Minute)
		if _, end := t.In(h.zone).ZoneBounds(); !end.IsZero() && end.Before(next) {
			next = end // the wall's clock is put forward or back: count anew from there
		}
		t = next
	}
	return t
}

// sinceMinute is how far t is in its minute.
func sinceMinute(t time.Time) time.Duration {
	return time.Duration(t.Second())*time.Second + time.Duration(t.Nanosecond())
}
