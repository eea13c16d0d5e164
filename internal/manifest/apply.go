package manifest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
)

// Action is what a change does.
type Action string

// The actions.
const (
	Create    Action = "create"
	Update    Action = "update"
	Unchanged Action = "unchanged"
	Delete    Action = "delete"
)

// Change is one step of a plan.
type Change struct {
	Action Action
	Kind   Kind
	Name   string
	Fields []string // of an update: the fields that differ, and those that hold a secret, which is never shown
	// Ends and Alters are the live sessions that the change ends, and those that go on under other rules; see FindSessions.
	Ends, Alters []*concentratorv1.Session
	doc          *Document
	is           proto.Message // of an update or deletion: the resource as it stands
	would        proto.Message // of an update: the resource as it would be
}

func outputOnly(f protoreflect.FieldDescriptor) bool {
	return Behaves(f, annotations.FieldBehavior_OUTPUT_ONLY)
}

// Plan compares the documents with what the server has. With prune, what stands below the tenants that the documents
// describe and is in no document is deleted.
func Plan(ctx context.Context, c Client, docs []Document, prune bool) ([]Change, error) {
	var plan []Change
	for _, d := range docs {
		is, err := c.Get(ctx, d.Kind, d.Name)
		if status.Code(err) == codes.NotFound {
			plan = append(plan, Change{Action: Create, Kind: d.Kind, Name: d.Name, doc: &d})
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d, Describe(err))
		}
		plan = append(plan, update(ctx, c, d, is))
	}
	if !prune {
		return plan, nil
	}
	deletions, err := superfluous(ctx, c, docs)
	return append(plan, deletions...), err
}

// update says what a document would change of a resource. The server knows best: it fills defaults in and compares
// secrets. Where it can't say, because what the document refers to is not there yet, every field that looks different
// counts.
func update(ctx context.Context, c Client, d Document, is proto.Message) Change {
	ch := Change{Action: Update, Kind: d.Kind, Name: d.Name, doc: &d, is: is}
	would, err := c.Update(ctx, d.Kind, d.Resource, []string{"*"}, true)
	switch {
	case err != nil:
		ch.Fields, ch.would = differences(is, d.Resource), d.Resource
	case etagOf(would) == etagOf(is):
		ch.Action = Unchanged
	default:
		ch.Fields, ch.would = append(differences(is, would), secrets(d.Resource)...), would
	}
	return ch
}

// PlanUpdate says what an update by a mask would change of a resource, and changes nothing: FindSessions then says whom it
// touches. Errors are those of the API.
func PlanUpdate(ctx context.Context, c Client, k Kind, r proto.Message, mask []string) (Change, error) {
	ch := Change{Action: Update, Kind: k, Name: nameOf(r)}
	var err error
	if ch.is, err = c.Get(ctx, k, ch.Name); err != nil {
		return ch, err
	}
	if ch.would, err = c.Update(ctx, k, r, mask, true); err != nil {
		return ch, err
	}
	ch.Fields = differences(ch.is, ch.would)
	return ch, nil
}

// superfluous lists what no document names, what refers to others first.
func superfluous(ctx context.Context, c Client, docs []Document) ([]Change, error) {
	wanted := make(map[string]bool)
	var tenants []string
	for _, d := range docs {
		wanted[d.Name] = true
		if d.Kind.Name == "Tenant" {
			tenants = append(tenants, d.Name)
		}
	}
	var out []Change
	kinds := Kinds()
	for i := len(kinds) - 1; i >= 0; i-- {
		if !kinds[i].InTenant() {
			continue
		}
		for _, t := range tenants {
			have, err := c.All(ctx, kinds[i], t)
			if err != nil && status.Code(err) != codes.NotFound {
				return nil, fmt.Errorf("list %s of %s: %w", kinds[i].Collection, t, Describe(err))
			}
			for _, r := range have {
				if !wanted[nameOf(r)] {
					out = append(out, Change{Action: Delete, Kind: kinds[i], Name: nameOf(r), is: r})
				}
			}
		}
	}
	return out, nil
}

// differences names the top-level fields in which a resource is not as a document wants it.
func differences(is, want proto.Message) (fields []string) {
	a, b := input(is).ProtoReflect(), input(want).ProtoReflect()
	for i := range a.Descriptor().Fields().Len() {
		f := a.Descriptor().Fields().Get(i)
		if f.Name() == "name" || f.Name() == "etag" {
			continue
		}
		if a.Has(f) != b.Has(f) || a.Has(f) && !a.Get(f).Equal(b.Get(f)) {
			fields = append(fields, f.JSONName())
		}
	}
	return fields
}

// input is a copy of a message without what only the server sets, at any depth.
func input(m proto.Message) proto.Message {
	m = proto.Clone(m)
	clearOutput(m.ProtoReflect())
	return m
}

func clearOutput(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case outputOnly(f):
			m.Clear(f)
		case f.Message() == nil || f.IsMap():
		case f.IsList():
			for i := range v.List().Len() {
				clearOutput(v.List().Get(i).Message())
			}
		default:
			clearOutput(v.Message())
		}
		return true
	})
}

// secrets names the top-level fields in which a document gives a secret: any of them may be what changes.
func secrets(m proto.Message) (fields []string) {
	r := m.ProtoReflect()
	for i := range r.Descriptor().Fields().Len() {
		if f := r.Descriptor().Fields().Get(i); hasSecret(f, r) {
			fields = append(fields, f.JSONName())
		}
	}
	return fields
}

// hasSecret says whether a field of m is a secret that is given, or holds one.
func hasSecret(f protoreflect.FieldDescriptor, m protoreflect.Message) bool {
	if !m.Has(f) {
		return false
	}
	if Behaves(f, annotations.FieldBehavior_INPUT_ONLY) {
		return true
	}
	if f.Message() == nil || f.IsMap() {
		return false
	}
	inside := func(m protoreflect.Message) bool {
		for i := range m.Descriptor().Fields().Len() {
			if hasSecret(m.Descriptor().Fields().Get(i), m) {
				return true
			}
		}
		return false
	}
	if !f.IsList() {
		return inside(m.Get(f).Message())
	}
	list := m.Get(f).List()
	for i := range list.Len() {
		if inside(list.Get(i).Message()) {
			return true
		}
	}
	return false
}

// Apply carries a plan out, in its order, and calls report after each step. A document is done wholly or not at all;
// after one that fails the others still have their turn, and the error joins all that failed. With dryRun the server
// only checks; what depends on a resource that the plan would first create can't be checked and is reported as planned.
func Apply(ctx context.Context, c Client, plan []Change, dryRun bool, report func(Change, error)) error {
	var errs []error
	created := make(map[int]bool) // ranks of the kinds of which something is created
	for _, ch := range plan {
		if dryRun && dependsOn(ch, created) {
			report(ch, nil)
			continue
		}
		done, err := ch.do(ctx, c, dryRun)
		if err != nil {
			where := string(ch.Action) + " " + ch.Name
			if ch.doc != nil {
				where = ch.doc.String()
			}
			err = fmt.Errorf("%s: %w", where, Describe(err))
			errs = append(errs, err)
		}
		if dryRun && ch.Action == Create {
			created[ch.Kind.rank] = true
		}
		report(done, err)
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

func dependsOn(ch Change, created map[int]bool) bool {
	for rank := range created {
		if ch.Kind.rank > rank {
			return true
		}
	}
	return false
}

func (ch Change) do(ctx context.Context, c Client, dryRun bool) (Change, error) {
	switch ch.Action {
	case Create:
		_, err := c.Create(ctx, ch.Kind, ch.Name, ch.doc.Resource, dryRun)
		return ch, err
	case Delete:
		return ch, c.Delete(ctx, ch.Kind, ch.Name, dryRun)
	case Update:
		now, err := c.Update(ctx, ch.Kind, ch.doc.Resource, []string{"*"}, dryRun)
		if err == nil && etagOf(now) == etagOf(ch.is) { // what it looked like before its references were there
			ch.Action, ch.Fields, ch.Ends, ch.Alters = Unchanged, nil, nil, nil
		}
		return ch, err
	case Unchanged:
	}
	return ch, nil
}

func etagOf(m proto.Message) string {
	r := m.ProtoReflect()
	return r.Get(r.Descriptor().Fields().ByName("etag")).String()
}

// Describe turns a status into words: the message and each field violation.
func Describe(err error) error {
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	var fields []string
	for _, d := range st.Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				fields = append(fields, v.GetField()+": "+v.GetDescription())
			}
		}
	}
	if len(fields) > 0 {
		return errors.New(strings.Join(fields, "; "))
	}
	return errors.New(st.Message())
}
