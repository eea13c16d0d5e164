package server

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// importSettings are how an ImportUsers is to be done.
type importSettings struct {
	Existing string `json:"existing"` // a word of ImportUsersRequest.Existing
}

func (s userService) ImportUsers(ctx context.Context, r *concentratorv1.ImportUsersRequest) (*concentratorv1.Operation, error) {
	if r.GetParent() == anyTenant {
		return nil, invalid("parent", "must be one tenant: tenants/{tenant}")
	}
	if err := s.checkParent(store.KindUser, r.GetParent()); err != nil {
		return nil, err
	}
	existing := r.GetExisting()
	if existing == concentratorv1.ImportUsersRequest_EXISTING_UNSPECIFIED {
		existing = concentratorv1.ImportUsersRequest_FAIL
	}
	settings := importSettings{word(existing)}
	var faults tableFaults
	table := parseUsers(r.GetParent(), r.GetCsv(), &faults)
	if table != nil {
		if err := table.check(s.backend, r.GetParent(), existing != concentratorv1.ImportUsersRequest_FAIL, &faults); err != nil {
			return nil, err
		}
	}
	if err := faults.err(); err != nil {
		return nil, err
	}
	d := work{
		kind: concentratorv1.Operation_IMPORT_USERS, parent: r.GetParent(), target: r.GetParent(),
		total: int64(len(table.rows)), settings: settings, input: []byte(r.GetCsv()),
	}
	if !r.GetValidateOnly() {
		return s.ops.begin(ctx, d)
	}
	dry := &running{ops: s.ops} // it is not begun, and so never written
	i := importing{b: s.backend, settings: settings, op: dry, table: table, dry: true}
	if err := i.run(ctx, r.GetParent()); err != nil {
		return nil, err
	}
	return notRunning(ctx, d, "users", dry.record), nil
}

// importUsers is the job of ImportUsers.
func (b *backend) importUsers(ctx context.Context, op *running) error {
	i := importing{b: b, op: op}
	if err := op.settings(&i.settings); err != nil {
		return err
	}
	text, err := op.input()
	if err != nil {
		return err
	}
	var faults tableFaults
	if i.table = parseUsers(op.tenant(), string(text), &faults); i.table == nil {
		return faults.err()
	}
	return i.run(ctx, op.tenant())
}

// importing is one pass over a table of users.
type importing struct {
	b        *backend
	settings importSettings
	op       *running
	table    *userTable
	dry      bool // nothing is written

	made, changed, left, failed int
}

func (i *importing) run(ctx context.Context, parent string) error {
	// What becomes of it may be read by whoever belongs to the tenant: nothing of other tenants may stand there.
	who := caller{name: i.op.record.Caller, tenant: parent, role: tenant.RoleOperator}
	if i.dry {
		ctx = context.WithValue(ctx, callerKey{}, who)
	} else {
		ctx = i.b.audit.auditAs(ctx, who, concentratorv1.UserService_ImportUsers_FullMethodName, i.op.name())
	}
	total, first := int64(len(i.table.rows)), i.op.done()
	for n := first; n < total; n++ {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		row := i.table.rows[n]
		if err := i.row(ctx, parent, row); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			i.failed++
			i.op.fault(row.place(""), err)
		}
		i.op.progress(n+1, total)
	}
	detail := fmt.Sprintf("%d made, %d changed, %d left as they were, %d failed", i.made, i.changed, i.left, i.failed)
	if first > 0 {
		detail += fmt.Sprintf(", since a restart after %d", first)
	}
	i.op.say("%s", detail)
	return nil
}

// row makes or changes one user.
func (i *importing) row(ctx context.Context, parent string, row userRow) error {
	old, err := store.Get[store.User](i.b.store, row.user.GetName())
	if isNotFound(err) {
		req := &concentratorv1.CreateUserRequest{ValidateOnly: i.dry}
		if _, err := create(ctx, i.b, users, req, parent, row.id, row.user); err != nil {
			return err
		}
		i.made++
		return nil
	}
	if err != nil {
		return err
	}
	defer store.Wipe(old)
	switch i.settings.Existing {
	case concentratorv1.ImportUsersRequest_SKIP.String():
		i.left++
		return nil
	case concentratorv1.ImportUsersRequest_UPDATE.String():
		return i.update(ctx, row, old)
	}
	// What was done since the progress was last written, before a restart, was done by this operation.
	if i.op.resumed() && !old.CreateTime.Before(i.op.begun()) && i.is(row, old) {
		i.made++
		return nil
	}
	return newStatus(codes.AlreadyExists, reasonExists, row.user.GetName()+" is there already",
		map[string]string{"resource": row.user.GetName()}).Err()
}

// update changes what the table has columns for.
func (i *importing) update(ctx context.Context, row userRow, old *store.User) error {
	mask := &fieldmaskpb.FieldMask{}
	for _, c := range i.table.columns {
		if c != "password" || row.user.Password != nil {
			mask.Paths = append(mask.Paths, c)
		}
	}
	if len(mask.GetPaths()) == 0 {
		i.left++
		return nil
	}
	m, err := update(ctx, i.b, users, row.user, mask, i.dry)
	switch {
	case status.Code(err) != codes.OK:
		return err
	case m.GetEtag() == old.Etag:
		i.left++
	default:
		i.changed++
	}
	return nil
}

// is says whether a user is what a row would make.
func (i *importing) is(row userRow, old *store.User) bool {
	var bad fieldErrors
	r := decodeUser(row.user, nil, &bad)
	if !bad.empty() {
		return false
	}
	r.Meta = old.Meta
	return store.Same(r, old)
}
