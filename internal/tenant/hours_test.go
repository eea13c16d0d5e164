package tenant_test

import (
	"encoding/json"
	"testing"
	"time"

	"concentrator/internal/corpus"
	"concentrator/internal/tenant"
)

func TestHourWindowText(t *testing.T) {
	for text, want := range map[string]string{ // "" is refused
		"Mon-Fri 08:00-18:00": "Mon-Fri 08:00-18:00",
		"08:00-18:00":         "08:00-18:00",
		"Mon-Sun 08:00-18:00": "08:00-18:00",
		"Wed-Tue 08:00-18:00": "08:00-18:00",
		"Sat-Sun 00:00-24:00": "Sat-Sun 00:00-24:00",
		"Wed 00:00-24:00":     "Wed 00:00-24:00",
		"Wed-Wed 00:00-24:00": "Wed 00:00-24:00",
		"Sat-Mon 10:30-10:31": "Sat-Mon 10:30-10:31",
		"Fri,Mon 08:00-12:00": "",
		"-Mon 08:00-12:00":    "",
		"Fri 22:00-06:00":     "Fri 22:00-06:00",
		"Fri 22:00-00:00":     "Fri 22:00-24:00",
		"Fri 23:59-23:58":     "Fri 23:59-23:58",

		"":                        "",
		"Mon-Fri":                 "",
		"Mon-Fri 08:00":           "",
		"Mon-Fri 8:00-18:00":      "",
		"Mon-Fri 08.00-18.00":     "",
		"Mon-Fri 08:00-25:00":     "",
		"Mon-Fri 08:60-18:00":     "",
		"Mon-Fri 08:00-24:01":     "",
		"Mon-Fri 24:00-08:00":     "",
		"Mon-Fri 08:00-08:00":     "",
		"Mon-Fri  08:00-18:00":    "",
		"Mon-Fri 08:00-18:00 ":    "",
		"Mon-Fri 08:00-1\xff:00":  "",
		"Mon-Fri 0/:00-18:00":     "",
		"mon 08:00-18:00":         "",
		"Monday 08:00-18:00":      "",
		"Mon- 08:00-18:00":        "",
		"Mon, 08:00-18:00":        "",
		"Mon-Wed-Fri 08:00-18:00": "",
		" 08:00-18:00":            "",
	} {
		w, err := tenant.ParseHourWindow(text)
		if err != nil {
			if want != "" {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if got := w.String(); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestHourWindowJSON(t *testing.T) {
	var list []tenant.HourWindow
	const text = `["Mon-Fri 08:00-18:00","22:00-06:00"]`
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	if b, err := json.Marshal(list); err != nil || string(b) != text {
		t.Errorf("%s, %v", b, err)
	}
	if err := json.Unmarshal([]byte(`["8-18"]`), &list); err == nil {
		t.Error("8-18 was taken")
	}
}

func FuzzParseHourWindow(f *testing.F) {
	corpus.Add(f)
	for _, s := range []string{"Mon-Fri 08:00-18:00", "22:00-06:00", "Sat-Mon 00:00-24:00", "Fri 22:00-00:00", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		w, err := tenant.ParseHourWindow(text)
		if err != nil {
			return
		}
		if again, err := tenant.ParseHourWindow(w.String()); err != nil || again != w {
			t.Errorf("%q is shown as %q, which is %v, %v", text, w, again, err)
		}
	})
}

func TestZone(t *testing.T) {
	for name, want := range map[string]string{ // "" is refused
		"": "UTC", "UTC": "UTC", "Europe/Berlin": "Europe/Berlin", "America/New_York": "America/New_York",
		"Local": "", "Berlin": "", "../etc/localtime": "", "/etc/localtime": "", "Europe/Berlin\x00": "",
	} {
		l, err := tenant.Zone(name)
		if err != nil {
			if want != "" {
				t.Errorf("%q: %v", name, err)
			}
			continue
		}
		if l.String() != want {
			t.Errorf("%q is %s, want %q", name, l, want)
		}
	}
}

// TestHours: what is allowed, and until when. 2026-11-30 is a Monday. In Berlin, the clock goes from 02:00 to 03:00 on Sunday
// 2026-03-29, and from 03:00 back to 02:00 on Sunday 2026-10-25.
func TestHours(t *testing.T) {
	work := []string{"Mon-Fri 08:00-18:00"}
	for _, c := range []struct {
		name    string
		windows []string
		zone    string
		at      string // RFC 3339
		until   string // "": never; as at: it is not allowed
	}{
		{"no windows", nil, "", "2026-11-30T12:00:00Z", ""},
		{"the whole week", []string{"Mon-Wed 00:00-24:00", "Thu-Sun 00:00-24:00"}, "", "2026-11-30T12:00:00Z", ""},
		{"within", work, "", "2026-11-30T12:34:56.7Z", "2026-11-30T18:00:00Z"},
		{"at the first moment", work, "", "2026-11-30T08:00:00Z", "2026-11-30T18:00:00Z"},
		{"just before", work, "", "2026-11-30T07:59:59.999999999Z", "2026-11-30T07:59:59.999999999Z"},
		{"at the last moment", work, "", "2026-11-30T17:59:59.999999999Z", "2026-11-30T18:00:00Z"},
		{"just over", work, "", "2026-11-30T18:00:00Z", "2026-11-30T18:00:00Z"},
		{"on a Sunday", work, "", "2026-11-29T12:00:00Z", "2026-11-29T12:00:00Z"},
		{"by the clock of another zone", work, "Europe/Berlin", "2026-11-30T07:30:00Z", "2026-11-30T17:00:00Z"},
		{"another zone is over", work, "Europe/Berlin", "2026-11-30T17:30:00Z", "2026-11-30T17:30:00Z"},
		{"half an hour's zone", work, "Asia/Kolkata", "2026-11-30T02:30:00Z", "2026-11-30T12:30:00Z"},
		{"a summer's day", work, "Europe/Berlin", "2026-07-01T15:30:00Z", "2026-07-01T16:00:00Z"},
		{"over midnight", []string{"Fri 22:00-06:00"}, "", "2026-12-04T23:00:00Z", "2026-12-05T06:00:00Z"},
		{"after midnight", []string{"Fri 22:00-06:00"}, "", "2026-12-05T05:00:00Z", "2026-12-05T06:00:00Z"},
		{"on the other side of the week's end", []string{"Sat-Mon 10:00-12:00"}, "", "2026-11-29T11:00:00Z", "2026-11-29T12:00:00Z"},
		{"on the day after such days", []string{"Sat-Mon 10:00-12:00"}, "", "2026-12-01T11:00:00Z", "2026-12-01T11:00:00Z"},
		{"not the midnight before", []string{"Fri 22:00-06:00"}, "", "2026-12-04T05:00:00Z", "2026-12-04T05:00:00Z"},
		{"over the week's end", []string{"Sat 22:00-06:00"}, "", "2026-12-06T05:00:00Z", "2026-12-06T06:00:00Z"},
		{"one after the other", []string{"Mon 08:00-24:00", "Tue 00:00-10:00"}, "", "2026-11-30T09:00:00Z", "2026-12-01T10:00:00Z"},
		{"all but an hour", []string{"Mon 00:00-23:00", "Tue-Sun 00:00-24:00"}, "", "2026-12-01T00:00:00Z", "2026-12-07T23:00:00Z"},
		{"the clock goes forward", []string{"Sun 00:00-04:00"}, "Europe/Berlin", "2026-03-29T00:30:00+01:00", "2026-03-29T04:00:00+02:00"},
		{"it leaps over the end", []string{"Sun 00:00-02:30"}, "Europe/Berlin", "2026-03-29T00:30:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"the clock goes back", []string{"Sun 00:00-04:00"}, "Europe/Berlin", "2026-10-25T00:30:00+02:00", "2026-10-25T04:00:00+01:00"},
		{"it goes back before the end", []string{"Sun 00:00-02:30"}, "Europe/Berlin", "2026-10-25T01:00:00+02:00", "2026-10-25T02:30:00+02:00"},
		{"the hour comes again", []string{"Sun 00:00-02:30"}, "Europe/Berlin", "2026-10-25T02:00:00+01:00", "2026-10-25T02:30:00+01:00"},
		{"it goes back at the end", []string{"Sun 00:00-03:00"}, "Europe/Berlin", "2026-10-25T01:00:00+02:00", "2026-10-25T03:00:00+01:00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var windows []tenant.HourWindow
			for _, text := range c.windows {
				w, err := tenant.ParseHourWindow(text)
				if err != nil {
					t.Fatal(err)
				}
				windows = append(windows, w)
			}
			zone, err := tenant.Zone(c.zone)
			if err != nil {
				t.Fatal(err)
			}
			h := tenant.NewHours(windows, zone)
			at, err := time.Parse(time.RFC3339, c.at)
			if err != nil {
				t.Fatal(err)
			}
			got := h.Until(at)
			if c.until == "" {
				if !got.IsZero() || !h.Allow(at) {
					t.Errorf("until %v, allowed: %v", got, h.Allow(at))
				}
				return
			}
			want, err := time.Parse(time.RFC3339, c.until)
			if err != nil {
				t.Fatal(err)
			}
			if !got.Equal(want) {
				t.Errorf("until %v, want %v", got, want)
			}
			if h.Allow(at) != got.After(at) || h.Allow(got) {
				t.Errorf("allowed: %v, at its end: %v", h.Allow(at), h.Allow(got))
			}
		})
	}
}
