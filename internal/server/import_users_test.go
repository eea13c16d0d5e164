package server

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
)

func (f *fixture) importUsers(t *testing.T, csv string, existing concentratorv1.ImportUsersRequest_Existing, dry bool) (*concentratorv1.Operation, error) {
	t.Helper()
	return concentratorv1.NewUserServiceClient(f.conn).ImportUsers(t.Context(), &concentratorv1.ImportUsersRequest{
		Parent: acmeTenant, Csv: csv, Existing: existing, ValidateOnly: dry,
	})
}

// usersText spells the users of acme with their passwords.
func (f *fixture) usersText(t *testing.T) string {
	t.Helper()
	list, _, err := store.List[store.User](f.store, acmeTenant, "", 0)
	must(t)(list, err)
	var all []string
	for _, u := range list {
		text := strings.TrimPrefix(u.Name, acmeTenant+"/users/") + ":" + string(u.Password)
		if u.StaticAddress.IsValid() {
			text += ":" + u.StaticAddress.String()
		}
		if u.MaxSessions > 0 {
			text += fmt.Sprint(":", u.MaxSessions)
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func TestImportUsers(t *testing.T) {
	const (
		fail   = concentratorv1.ImportUsersRequest_EXISTING_UNSPECIFIED
		skip   = concentratorv1.ImportUsersRequest_SKIP
		change = concentratorv1.ImportUsersRequest_UPDATE
		was    = "alice:hush-password-1:10.64.0.9"
	)
	for _, tt := range []struct {
		name     string
		existing concentratorv1.ImportUsersRequest_Existing
		csv      string
		state    concentratorv1.Operation_State
		detail   string
		problems string
		users    string
	}{
		{
			"new ones", fail, "user,password,maxSessions\nbob,hush-b,2\ncarl,hush-c,\n", concentratorv1.Operation_SUCCEEDED,
			"2 made, 0 changed, 0 left as they were, 0 failed", "", was + " bob:hush-b:2 carl:hush-c",
		},
		{
			"one that is there", fail, "user,password\nalice,hush-x\nbob,hush-b\n", concentratorv1.Operation_FAILED,
			"1 made, 0 changed, 0 left as they were, 1 failed",
			"line 2 RESOURCE_EXISTS tenants/acme/users/alice is there already", was + " bob:hush-b",
		},
		{
			"left as they are", skip, "user,password\nalice,hush-x\nbob,hush-b\n", concentratorv1.Operation_SUCCEEDED,
			"1 made, 0 changed, 1 left as they were, 0 failed", "", was + " bob:hush-b",
		},
		{
			"changed", change, "user,password,maxSessions\nalice,hush-x,3\nbob,hush-b,\n", concentratorv1.Operation_SUCCEEDED,
			"1 made, 1 changed, 0 left as they were, 0 failed", "", "alice:hush-x:10.64.0.9:3 bob:hush-b",
		},
		{
			"changed but for the password", change, "user,password,maxSessions\nalice,,3\n", concentratorv1.Operation_SUCCEEDED,
			"0 made, 1 changed, 0 left as they were, 0 failed", "", was + ":3",
		},
		{
			"an empty cell clears", change, "user,staticAddress\nalice,\n", concentratorv1.Operation_SUCCEEDED,
			"0 made, 1 changed, 0 left as they were, 0 failed", "", "alice:hush-password-1",
		},
		{
			"nothing to change", change, "user,staticAddress\nalice,10.64.0.9\n", concentratorv1.Operation_SUCCEEDED,
			"0 made, 0 changed, 1 left as they were, 0 failed", "", was,
		},
		{
			"a new one without a password", change, "user,maxSessions\nbob,1\nalice,2\n", concentratorv1.Operation_FAILED,
			"0 made, 1 changed, 0 left as they were, 1 failed", "line 2 INVALID_FIELD password: is missing", was + ":2",
		},
		{
			"an address that is taken", fail, "user,password,staticAddress\nbob,hush-b,10.64.0.9\ncarl,hush-c,10.64.0.10\n", concentratorv1.Operation_FAILED,
			"1 made, 0 changed, 0 left as they were, 1 failed", "line 2 UNMET_REFERENCE staticAddress: 10.64.0.9", was + " carl:hush-c:10.64.0.10",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t)
			f.seed(t)
			check := func(m *concentratorv1.Operation) {
				t.Helper()
				if m.GetState() != tt.state || m.GetDetail() != tt.detail || m.GetDone() != m.GetTotal() || m.GetUnit() != "users" ||
					m.GetKind() != concentratorv1.Operation_IMPORT_USERS || m.GetTarget() != acmeTenant {
					t.Errorf("it ended as %v", m)
				}
				got := problemsOf(m)
				if !strings.HasPrefix(got, tt.problems) || tt.problems == "" && got != "" || strings.Contains(got, "hush") {
					t.Errorf("problems %q, want %q", got, tt.problems)
				}
			}
			before, err := f.store.Revision()
			must(t)(nil, err)
			m, err := f.importUsers(t, tt.csv, tt.existing, true)
			must(t)(m, err)
			check(m)
			if after, err := f.store.Revision(); err != nil || after != before {
				t.Errorf("validateOnly has written something (%v)", err)
			}
			m, err = f.importUsers(t, tt.csv, tt.existing, false)
			must(t)(m, err)
			if !strings.HasPrefix(m.GetName(), acmeTenant+"/operations/") {
				t.Errorf("its name is %s", m.GetName())
			}
			check(f.ended(t, m.GetName()))
			if got := f.usersText(t); got != tt.users {
				t.Errorf("the users are %s\nwant %s", got, tt.users)
			}
			events, err := concentratorv1.NewAuditEventServiceClient(f.conn).ListAuditEvents(t.Context(), &concentratorv1.ListAuditEventsRequest{})
			must(t)(events, err)
			imports := 0
			for _, e := range events.GetAuditEvents() {
				if e.GetMethod() == "ImportUsers" {
					imports++
				}
			}
			if imports == 0 {
				t.Error("the audit trail has nothing of it")
			}
			if strings.Contains(f.log.String(), "hush-") || strings.Contains(events.String(), "hush-") {
				t.Error("a password stands in the log or in the audit trail")
			}
		})
	}
}

// A table that is wrong anywhere is refused whole.
func TestImportUsersRefused(t *testing.T) {
	f := start(t)
	f.seed(t)
	for _, tt := range []struct {
		name, csv string
		existing  concentratorv1.ImportUsersRequest_Existing
		parent    string
		code      codes.Code
		want      string
	}{
		{"a field", "user,password\nbob,x\ncarl,\n", 0, acmeTenant, codes.InvalidArgument, "line 3, password"},
		{"an address", "user,password,staticAddress\nbob,x,10.64.0.300\n", 0, acmeTenant, codes.InvalidArgument, "line 2, staticAddress"},
		{"an address twice", "user,password,staticAddress\nbob,x,10.64.0.7\ncarl,x,10.64.0.7\n", 0, acmeTenant, codes.InvalidArgument, "line 3, staticAddress: 10.64.0.7 stands in line 2 already"},
		{"a negative number", "user,password,maxSessions\nbob,x,-1\n", 0, acmeTenant, codes.InvalidArgument, "line 2, maxSessions"},
		{"a long password", "user,password\nbob," + strings.Repeat("x", 300) + "\n", 0, acmeTenant, codes.InvalidArgument, "line 2, password"},
		{"a profile", "user,password,profile\nbob,x,none\n", 0, acmeTenant, codes.InvalidArgument, "line 2, profile: tenants/acme/profiles/none"},
		{"another tenant's profile", "user,password,profile\nbob,x,tenants/beta/profiles/p\n", 0, acmeTenant, codes.InvalidArgument, "line 2, profile"},
		{"the table", "nobody\n", 0, acmeTenant, codes.InvalidArgument, "line 1"},
		{"too large", "user\n" + strings.Repeat("x", 900_000), 0, acmeTenant, codes.InvalidArgument, "csv"},
		{"all tenants", "user,password\nbob,x\n", 0, anyTenant, codes.InvalidArgument, "parent"},
		{"no tenant", "user,password\nbob,x\n", 0, "tenants/none", codes.NotFound, "tenants/none"},
		{"existing", "user,password\nbob,x\n", 77, acmeTenant, codes.InvalidArgument, "existing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := concentratorv1.NewUserServiceClient(f.conn).ImportUsers(t.Context(), &concentratorv1.ImportUsersRequest{
				Parent: tt.parent, Csv: tt.csv, Existing: tt.existing,
			})
			if failureOf(err).code != tt.code || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s with %q", err, tt.code, tt.want)
			}
		})
	}
	if got := f.usersText(t); got != "alice:hush-password-1:10.64.0.9" {
		t.Errorf("the users are %s", got)
	}
}

// Cut off by a restart, an import goes on where it was: no user is lost, none is told to be there already because this
// import made it, and one that somebody else made is.
func TestImportUsersSurvivesRestart(t *testing.T) {
	f := start(t)
	f.seed(t)
	const n = 400
	var csv strings.Builder
	csv.WriteString("user,password\n")
	for i := range n {
		fmt.Fprintf(&csv, "u%03d,hush-%d\n", i, i)
	}
	real := f.ops.jobs[concentratorv1.Operation_IMPORT_USERS.String()]
	cut := real
	stopped := make(chan struct{})
	cut.run = func(ctx context.Context, op *running) error {
		defer close(stopped)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			for !strings.Contains(f.usersText(t), "u100:") {
			}
			cancel() // as if the process died: what was done last is not written
		}()
		err := real.run(ctx, op)
		op.mu.Lock()
		op.dirty = false
		op.mu.Unlock()
		<-op.ops.ctx.Done()
		return err
	}
	f.ops.jobs[concentratorv1.Operation_IMPORT_USERS.String()] = cut
	m, err := f.importUsers(t, csv.String(), 0, false)
	must(t)(m, err)
	for len(f.usersText(t)) == 0 || !strings.Contains(f.usersText(t), "u100:") {
	}
	other := &store.User{Password: []byte("another's")}
	other.Name = acmeTenant + "/users/u399"
	must(t)(nil, store.Create(f.store, other))
	f = f.again(t, nil)
	<-stopped
	m = f.ended(t, m.GetName())
	if m.GetDone() != n || m.GetProblemCount() != 1 || problemsOf(m) != "line 401 RESOURCE_EXISTS tenants/acme/users/u399 is there already" {
		t.Errorf("it ended as %v", m)
	}
	for i := range n - 1 {
		if want := fmt.Sprintf(" u%03d:hush-%d ", i, i); !strings.Contains(f.usersText(t)+" ", want) {
			t.Fatalf("%s is missing", want)
		}
	}
}
