package server

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/session"
)

// Every List takes a filter and an order over the fields of its resource, and refuses others by name.
func TestEveryListFiltersAndOrders(t *testing.T) {
	f := start(t)
	f.seed(t)
	parents := map[string]string{
		"ListLeases": "tenants/-/pools/-", "ListAccountingRecords": "tenants/acme/accountingQueue",
		"ListAuditEvents": "", "ListApiTokens": "", "ListOperations": "", "ListLoginAttempts": "",
	}
	n := 0
	apiFiles(t, func(file protoreflect.FileDescriptor) {
		for i := range file.Services().Len() {
			s := file.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				if !strings.HasPrefix(string(m.Name()), "List") {
					continue
				}
				n++
				call := func(filter, orderBy string) failure {
					in := dynamicpb.NewMessage(m.Input())
					if fd := field(m.Input(), "parent"); fd != nil {
						parent, ok := parents[string(m.Name())]
						if !ok {
							parent = anyTenant
						}
						in.Set(fd, protoreflect.ValueOfString(parent))
					}
					in.Set(field(m.Input(), "filter"), protoreflect.ValueOfString(filter))
					in.Set(field(m.Input(), "order_by"), protoreflect.ValueOfString(orderBy))
					return failureOf(f.conn.Invoke(t.Context(), fmt.Sprintf("/%s/%s", s.FullName(), m.Name()), in, dynamicpb.NewMessage(m.Output())))
				}
				order := "name desc"
				if m.Name() == "ListAuditEvents" {
					order = "time"
				}
				if got := call(`name = "*x*" AND NOT name:*`, order); got.code != codes.OK {
					t.Errorf("%s: %v", m.Name(), got)
				}
				if got := call("nothing = 1", ""); !got.equal(failure{codes.InvalidArgument, reasonInvalid, []string{"filter"}}) {
					t.Errorf("%s with a filter that is none: %v", m.Name(), got)
				}
				if got := call("", "nothing"); !got.equal(failure{codes.InvalidArgument, reasonInvalid, []string{"orderBy"}}) {
					t.Errorf("%s in an order that is none: %v", m.Name(), got)
				}
			}
		}
	})
	if n < 17 {
		t.Errorf("only %d lists", n)
	}
}

// Filters and orders of what is not stored, over pages.
func TestSessionsFilteredAndOrdered(t *testing.T) {
	f := start(t)
	f.seed(t)
	for i, in := range []uint64{50, 3, 700, 3, 9} {
		s := info(fmt.Sprintf("tenants/acme/sessions/s%d", i))
		s.InBytes = in
		if i == 4 {
			s.State = session.StateClosing
		}
		f.live.sessions = append(f.live.sessions, s)
	}
	list := func(filter, orderBy string) string {
		t.Helper()
		var names []string
		for token := ""; ; {
			r, err := concentratorv1.NewSessionServiceClient(f.conn).ListSessions(t.Context(), &concentratorv1.ListSessionsRequest{
				Parent: "tenants/acme", PageSize: 2, PageToken: token, Filter: filter, OrderBy: orderBy,
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range r.GetSessions() {
				names = append(names, strings.TrimPrefix(s.GetName(), "tenants/acme/sessions/"))
			}
			if token = r.GetNextPageToken(); token == "" {
				return strings.Join(names, " ")
			}
		}
	}
	for _, c := range []struct{ filter, orderBy, want string }{
		{"", "", "s0 s1 s2 s3 s4"},
		{"state = OPEN", "", "s0 s1 s2 s3"},
		{"inBytes < 10", "", "s1 s3 s4"},
		{"", "inBytes desc", "s2 s0 s4 s1 s3"},
		{"state = OPEN AND inBytes < 100", "inBytes, name desc", "s3 s1 s0"},
		{"drops.spoofed_source > 4", "state desc", "s4 s0 s1 s2 s3"},
		{"user = bob", "inBytes", ""},
	} {
		if got := list(c.filter, c.orderBy); got != c.want {
			t.Errorf("%q by %q: %s, want %s", c.filter, c.orderBy, got, c.want)
		}
	}
}
