package top

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
	"concentrator/internal/ptytest"
)

var update = flag.Bool("update", false, "write the golden file anew")

var noon = time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)

// at is what the API says so many seconds after noon.
func at(seconds int64) *sample {
	s := &sample{
		at: noon.Add(time.Duration(seconds) * time.Second),
		instance: &pb.Instance{
			Name: "instances/vpn-1", Version: "v1.2.3", StartTime: timestamppb.New(noon.Add(-76 * time.Hour)), MaxSessions: 1000, Sessions: 40,
			Draining: true, LoginsAccepted: 7 * seconds, LoginsRefused: seconds,
			Shards: []*pb.Instance_Shard{
				{
					Sessions: 20, InPackets: 1000 * seconds, OutPackets: 20_000 * seconds, CpuTime: durationpb.New(time.Duration(seconds) * 950 * time.Millisecond),
					Drops: map[string]int64{"ACL": 3 * seconds, "NO_ROUTE": 7},
				},
				{Shard: 1, Sessions: 20, WrongShard: 2},
			},
		},
		servers: []*pb.RadiusServer{
			{Name: "tenants/acme/radiusServers/one", Address: "192.0.2.5", Health: &pb.RadiusServer_Health{
				State: pb.RadiusServer_Health_ALIVE, RoundTripTime: durationpb.New(2300 * time.Microsecond), Requests: 7 * seconds,
			}},
			{Name: "tenants/acme/radiusServers/two", Address: "192.0.2.6", Health: &pb.RadiusServer_Health{
				State: pb.RadiusServer_Health_DEAD, Requests: seconds, Timeouts: seconds, LastError: "no answer",
			}},
			{Name: "tenants/beta/radiusServers/new", Address: "192.0.2.7"},
		},
		queues: []*pb.AccountingQueue{
			{
				Name: "tenants/acme/accountingQueue", Unsent: 12, OldestTime: timestamppb.New(noon.Add(-90 * time.Minute)), LiveSessions: 40, Sent: 14 * seconds,
				Failures: seconds, LastError: "no answer",
			},
			{Name: "tenants/beta/accountingQueue"},
		},
		logins: []*pb.LoginAttempt{
			{
				Name: "tenants/acme/logins/2", Time: timestamppb.New(noon), User: "al\x1b[2Jice", Outcome: pb.LoginAttempt_REFUSED,
				Reason: pb.LoginAttempt_WRONG_CREDENTIALS, Stage: pb.LoginAttempt_AUTHENTICATION, ClientAddress: "198.51.100.7:1",
			},
			{Name: "logins/1", Time: timestamppb.New(noon.Add(-time.Minute)), Outcome: pb.LoginAttempt_ACCEPTED, Stage: pb.LoginAttempt_OPEN},
		},
	}
	for i := range int64(40) {
		s.sessions = append(s.sessions, &pb.Session{
			Name: fmt.Sprintf("tenants/acme/sessions/s%02d", i), User: fmt.Sprintf("user-%02d", i), Protocol: pb.Listener_PPTP, State: pb.Session_OPEN,
			Address: fmt.Sprintf("10.64.0.%d", i+2), ClientAddress: fmt.Sprintf("198.51.100.7:%d", 1000+i), Cipher: "MPPE-128",
			StartTime: timestamppb.New(noon.Add(-time.Duration(i) * time.Hour)), InBytes: 1000 * i * seconds, OutBytes: 100_000 * i * seconds,
		})
	}
	s.sessions[7].State, s.sessions[7].Address, s.sessions[7].User = pb.Session_AUTHENTICATING, "", "名前の長い利用者でございます"
	return s
}

// screen is a model whose samples are those of two and no seconds after noon, at two seconds after noon.
func screen(t *testing.T) *model {
	t.Helper()
	local := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = local })
	m := newModel(t.Context(), &env.Env{Now: func() time.Time { return noon.Add(2 * time.Second) }}, 2*time.Second)
	m.Update(sampled{sample: at(0)})
	m.Update(sampled{sample: at(2)})
	return m
}

// shown is what a terminal shows of it.
func shown(m *model) string {
	s := ptytest.NewScreen(m.width, m.height)
	s.Write([]byte(strings.ReplaceAll(m.View().Content, "\n", "\r\n")))
	return s.String()
}

func press(m *model, keys ...string) {
	for _, k := range keys {
		msg := tea.KeyPressMsg{Text: k, Code: []rune(k)[0]}
		switch k {
		case "down":
			msg = tea.KeyPressMsg{Code: tea.KeyDown}
		case "pgdown":
			msg = tea.KeyPressMsg{Code: tea.KeyPgDown}
		case "end":
			msg = tea.KeyPressMsg{Code: tea.KeyEnd}
		case "enter":
			msg = tea.KeyPressMsg{Code: tea.KeyEnter}
		}
		m.Update(msg)
	}
}

// TestGolden compares each view at 80 by 24, and one that is wider, with what stands in testdata.
func TestGolden(t *testing.T) {
	var got strings.Builder
	show := func(what string, m *model) {
		fmt.Fprintf(&got, "%s %s\n%s\n", what, strings.Repeat("-", m.width-len(what)-1), shown(m))
	}
	m := newModel(t.Context(), &env.Env{Now: func() time.Time { return noon }}, 2*time.Second)
	show("nothing yet", m)
	m = screen(t)
	for i, v := range views {
		press(m, fmt.Sprint(i+1))
		show(v.name, m)
	}
	press(m, "1", "end")
	show("the end", m)
	press(m, "d")
	show("a question", m)
	press(m, "n", "/", "user-1", "enter")
	show("a filter", m)
	press(m, "?")
	show("help", m)
	press(m, "x")
	m.Update(sampled{err: errors.New("no daemon")})
	m.Update(tea.WindowSizeMsg{Width: 160, Height: 30})
	show("wide, and no connection", m)

	if *update {
		if err := os.WriteFile("testdata/top.txt", []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile("testdata/top.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("testdata/top.txt is not what is shown (-update writes it anew): got\n%s", got.String())
	}
}

// TestSelectionStays: the session that is selected stays so while others move past it, and another sample comes.
func TestSelectionStays(t *testing.T) {
	m := screen(t)
	press(m, "down", "down", "down")
	_, at3 := m.rows()
	press(m, "s", "s") // by user
	m.Update(sampled{sample: at(4)})
	if _, now := m.rows(); now != at3 || at3 == "" {
		t.Errorf("%q is selected, before it was %q", now, at3)
	}
	press(m, "d")
	if m.ask.GetName() != at3 {
		t.Errorf("asks about %s", m.ask.GetName())
	}
	press(m, "n")
	m.samples.last.sessions = m.samples.last.sessions[:2]
	if _, now := m.rows(); now == at3 {
		t.Error("a session that is gone is selected")
	}
	press(m, "down", "pgdown", "end") // with fewer rows than there is room for
	if m.first != 0 {
		t.Errorf("row %d stands at the top", m.first)
	}
}

// TestRates: a counter that begins anew has no rate, and neither has one after a gap.
func TestRates(t *testing.T) {
	p := pair{last: at(2), before: at(0)}
	if r := p.rate(100, 40); r != 30 {
		t.Errorf("rate %v", r)
	}
	if r := p.rate(3, 40); r != 0 {
		t.Errorf("of a counter that went back: %v", r)
	}
	if r := (pair{last: at(2)}).rate(100, 40); r != 0 {
		t.Errorf("of one sample: %v", r)
	}
	m := screen(t)
	m.Update(sampled{sample: at(60)})
	if m.samples.before != nil {
		t.Error("a minute's average is shown as a rate")
	}
	for rate, want := range map[float64]string{0: "0", 999: "999", 1000: "1.0k", 123_456: "123k", 2_500_000: "2.5M", 999_999: "1.0M", 4e12: "4000G"} {
		if got := bits(rate); got != want {
			t.Errorf("%v is %q, want %q", rate, got, want)
		}
	}
}
