package resource

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

// watches is an API whose watches say what stands in a list, one after the other.
type watches struct {
	grpc.ClientConnInterface
	all   []script
	asked []string // parent and revision of each
}

// script is what one watch sends, and how it ends.
type script struct {
	messages []*pb.WatchUsersResponse
	end      error
}

func (w *watches) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	if len(w.all) == 0 {
		return nil, errors.New("asked once too often")
	}
	s := &watchStream{w: w, script: w.all[0]}
	w.all = w.all[1:]
	return s, nil
}

type watchStream struct {
	grpc.ClientStream
	w *watches
	script
}

func (s *watchStream) SendMsg(m any) error {
	r := m.(*pb.WatchUsersRequest)
	s.w.asked = append(s.w.asked, r.GetParent()+" "+r.GetRevision())
	return nil
}

func (s *watchStream) CloseSend() error { return nil }

func (s *watchStream) RecvMsg(m any) error {
	if len(s.messages) == 0 {
		return s.end
	}
	proto.Merge(m.(proto.Message), s.messages[0])
	s.messages = s.messages[1:]
	return nil
}

func upsert(name, revision string) *pb.WatchUsersResponse {
	return &pb.WatchUsersResponse{Event: &pb.WatchUsersResponse_Upsert{Upsert: &pb.User{Name: "tenants/acme/users/" + name}}, Revision: revision}
}

func done(revision string) *pb.WatchUsersResponse {
	return &pb.WatchUsersResponse{Event: &pb.WatchUsersResponse_SnapshotDone{SnapshotDone: &emptypb.Empty{}}, Revision: revision}
}

// TestWatchGoesOn: a watch that breaks off is resumed after its last message, one that can't be is begun anew, and what is gone
// meanwhile is said then; an error at the very first is one.
func TestWatchGoesOn(t *testing.T) {
	gone, slow := status.Error(codes.Unavailable, "gone"), status.Error(codes.Aborted, "too slow")
	expired := status.Error(codes.OutOfRange, "too old")
	for _, c := range []struct {
		name            string
		scripts         []script
		revision        string
		asked, out, err string
		fails           error
	}{
		{
			name: "resumed", scripts: []script{
				{[]*pb.WatchUsersResponse{upsert("a", "1"), done("2")}, gone},
				{nil, gone},
				{[]*pb.WatchUsersResponse{{Revision: "7"}}, slow}, // a bookmark
				{[]*pb.WatchUsersResponse{upsert("a", "8")}, io.EOF},
			},
			asked: "tenants/acme ,tenants/acme 2,tenants/acme 2,tenants/acme 7", out: "ADDED a,CHANGED a",
			err: "ctl: gone (is the daemon running, and is --socket or --addr right?); trying again,ctl: too slow; trying again",
		},
		{
			name: "begun anew", scripts: []script{
				{[]*pb.WatchUsersResponse{upsert("a", "1"), upsert("b", "2"), done("3")}, gone},
				{nil, expired},
				{[]*pb.WatchUsersResponse{upsert("b", "11"), upsert("c", "12"), done("13")}, io.EOF},
			},
			asked: "tenants/acme ,tenants/acme 3,tenants/acme ", out: "ADDED a,ADDED b,CHANGED b,ADDED c,REMOVED a",
			err: "ctl: gone (is the daemon running, and is --socket or --addr right?); trying again," +
				"ctl: what happened meanwhile can't be told any more: this is what there is now",
		},
		{name: "not there", scripts: []script{{nil, gone}}, asked: "tenants/acme ", fails: gone},
		{name: "too old", scripts: []script{{nil, expired}}, revision: "1", asked: "tenants/acme 1", fails: expired},
		{
			name: "no longer allowed", scripts: []script{{[]*pb.WatchUsersResponse{upsert("a", "1")}, status.Error(codes.Unauthenticated, "no")}},
			asked: "tenants/acme ", out: "ADDED a", fails: status.Error(codes.Unauthenticated, "no"),
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			var out, errs strings.Builder
			w := &watches{all: c.scripts}
			e := &env.Env{Out: &out, Err: &errs, Conn: w, Getenv: func(string) string { return "" }}
			err := ByName("user").follow(t.Context(), e, []string{"tenants/acme"}, c.revision)
			if !errors.Is(err, c.fails) {
				t.Errorf("%s: %v, want %v", c.name, err, c.fails)
			}
			if got := strings.Join(w.asked, ","); got != c.asked {
				t.Errorf("%s: asked %q, want %q", c.name, got, c.asked)
			}
			lines := strings.ReplaceAll(strings.TrimSuffix(out.String(), "\n"), "tenants/acme/users/", "")
			var got []string
			for line := range strings.Lines(lines) {
				got = append(got, strings.Join(strings.Fields(line)[:2], " "))
			}
			if lines == "" {
				got = nil
			}
			if strings.Join(got, ",") != c.out {
				t.Errorf("%s: printed %q, want %q", c.name, got, c.out)
			}
			if got := strings.ReplaceAll(strings.TrimSpace(errs.String()), "\n", ","); got != c.err {
				t.Errorf("%s: said %q, want %q", c.name, got, c.err)
			}
		})
	}
}

// TestNames: what an argument stands for, with and without a tenant and the flags between.
func TestNames(t *testing.T) {
	for _, c := range []struct{ noun, tenant, pool, arg, want, fails string }{
		{noun: "tenant", arg: "acme", want: "tenants/acme"},
		{noun: "tenant", tenant: "beta", arg: "acme", want: "tenants/acme"},
		{noun: "user", tenant: "acme", arg: `DOM\al/ice`, want: "tenants/acme/users/DOM%5Cal%2Fice"},
		{noun: "user", arg: "tenants/acme/users/alice", want: "tenants/acme/users/alice"},
		{noun: "user", arg: "alice", fails: "or give --tenant"},
		{noun: "user", tenant: "acme", arg: "", fails: "an empty name"},
		{noun: "pool", tenant: "acme", arg: "a/b", fails: `"a/b" is no name of a pool`},
		{noun: "lease", tenant: "acme", pool: "main", arg: "10.0.0.1", want: "tenants/acme/pools/main/leases/10.0.0.1"},
		{noun: "lease", pool: "tenants/acme/pools/main", arg: "10.0.0.1", want: "tenants/acme/pools/main/leases/10.0.0.1"},
		{noun: "lease", tenant: "acme", arg: "10.0.0.1", fails: "--pool"},
		{noun: "lease", arg: "10.0.0.1", fails: "--tenant and --pool"},
		{noun: "operation", arg: "7", want: "operations/7"},
		{noun: "operation", tenant: "acme", arg: "7", want: "tenants/acme/operations/7"},
		{noun: "operation", tenant: "acme", arg: "operations/7", want: "operations/7"},
		{noun: "instance", arg: "vpn-1", want: "instances/vpn-1"},
		{noun: "listener", tenant: "acme", arg: "main", want: "listeners/main"},
	} {
		e := &env.Env{Getenv: func(name string) string {
			if name == "CONC_TENANT" {
				return c.tenant
			}
			return ""
		}, Conn: &watches{}}
		if err := e.Connect(); err != nil {
			t.Fatal(err)
		}
		cmd := ByName(c.noun).Get(e)
		if c.pool != "" {
			if err := cmd.Flags().Set("pool", c.pool); err != nil {
				t.Fatal(err)
			}
		}
		got, err := ByName(c.noun).FullName(e, cmd.Flags(), c.arg)
		if got != c.want || (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s %q of %q, pool %q: %q, %v; want %q%s", c.noun, c.arg, c.tenant, c.pool, got, err, c.want, c.fails)
		}
	}
}

// both is an API that answers the watch below no tenant and the one below all in their own ways.
type both struct {
	grpc.ClientConnInterface
	byParent map[string]script
}

func (b *both) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return &bothStream{b: b}, nil
}

type bothStream struct {
	watchStream
	b *both
}

func (s *bothStream) SendMsg(m any) error {
	s.script = s.b.byParent[m.(*pb.WatchApiTokensRequest).GetParent()]
	return nil
}

func (s *bothStream) RecvMsg(m any) error {
	if len(s.messages) == 0 {
		return s.end
	}
	r := m.(*pb.WatchApiTokensResponse)
	r.Event = &pb.WatchApiTokensResponse_Upsert{Upsert: &pb.ApiToken{Name: s.messages[0].GetRevision()}}
	s.messages = s.messages[1:]
	return nil
}

// TestWatchOfBoth: what stands below no tenant and what stands below one are printed as one; a caller that is bound to a tenant
// sees the latter; another error ends both.
func TestWatchOfBoth(t *testing.T) {
	one := func(name string, end error) script { return script{[]*pb.WatchUsersResponse{{Revision: name}}, end} }
	denied, broken := status.Error(codes.PermissionDenied, "bound"), status.Error(codes.Internal, "broken")
	for _, c := range []struct {
		name        string
		none, below script
		want        []string
		fails       error
	}{
		{"both", one("apiTokens/a", io.EOF), one("tenants/acme/apiTokens/b", io.EOF), []string{"apiTokens/a", "tenants/acme/apiTokens/b"}, nil},
		{"bound", script{nil, denied}, one("tenants/acme/apiTokens/b", io.EOF), []string{"tenants/acme/apiTokens/b"}, nil},
		{"broken", one("apiTokens/a", io.EOF), script{nil, broken}, nil, broken},
	} {
		var out, errs strings.Builder
		e := &env.Env{
			Out: &out, Err: &errs, Getenv: func(string) string { return "" },
			Conn: &both{byParent: map[string]script{"": c.none, "tenants/-": c.below}},
		}
		n := ByName("api-token")
		parents, err := n.parents(e, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err = n.follow(t.Context(), e, parents, ""); !errors.Is(err, c.fails) {
			t.Errorf("%s: %v, want %v", c.name, err, c.fails)
		}
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %s is missing in %q", c.name, want, &out)
			}
		}
	}
}
