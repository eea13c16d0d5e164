package top

import (
	"context"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

// model is what is on the screen. It belongs to bubbletea's loop: what takes time is done by commands, which send messages.
type model struct {
	ctx      context.Context //nolint:containedctx // bubbletea's commands have no other way to it
	env      *env.Env
	interval time.Duration

	width, height int
	samples       pair
	err           error // why the last sample could not be taken
	paused        bool

	view    int
	sort    [len(views)]int
	reverse bool
	filter  string
	typing  bool // the filter
	help    bool
	first   int         // row that stands at the top
	at      string      // key of the row that is selected
	ask     *pb.Session // to be ended, if the answer is yes
	message string
}

func newModel(ctx context.Context, e *env.Env, interval time.Duration) *model {
	return &model{ctx: ctx, env: e, interval: interval, width: 80, height: 24}
}

type (
	sampled struct {
		sample *sample
		err    error
	}
	due   struct{} // for the next sample
	ended struct { // a session, or not
		name string
		err  error
	}
)

// Init implements tea.Model.
func (m *model) Init() tea.Cmd { return m.take }

func (m *model) take() tea.Msg {
	s, err := take(m.ctx, m.env.Conn, m.env.Parent(), m.env.Tenant(), m.env.Time)
	return sampled{s, err}
}

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = max(msg.Width, 20), max(msg.Height, 8)
	case sampled:
		m.sampled(msg)
		return m, tea.Tick(m.interval, func(time.Time) tea.Msg { return due{} })
	case due:
		if m.paused {
			return m, tea.Tick(m.interval, func(time.Time) tea.Msg { return due{} })
		}
		return m, m.take
	case ended:
		m.message = msg.name + " is being disconnected"
		if msg.err != nil {
			m.message = env.Clean(env.Describe(msg.err))
		}
	case tea.KeyPressMsg:
		return m, m.key(msg)
	}
	return m, nil
}

func (m *model) sampled(s sampled) {
	m.err = s.err
	if s.err != nil {
		return // what is known stays on the screen
	}
	m.samples.before, m.samples.last = m.samples.last, s.sample
	if m.samples.seconds() > 3*max(m.interval, time.Second).Seconds() {
		m.samples.before = nil // after a gap a rate would be an average of it
	}
}

// key does what a key says.
func (m *model) key(k tea.KeyPressMsg) tea.Cmd {
	name := k.String()
	switch {
	case name == "ctrl+c":
		return tea.Quit
	case m.ask != nil:
		return m.answer(name)
	case m.typing:
		m.typed(k)
		return nil
	case m.help:
		m.help = false
		return nil
	}
	m.message = ""
	switch name {
	case "q", "esc":
		if name == "esc" && m.filter != "" {
			m.filter = ""
			return nil
		}
		return tea.Quit
	case "?", "h":
		m.help = true
	case "tab", "right":
		m.show((m.view + 1) % len(views))
	case "shift+tab", "left":
		m.show((m.view + len(views) - 1) % len(views))
	case "1", "2", "3", "4", "5", "6":
		m.show(int(name[0] - '1'))
	case "s":
		m.sort[m.view] = (m.sort[m.view] + 1) % len(views[m.view].sorts)
	case "r":
		m.reverse = !m.reverse
	case "/":
		m.typing = true
	case "p", "space":
		m.paused = !m.paused
	case "d", "delete":
		m.askToEnd()
	default:
		m.move(name)
	}
	return nil
}

func (m *model) show(view int) {
	m.view, m.first, m.at, m.reverse = view, 0, "", false
}

// typed adds to the filter.
func (m *model) typed(k tea.KeyPressMsg) {
	switch k.String() {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, m.filter = false, ""
	case "backspace":
		if r := []rune(m.filter); len(r) > 0 {
			m.filter = string(r[:len(r)-1])
		}
	case "ctrl+u":
		m.filter = ""
	default:
		if k.Text != "" && len(m.filter) < 60 {
			m.filter += env.Clean(k.Text)
		}
	}
	m.first = 0
}

// askToEnd asks whether the session that is selected shall end.
func (m *model) askToEnd() {
	if views[m.view].name != "sessions" {
		m.message = "only sessions can be ended: 1 shows them"
		return
	}
	_, at := m.rows()
	for _, t := range m.samples.traffic() {
		if t.GetName() == at {
			m.ask = t.Session
		}
	}
}

// answer ends the session that was asked about, or not.
func (m *model) answer(key string) tea.Cmd {
	name := m.ask.GetName()
	m.ask = nil
	if strings.ToLower(key) != "y" {
		m.message = "nothing was done"
		return nil
	}
	return func() tea.Msg {
		_, err := pb.NewSessionServiceClient(m.env.Conn).DisconnectSession(m.ctx, &pb.DisconnectSessionRequest{Name: name})
		return ended{name, err}
	}
}

// move selects another row.
func (m *model) move(key string) {
	rows, at := m.rows()
	if len(rows) == 0 {
		return
	}
	i := 0
	for j := range rows {
		if rows[j].key == at {
			i = j
		}
	}
	page := max(m.room(), 1)
	switch key {
	case "up", "k":
		i--
	case "down", "j":
		i++
	case "pgup":
		i -= page
	case "pgdown":
		i += page
	case "home", "g":
		i = 0
	case "end", "G":
		i = len(rows) - 1
	default:
		return
	}
	i = min(max(i, 0), len(rows)-1)
	m.at = rows[i].key
	m.first = min(max(m.first, i-page+1), i)
}
