package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/ptytest"
)

// TestMain lets the test binary be ctl: a program on a terminal must be one of its own.
func TestMain(m *testing.M) {
	if os.Getenv("CTL_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// daemon is an API for top: two sessions, of which one moves 1 Mbit/s in and 2 Mbit/s out.
type daemon struct {
	pb.UnimplementedInstanceServiceServer
	pb.UnimplementedSessionServiceServer
	pb.UnimplementedRadiusServerServiceServer
	pb.UnimplementedAccountingQueueServiceServer
	pb.UnimplementedLoginAttemptServiceServer
	begin time.Time
	bound bool // the caller is bound to a tenant

	mu    sync.Mutex
	ended []string
}

func (d *daemon) GetInstance(context.Context, *pb.GetInstanceRequest) (*pb.Instance, error) {
	if d.bound {
		return nil, status.Error(codes.PermissionDenied, "bound")
	}
	t := time.Since(d.begin).Seconds()
	return &pb.Instance{
		Name: "instances/vpn-1", Version: "v1.2.3", StartTime: timestamppb.New(d.begin.Add(-76 * time.Hour)), MaxSessions: 1000, Sessions: 2, LoginsAccepted: int64(20 * t),
		Shards: []*pb.Instance_Shard{
			{
				Sessions: 1, InPackets: int64(100 * t), OutPackets: int64(200 * t), Drops: map[string]int64{"ACL": int64(40 * t), "NO_ROUTE": 7},
				CpuTime: durationpb.New(time.Duration(0.5 * t * float64(time.Second))),
			},
			{Shard: 1, Sessions: 1},
		},
	}, nil
}

func (d *daemon) ListSessions(context.Context, *pb.ListSessionsRequest) (*pb.ListSessionsResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := time.Since(d.begin).Seconds()
	r := &pb.ListSessionsResponse{}
	for _, s := range []*pb.Session{
		{
			Name: "tenants/acme/sessions/s1", User: "al\x1b[2Jice", Protocol: pb.Listener_PPTP, State: pb.Session_OPEN, Address: "10.64.0.2", Cipher: "MPPE-128",
			ClientAddress: "198.51.100.11:4711", StartTime: timestamppb.New(d.begin), InBytes: 5000, Drops: map[string]int64{"ACL": 3},
		},
		{
			Name: "tenants/acme/sessions/s2", User: "bob", Protocol: pb.Listener_L2TP_IPSEC, State: pb.Session_OPEN, Address: "10.64.0.3",
			ClientAddress: "198.51.100.12:1701", StartTime: timestamppb.New(d.begin.Add(-2 * time.Hour)), InBytes: int64(125_000 * t), OutBytes: int64(250_000 * t),
		},
	} {
		if len(d.ended) == 0 || d.ended[0] != s.GetName() {
			r.Sessions = append(r.Sessions, s)
		}
	}
	return r, nil
}

func (d *daemon) DisconnectSession(_ context.Context, r *pb.DisconnectSessionRequest) (*emptypb.Empty, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = append(d.ended, r.GetName())
	return &emptypb.Empty{}, nil
}

func (d *daemon) ListRadiusServers(context.Context, *pb.ListRadiusServersRequest) (*pb.ListRadiusServersResponse, error) {
	return &pb.ListRadiusServersResponse{RadiusServers: []*pb.RadiusServer{
		{Name: "tenants/acme/radiusServers/one", Address: "192.0.2.5", Health: &pb.RadiusServer_Health{State: pb.RadiusServer_Health_ALIVE}},
		{Name: "tenants/acme/radiusServers/two", Address: "192.0.2.6", Health: &pb.RadiusServer_Health{State: pb.RadiusServer_Health_DEAD, LastError: "no answer"}},
	}}, nil
}

func (d *daemon) ListAccountingQueues(context.Context, *pb.ListAccountingQueuesRequest) (*pb.ListAccountingQueuesResponse, error) {
	return &pb.ListAccountingQueuesResponse{AccountingQueues: []*pb.AccountingQueue{{Name: "tenants/acme/accountingQueue", Unsent: 12, LastError: "no answer"}}}, nil
}

func (d *daemon) ListLoginAttempts(context.Context, *pb.ListLoginAttemptsRequest) (*pb.ListLoginAttemptsResponse, error) {
	r := &pb.ListLoginAttemptsResponse{}
	n := int(time.Since(d.begin).Seconds() * 10) // of which every second one is refused
	for i := n; i >= 0 && n-i < 200; i-- {
		l := &pb.LoginAttempt{Name: fmt.Sprint("tenants/acme/logins/", i), Time: timestamppb.New(d.begin.Add(time.Duration(i) * 100 * time.Millisecond)), User: "carol", Outcome: pb.LoginAttempt_ACCEPTED}
		if i%2 == 0 {
			l.Outcome, l.Reason = pb.LoginAttempt_REFUSED, pb.LoginAttempt_WRONG_CREDENTIALS
		}
		r.Logins = append(r.Logins, l)
	}
	return r, nil
}

// serve serves the API at a socket until it is stopped.
func (d *daemon) serve(t *testing.T, socket string) (stop func()) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	pb.RegisterInstanceServiceServer(s, d)
	pb.RegisterSessionServiceServer(s, d)
	pb.RegisterRadiusServerServiceServer(s, d)
	pb.RegisterAccountingQueueServiceServer(s, d)
	pb.RegisterLoginAttemptServiceServer(s, d)
	go func() { _ = s.Serve(l) }() // it ends when it is stopped
	t.Cleanup(s.Stop)
	return s.Stop
}

// onTerminal starts ctl on a terminal of 80 columns and 24 rows.
func onTerminal(t *testing.T, socket string, args ...string) *ptytest.Terminal {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = []string{"CTL_TEST_MAIN=1", "TERM=xterm-256color", "TZ=UTC", "HOME=" + t.TempDir(), "CONC_SOCKET=" + socket}
	term, err := ptytest.Start(cmd, 80, 24)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(term.Close)
	return term
}

// shows types keys and waits for texts on the screen, all of them; one that begins with "!" must not be there.
func shows(t *testing.T, term *ptytest.Terminal, keys string, texts ...string) {
	t.Helper()
	if err := term.Type(keys); err != nil {
		t.Fatal(err)
	}
	missing := ""
	err := term.Wait(15*time.Second, func(screen string) bool {
		for _, text := range texts {
			not, no := strings.CutPrefix(text, "!")
			if strings.Contains(screen, not) == no {
				missing = text
				return false
			}
		}
		return true
	})
	if err != nil {
		t.Fatalf("after %q: %q: %v", keys, missing, err)
	}
}

func TestTop(t *testing.T) {
	t.Parallel()
	d := &daemon{begin: time.Now()}
	socket := filepath.Join(t.TempDir(), "api.sock")
	stop := d.serve(t, socket)
	term := onTerminal(t, socket, "top", "--interval", "500ms")

	shows(t, term, "", "vpn-1 v1.2.3  up 3d 4h", "sessions 2 (2 of 1000 slots)", "in 1.0Mb/s  out 2.0Mb/s", "!log-ins 0/s", "RADIUS 1 of 2 servers",
		"accounting 12 unsent", "[1 sessions]", "al\uFFFD[2Jice", "1.0M", "2.0M", "d disconnect")
	// The one that moves most is the first; by name it is the second.
	order := func(first, second string) {
		t.Helper()
		if err := term.Wait(5*time.Second, func(s string) bool {
			a, b := strings.Index(s, first), strings.Index(s, second)
			return a >= 0 && b > a
		}); err != nil {
			t.Fatalf("%s before %s: %v", first, second, err)
		}
	}
	order("bob", "ice ")
	shows(t, term, "ss", "sort: user")
	order("ice ", "bob")
	shows(t, term, "r", "sort: user, reversed")
	order("bob", "ice ")
	shows(t, term, "?", "Any key goes back")
	shows(t, term, "x", "!Any key goes back", "bob")

	shows(t, term, "2", "[2 shards]", "WRONG", " %")
	shows(t, term, "3", "[3 drops]", "ACL", "NO_ROUTE")
	shows(t, term, "4", "[4 RADIUS]", "DEAD", "no an")
	shows(t, term, "d", "only sessions can be ended")
	shows(t, term, "5", "[5 accounting]", "12")
	shows(t, term, "6", "[6 log-ins]", "WRONG_CREDENTIALS", "carol")
	shows(t, term, "\t", "[1 sessions]", "bob")

	shows(t, term, "/", "filter: _")
	shows(t, term, "BO", "filter: BO_", "bob", "!ice ")
	shows(t, term, "\r", "/ filter: BO")
	shows(t, term, "d", "end the session of bob, tenants/acme/sessions/s2? y/n")
	shows(t, term, "n", "nothing was done", "bob")
	shows(t, term, "dy", "tenants/acme/sessions/s2 is being disconnected")
	shows(t, term, "", "none that matches the filter")
	shows(t, term, "\x1b", "!filter: BO", "ice ", "!bob")

	// Another size, and a connection that is lost: what was there stays, and it goes on by itself.
	if err := term.Resize(160, 30); err != nil {
		t.Fatal(err)
	}
	shows(t, term, "", "MPPE-128", "198.51.100.11:4711")
	stop()
	shows(t, term, "", "connection lost, trying again", "ice ")
	_ = os.Remove(socket) // the server that stopped may have done it
	d.serve(t, socket)
	shows(t, term, "", "!connection lost", "ice ")
	if err := term.Type("q"); err != nil {
		t.Fatal(err)
	}
	if code, err := term.End(5 * time.Second); err != nil || code != 0 {
		t.Errorf("exit code %d, %v", code, err)
	}
}

// TestTopOfOneTenant: a caller that is bound to a tenant sees what it may, and that the rest is not for it.
func TestTopOfOneTenant(t *testing.T) {
	t.Parallel()
	d := &daemon{begin: time.Now(), bound: true}
	socket := filepath.Join(t.TempDir(), "api.sock")
	d.serve(t, socket)
	term := onTerminal(t, socket, "top", "--interval", "500ms", "--tenant", "acme")
	shows(t, term, "", "tenants/acme", "sessions 2  in", "bob", "!refused 0/s")
	shows(t, term, "2", "not for a caller that is bound to a tenant")
	shows(t, term, "3", "ACL") // of its sessions
	if err := term.Type("\x03"); err != nil {
		t.Fatal(err)
	}
	if code, err := term.End(5 * time.Second); err != nil || code != 0 {
		t.Errorf("exit code %d, %v", code, err)
	}
}

func TestTopNeedsATerminal(t *testing.T) {
	if code, out, errs := ctl(t, newAPI(), "", nil, "top"); code != 2 || out != "" || !strings.Contains(errs, "top needs a terminal") {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
}

// TestNoColor: with NO_COLOR nothing that is drawn has a colour, without there are some.
func TestNoColor(t *testing.T) {
	for _, c := range []struct {
		env  string
		want bool
	}{{"X=1", true}, {"NO_COLOR=1", false}} {
		d := &daemon{begin: time.Now()}
		socket := filepath.Join(t.TempDir(), "api.sock")
		d.serve(t, socket)
		cmd := exec.Command(os.Args[0], "top", "--interval", "500ms")
		cmd.Env = []string{"CTL_TEST_MAIN=1", "TERM=xterm-256color", "HOME=" + t.TempDir(), "CONC_SOCKET=" + socket, c.env}
		term, err := ptytest.Start(cmd, 80, 24)
		if err != nil {
			t.Fatal(err)
		}
		shows(t, term, "", "1.0M")
		shows(t, term, "4", "DEAD", "ALIVE")
		if got := term.Colors() > 0; got != c.want {
			t.Errorf("%s: colours %t", c.env, got)
		}
		term.Close()
	}
}

// TestQuestions: what ends sessions is asked on a terminal, and not done without a yes.
func TestQuestions(t *testing.T) {
	t.Parallel()
	d := &deleting{}
	socket := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	pb.RegisterSessionServiceServer(s, d)
	pb.RegisterListenerServiceServer(s, d)
	pb.RegisterOperationServiceServer(s, d)
	go func() { _ = s.Serve(l) }() // as above
	t.Cleanup(s.Stop)
	for _, c := range []struct {
		args, answer, want string
		code               int
	}{
		{"listener delete main", "n\r", "nothing was done", 1},
		{"listener delete main", "y\r", "listeners/main deleted", 0},
		{"listener delete main --yes", "", "listeners/main deleted", 0},
	} {
		term := onTerminal(t, socket, strings.Fields(c.args)...)
		if c.answer != "" {
			shows(t, term, "", "ends 1 session", "end 1 of its sessions? [y/N]")
		}
		shows(t, term, c.answer, c.want)
		if code, err := term.End(5 * time.Second); err != nil || code != c.code {
			t.Errorf("%s: exit code %d, %v", c.args, code, err)
		}
	}
	if d.deleted != 2 {
		t.Errorf("deleted %d times, want 2", d.deleted)
	}
	// A bar, and a list that is drawn anew.
	term := onTerminal(t, socket, "operation", "wait", "1")
	shows(t, term, "", "drain  [############------------]  50 %  20 of 40 sessions")
	shows(t, term, "", "SUCCEEDED", "![###")
	term = onTerminal(t, socket, "session", "list", "--watch")
	shows(t, term, "", "alice")
	d.mu.Lock()
	d.gone = true
	d.mu.Unlock()
	shows(t, term, "", "!alice", "TENANT")
	if err := term.Type("\x03"); err != nil {
		t.Fatal(err)
	}
	if code, err := term.End(5 * time.Second); err != nil || code != 0 {
		t.Errorf("exit code %d, %v", code, err)
	}
}

// deleting is an API with one session on one listener, and an operation that ends the fourth time it is asked for.
type deleting struct {
	pb.UnimplementedSessionServiceServer
	pb.UnimplementedListenerServiceServer
	pb.UnimplementedOperationServiceServer
	deleted, waits int
	mu             sync.Mutex
	gone           bool
}

func (d *deleting) ListSessions(context.Context, *pb.ListSessionsRequest) (*pb.ListSessionsResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone {
		return &pb.ListSessionsResponse{}, nil
	}
	return &pb.ListSessionsResponse{Sessions: []*pb.Session{{Name: "tenants/acme/sessions/s1", User: "alice", Listener: "listeners/main"}}}, nil
}

func (d *deleting) ListListeners(context.Context, *pb.ListListenersRequest) (*pb.ListListenersResponse, error) {
	return &pb.ListListenersResponse{Listeners: []*pb.Listener{{Name: "listeners/main"}}}, nil
}

func (d *deleting) DeleteListener(context.Context, *pb.DeleteListenerRequest) (*emptypb.Empty, error) {
	d.deleted++
	return &emptypb.Empty{}, nil
}

func (d *deleting) op() *pb.Operation {
	o := &pb.Operation{Name: "operations/1", Kind: pb.Operation_DRAIN, State: pb.Operation_RUNNING, Done: int64(10 * d.waits), Total: 40, Unit: "sessions"}
	if o.GetDone() >= o.GetTotal() {
		o.State = pb.Operation_SUCCEEDED
	}
	return proto.CloneOf(o)
}

func (d *deleting) GetOperation(context.Context, *pb.GetOperationRequest) (*pb.Operation, error) {
	return d.op(), nil
}

func (d *deleting) WaitOperation(context.Context, *pb.WaitOperationRequest) (*pb.Operation, error) {
	time.Sleep(300 * time.Millisecond)
	d.waits++
	return d.op(), nil
}
