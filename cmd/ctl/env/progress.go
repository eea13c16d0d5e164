package env

import (
	"fmt"
	"strings"
	"time"
)

const (
	redraw   = 100 * time.Millisecond // at least so long between two drawings on a terminal
	noteTime = 10 * time.Second       // and between two lines elsewhere
	barWidth = 24
)

// Progress shows how far long work is: on a terminal as a bar that is drawn anew in its place, elsewhere as a line every ten
// seconds. All of it goes to Err. It belongs to one goroutine.
type Progress struct {
	e           *Env
	label, unit string
	begin, last time.Time
	drawn       bool
}

// Progress begins to show work. label says what is done, as in "drain"; unit what is counted, as in "sessions": "octets" are
// shown as KiB, MiB or GiB.
func (e *Env) Progress(label, unit string) *Progress {
	now := e.Time()
	return &Progress{e: e, label: label, unit: unit, begin: now, last: now.Add(-redraw)}
}

// Set shows that done of total is done; total 0 means that nobody knows how much it is. detail may say what goes on.
func (p *Progress) Set(done, total int64, detail string) {
	now, width := p.e.Time(), p.e.Width(p.e.Err)
	if width == 0 {
		if now.Sub(p.last) >= noteTime && now.Sub(p.begin) >= noteTime {
			p.last = now
			fmt.Fprintln(p.e.Err, p.text(done, total, detail, now, false))
		}
		return
	}
	if now.Sub(p.last) < redraw {
		return
	}
	p.last, p.drawn = now, true
	fmt.Fprint(p.e.Err, "\r"+cut(p.text(done, total, detail, now, true), width-1)+"\x1b[K")
}

// End takes the bar away. What came of the work is for the caller to say.
func (p *Progress) End() {
	if p.drawn {
		fmt.Fprint(p.e.Err, "\r\x1b[K")
		p.drawn = false
	}
}

// text is the line: the bar and the time left only where bar says so and the total is known.
func (p *Progress) text(done, total int64, detail string, now time.Time, bar bool) string {
	parts := []string{p.label}
	if total > 0 {
		done = min(max(done, 0), total)
		share := float64(done) / float64(total)
		percent := fmt.Sprintf("%.0f %%", share*100)
		if bar {
			full := int(share * barWidth)
			percent = fmt.Sprintf("[%s%s] %5s", strings.Repeat("#", full), strings.Repeat("-", barWidth-full), percent)
		}
		parts = append(parts, percent, amount(done, p.unit)+" of "+counted(total, p.unit))
		if past := now.Sub(p.begin); bar && done > 0 && done < total && past > 2*time.Second {
			left := time.Duration(float64(past) * (1 - share) / share).Round(time.Second)
			parts = append(parts, left.String()+" left")
		}
	} else {
		parts = append(parts, counted(done, p.unit))
	}
	if detail != "" {
		parts = append(parts, Clean(detail))
	}
	return strings.Join(parts, "  ")
}

// counted is an amount with its unit.
func counted(n int64, unit string) string {
	if unit == "octets" || unit == "" {
		return amount(n, unit)
	}
	return amount(n, unit) + " " + unit
}

func amount(n int64, unit string) string {
	if unit == "octets" {
		return Octets(float64(n)) + "B"
	}
	return fmt.Sprint(n)
}

// Octets shows a number of octets in at most six characters, as in "999 ", "1.2 Ki" and "840 Mi".
func Octets(n float64) string {
	for _, prefix := range []string{"", "Ki", "Mi", "Gi", "Ti"} {
		if n < 1000 || prefix == "Ti" {
			if prefix == "" || n >= 99.95 {
				return fmt.Sprintf("%.0f %s", n, prefix)
			}
			return fmt.Sprintf("%.1f %s", n, prefix)
		}
		n /= 1024
	}
	return ""
}
