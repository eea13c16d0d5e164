package top

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

// The colours. Where NO_COLOR is set, or the terminal has none, bubbletea leaves them out.
var (
	strong   = lipgloss.NewStyle().Bold(true)
	inverse  = lipgloss.NewStyle().Reverse(true)
	selected = lipgloss.NewStyle().Bold(true).Reverse(true)
	moods    = map[mood]lipgloss.Style{
		good: lipgloss.NewStyle().Foreground(lipgloss.Green),
		bad:  lipgloss.NewStyle().Foreground(lipgloss.Red),
	}
)

// headLines are those above the rows, footLines those below.
const (
	headLines = 5
	footLines = 1
)

// room is how many rows there is room for.
func (m *model) room() int { return m.height - headLines - footLines }

// View implements tea.Model.
func (m *model) View() tea.View {
	lines := m.head()
	if m.help {
		lines = append(lines[:headLines-2], help...)
	} else {
		lines = append(lines, m.table()...)
	}
	for len(lines) < m.height-footLines {
		lines = append(lines, "")
	}
	lines = append(lines[:m.height-footLines], m.foot())
	v := tea.NewView(strings.Join(lines, "\n"))
	v.AltScreen = true
	v.WindowTitle = "ctl top"
	return v
}

// head is what stands above the rows: the instance, the sums, what needs an eye, the views.
func (m *model) head() []string {
	now := m.env.Time()
	title := "ctl top"
	if i := m.samples.last.of(); i != nil {
		title += fmt.Sprintf("  %s %s  up %s", segment(i.GetName(), 1), i.GetVersion(), env.Span(now.Sub(i.GetStartTime().AsTime())))
		if i.GetDraining() {
			title += "  DRAINING"
		}
	}
	if t := m.env.Tenant(); t != "" {
		title += "  " + t
	}
	right := now.Local().Format(time.TimeOnly)
	if m.paused {
		right = "PAUSED  " + right
	}
	var tabs []string
	for i, v := range views {
		tab := fmt.Sprintf("%d %s", i+1, v.name)
		if i == m.view {
			tab = strong.Render("[" + tab + "]")
		}
		tabs = append(tabs, tab)
	}
	return []string{
		strong.Render(cell(title, m.width-len(right)-1, false)) + " " + right,
		cell(m.sums(), m.width, false),
		cell(m.care(), m.width, false),
		strings.Join(tabs, " "),
	}
}

// of is the instance of a sample, if there is one.
func (s *sample) of() *pb.Instance {
	if s == nil {
		return nil
	}
	return s.instance
}

func (m *model) sums() string {
	if m.samples.last == nil {
		return "asking"
	}
	var in, out float64
	for _, t := range m.samples.traffic() {
		in, out = in+t.in, out+t.out
	}
	sessions := fmt.Sprintf("sessions %d", len(m.samples.last.sessions))
	if i := m.samples.last.instance; i != nil {
		sessions += fmt.Sprintf(" (%d of %d slots)", i.GetSessions(), i.GetMaxSessions())
	}
	var drops float64
	for _, d := range m.samples.drops() {
		drops += d.rate
	}
	return fmt.Sprintf("%s  in %sb/s  out %sb/s  drops %s/s", sessions, bits(in), bits(out), number(drops))
}

// care says what may need an eye.
func (m *model) care() string {
	s := m.samples.last
	if s == nil {
		return ""
	}
	alive, unsent := 0, int64(0)
	for _, r := range s.servers {
		if r.GetHealth().GetState() != pb.RadiusServer_Health_DEAD {
			alive++
		}
	}
	for _, q := range s.queues {
		unsent += q.GetUnsent()
	}
	accepted, refused := m.samples.logins()
	return fmt.Sprintf("log-ins %s/s, refused %s/s  RADIUS %d of %d servers  accounting %d unsent", number(accepted), number(refused),
		alive, len(s.servers), unsent)
}

// table is the view's head and rows.
func (m *model) table() []string {
	v := views[m.view]
	rows, at := m.rows()
	m.first = max(min(m.first, len(rows)-m.room()), 0)
	lines := []string{inverse.Render(cell(m.line(v.columns, func(i int) string { return v.columns[i].head }), m.width, false))}
	for i := m.first; i < len(rows) && i < m.first+m.room(); i++ {
		r := rows[i]
		text := cell(m.line(v.columns, func(i int) string { return r.cells[i] }), m.width, false)
		style, some := moods[r.mood]
		switch {
		case r.key == at:
			text = selected.Render(text)
		case some:
			text = style.Render(text)
		}
		lines = append(lines, text)
	}
	if len(rows) == 0 && m.samples.last != nil {
		text := "none"
		if m.filter != "" {
			text = "none that matches the filter; esc takes it away"
		} else if m.samples.last.instance == nil && v.name == "shards" {
			text = "the instance's: not for a caller that is bound to a tenant"
		}
		lines = append(lines, cell(text, m.width, false))
	}
	return lines
}

// line puts cells side by side, as many as there is room for.
func (m *model) line(columns []column, of func(int) string) string {
	var parts []string
	room := m.width
	for i, c := range columns {
		if i == len(columns)-1 && room >= 5 {
			c.width = min(c.width, room) // a text for people, which may be cut
		}
		if room < c.width && i > 0 {
			break
		}
		parts = append(parts, cell(env.Clean(of(i)), c.width, c.right))
		room -= c.width + 1
	}
	return strings.Join(parts, " ")
}

// foot is the last line: a question, what came of the last thing, why there is nothing new, or the keys.
func (m *model) foot() string {
	v := views[m.view]
	switch {
	case m.ask != nil:
		question := fmt.Sprintf("end the session of %s, %s? y/n", env.Clean(m.ask.GetUser()), m.ask.GetName())
		return selected.Render(cell(question, m.width, false))
	case m.typing:
		return cell("filter: "+m.filter+"_  (enter keeps it, esc takes it away)", m.width, false)
	case m.err != nil:
		return moods[bad].Render(cell("connection lost, trying again: "+env.Clean(env.Describe(m.err)), m.width, false))
	case m.message != "":
		return cell(m.message, m.width, false)
	}
	way := v.sorts[m.sort[m.view]].name
	if m.reverse {
		way += ", reversed"
	}
	text := "q quit  ? help  s sort: " + way + "  / filter"
	if m.filter != "" {
		text += ": " + m.filter
	}
	if v.name == "sessions" {
		text += "  d disconnect"
	}
	return cell(text, m.width, false)
}

var help = []string{
	"",
	"  1 to 6, tab, left, right   another view",
	"  up, down, page, home, end  another row",
	"  s                          sort by something else",
	"  r                          the other way round",
	"  /                          show only rows with a text in them; esc shows all",
	"  d                          end the session that is selected, after a question",
	"  p, space                   stop the picture, and go on",
	"  q, ctrl+c                  end",
	"",
	"  Rates are those since the picture before: b/s is bits, p/s packets a second.",
	"  In is from the client, out to it.",
	"",
	"  Any key goes back.",
}

// cell cuts a text to a width, or fills it up.
func cell(text string, width int, right bool) string {
	if width <= 0 {
		return ""
	}
	have := lipgloss.Width(text)
	if have > width {
		var b strings.Builder
		have = 0
		for _, r := range text {
			w := lipgloss.Width(string(r))
			if have+w > width {
				break
			}
			b.WriteRune(r)
			have += w
		}
		text = b.String()
	}
	fill := strings.Repeat(" ", width-have)
	if right {
		return fill + text
	}
	return text + fill
}
