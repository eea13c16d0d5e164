package server

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// message is what the API's stored resources have in common.
type message interface {
	proto.Message
	comparable
	GetName() string
	GetEtag() string
}

// resource describes one stored kind; the standard methods of all kinds are the functions below.
type resource[T store.Record, M message] struct {
	idField string // of a create request: "poolId"

	meta func(*T) *store.Meta
	// encode makes the message of a record as it is stored, without secrets, name, times and etag.
	encode func(*T) M
	// stamp sets what all resources have: name, times, etag.
	stamp func(M, stamp)
	// decode makes the record of a message, without its Meta. What the message leaves out of old's secrets is kept; old
	// is nil for a new record. Whatever is wrong goes to bad, and the record is then not used.
	decode func(m M, old *T, bad *fieldErrors) *T
	// check holds the record, with its name set, against other resources.
	check func(b *backend, r *T, bad *fieldErrors) error
	// show completes a message for the caller: defaults in effect, and what is not stored.
	show func(b *backend, m M)
	// lasting says that show adds nothing but what is so as long as the record is as it is, so that lists may keep the message.
	lasting bool
	// stored is told, under backend.writing, of each record that was stored, and of each that was removed (nil).
	stored func(b *backend, name string, r *T)
	// referrers names the resources that refer to the one called name, and so keep it from being deleted.
	referrers func(b *backend, name string) ([]string, error)
	// reserved are the fields that a caller who is bound to a tenant may not change, in the spelling of the proto file.
	reserved []string
	// guard, unless nil, is what else such a caller may not change; old is a zero record for a new one.
	guard func(b *backend, old, r *T, bad *fieldErrors) error
}

// stamp is what all resources have, in the form of the API.
type stamp struct {
	name           string
	create, update *timestamppb.Timestamp
	etag           string
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// message makes the message of a record as callers see it.
func (k *resource[T, M]) message(b *backend, r *T) M {
	m := k.raw(r)
	k.show(b, m)
	return m
}

// raw makes the message of a record without defaults.
func (k *resource[T, M]) raw(r *T) M {
	m, meta := k.encode(r), k.meta(r)
	k.stamp(m, stamp{meta.Name, timestamp(meta.CreateTime), timestamp(meta.UpdateTime), meta.Etag})
	return m
}

// create is the standard method Create. The parent is tenants/{tenant}, or "" for what stands alone.
func create[T store.Record, M message](
	ctx context.Context, b *backend, k *resource[T, M], req creation, parent, id string, m M,
) (M, error) {
	made, _, err := createOnce(ctx, b, k, req, parent, id, m)
	return made, err
}

// createOnce is create that also says whether the request was one sent again, which is answered and not done.
func createOnce[T store.Record, M message](
	ctx context.Context, b *backend, k *resource[T, M], req creation, parent, id string, m M,
) (made M, again bool, err error) {
	var none M
	if m == none {
		m = m.ProtoReflect().Type().New().Interface().(M)
	}
	name, err := k.newName(parent, id, m.GetName())
	if err != nil {
		return none, false, err
	}
	bad := fieldErrors{tenant: callerOf(ctx).tenant}
	r := k.decode(m, nil, &bad)
	if err := bad.err(); err != nil {
		return none, false, err
	}
	defer store.Wipe(r)
	k.meta(r).Name = name

	b.writing.Lock()
	defer b.writing.Unlock()
	once, err := b.once(ctx, req)
	if err != nil {
		return none, false, err
	}
	if once.made != "" {
		auditOf(ctx).nothing()
		made, err := madeBefore(b, k, once.made)
		return made, true, err
	}
	if parent != "" {
		if _, err := store.Get[store.Tenant](b.store, parent); err != nil {
			return none, false, &resourceError{parent, err}
		}
	}
	if req.GetValidateOnly() {
		switch _, err := store.Get[T](b.store, name); {
		case err == nil:
			return none, false, &resourceError{name, fmt.Errorf("create %s: %w", name, store.ErrExists)}
		case !isNotFound(err):
			return none, false, err
		}
	}
	if err := k.checkReserved(ctx, b, nil, r); err != nil {
		return none, false, err
	}
	if err := k.check(b, r, &bad); err != nil {
		return none, false, err
	}
	checkNamespace(b, nil, r, &bad)
	if err := bad.err(); err != nil {
		return none, false, err
	}
	if !req.GetValidateOnly() {
		if err := store.Create(b.store, r, audited(ctx, k, nil, r), once.also(name)); err != nil {
			return none, false, &resourceError{name, err}
		}
		k.stored(b, name, r)
	}
	return k.message(b, r), false, nil
}

// newName makes the name of a resource to be created. given is the name that the message carries, if any.
func (k *resource[T, M]) newName(parent, id, given string) (string, error) {
	kind := store.KindOf[T]()
	collection, inTenant := store.CollectionOf(kind)
	prefix := collection + "/"
	if inTenant && (parent != "" || !store.StandsAlone(kind)) {
		if err := checkTenantName(parent); err != nil {
			return "", invalid("parent", "%v", err)
		}
		prefix = parent + "/" + prefix
	}
	if id == "" {
		return "", invalid(k.idField, "is missing; it is the last part of the new name")
	}
	name := canonical(prefix + id)
	if err := store.CheckName(kind, name); err != nil {
		if kind == store.KindUser {
			_, err = tenant.DecodeUser(name[strings.LastIndexByte(name, '/')+1:])
			if strings.Contains(id, "/") {
				err = fmt.Errorf("%q holds a slash, which is written %%2F", id)
			}
		} else {
			err = tenant.CheckID(id)
		}
		return "", invalid(k.idField, "%v", err)
	}
	if given != "" && canonical(given) != name {
		return "", invalid("name", "%q is not the name to be made, %q; it may be left out", given, name)
	}
	return name, nil
}

// checkTenantName says whether name is tenants/{tenant}.
func checkTenantName(name string) error {
	id, ok := strings.CutPrefix(name, "tenants/")
	if !ok {
		return fmt.Errorf("%q is not tenants/{tenant}", name)
	}
	return tenant.CheckID(id)
}

// find reads the record of a name.
func find[T store.Record](b *backend, name string) (*T, error) {
	name = canonical(name)
	if err := store.CheckName(store.KindOf[T](), name); err != nil {
		return nil, invalid("name", "%v", err)
	}
	r, err := store.Get[T](b.store, name)
	if err != nil {
		return nil, &resourceError{name, err}
	}
	return r, nil
}

// get is the standard method Get.
func get[T store.Record, M message](b *backend, k *resource[T, M], name string) (M, error) {
	r, err := find[T](b, name)
	if err != nil {
		var none M
		return none, err
	}
	defer store.Wipe(r)
	return k.message(b, r), nil
}

// list is the standard method List. The parent is tenants/{tenant} or tenants/-, or "" for what stands alone.
func list[T store.Record, M message](
	ctx context.Context, b *backend, k *resource[T, M], r listRequest, parent string,
) ([]M, string, error) {
	var none M
	l, err := newListing(r, none.ProtoReflect().Descriptor())
	if err != nil {
		return nil, "", err
	}
	if err := b.checkParent(store.KindOf[T](), parent); err != nil {
		return nil, "", err
	}
	return pageOf(ctx, l, recordsOf(b, k, parent), M.GetName)
}

// recordsOf yields the resources under a parent, sorted by name.
func recordsOf[T store.Record, M message](b *backend, k *resource[T, M], parent string) resources[M] {
	return func(after string) iter.Seq2[M, error] {
		return func(yield func(M, error) bool) {
			var none M
			for more := true; more; {
				var list []M
				var err error
				if list, after, more, err = derivedOf(b, k).List(parent, after, maxPage); err != nil {
					yield(none, err)
					return
				}
				for _, m := range list {
					if !k.lasting {
						m = proto.CloneOf(m)
						k.show(b, m)
					}
					if !yield(m, nil) {
						return
					}
				}
			}
		}
	}
}

// derivedOf returns the messages that lists of a kind keep. Those that may look different each time are kept before show.
func derivedOf[T store.Record, M message](b *backend, k *resource[T, M]) *store.Derived[T, M] {
	kind := store.KindOf[T]()
	if d, ok := b.derived.Load(kind); ok {
		return d.(*store.Derived[T, M])
	}
	of := k.raw
	if k.lasting {
		of = func(r *T) M { return k.message(b, r) }
	}
	d, _ := b.derived.LoadOrStore(kind, store.NewDerived(b.store, of))
	return d.(*store.Derived[T, M])
}

// checkParent wants the parent of a list to be right for the kind, and to exist.
func (b *backend) checkParent(kind store.Kind, parent string) error {
	_, inTenant := store.CollectionOf(kind)
	if !inTenant || parent == anyTenant || parent == "" && store.StandsAlone(kind) {
		return nil
	}
	if err := checkTenantName(parent); err != nil {
		return invalid("parent", "%v", err)
	}
	_, err := store.Get[store.Tenant](b.store, parent)
	if err != nil {
		return &resourceError{parent, err}
	}
	return nil
}

// update is the standard method Update.
func update[T store.Record, M message](ctx context.Context, b *backend, k *resource[T, M], m M, mask *fieldmaskpb.FieldMask, validateOnly bool) (M, error) {
	var none M
	if m == none {
		return none, invalid("name", "is missing")
	}
	paths, err := resolveMask(mask, m)
	if err != nil {
		return none, err
	}

	b.writing.Lock()
	defer b.writing.Unlock()
	old, err := find[T](b, m.GetName())
	if err != nil {
		return none, err
	}
	defer store.Wipe(old)
	name, etag := k.meta(old).Name, k.meta(old).Etag
	if m.GetEtag() != "" && m.GetEtag() != etag {
		return none, &resourceError{name, fmt.Errorf("update %s: %w since etag %s", name, store.ErrConflict, m.GetEtag())}
	}
	merged := k.raw(old)
	applyMask(merged, m, paths)
	bad := fieldErrors{tenant: callerOf(ctx).tenant}
	r := k.decode(merged, old, &bad)
	if err := bad.err(); err != nil {
		return none, err
	}
	defer store.Wipe(r)
	*k.meta(r) = *k.meta(old)
	if err := k.checkReserved(ctx, b, old, r); err != nil {
		return none, err
	}
	if err := k.check(b, r, &bad); err != nil {
		return none, err
	}
	checkNamespace(b, old, r, &bad)
	if err := bad.err(); err != nil {
		return none, err
	}
	if !validateOnly {
		if err := store.Update(b.store, r, audited(ctx, k, old, r)); err != nil {
			return none, &resourceError{name, err}
		}
		k.stored(b, name, r)
	} else if !store.Same(r, old) {
		k.meta(r).Etag = "" // it would change; what it would become is not known yet
	}
	return k.message(b, r), nil
}

// remove is the standard method Delete.
func remove[T store.Record, M message](ctx context.Context, b *backend, k *resource[T, M], name, etag string, validateOnly bool) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	old, err := find[T](b, name)
	if err != nil {
		return err
	}
	defer store.Wipe(old)
	name = k.meta(old).Name
	if etag != "" && etag != k.meta(old).Etag {
		return &resourceError{name, fmt.Errorf("delete %s: %w since etag %s", name, store.ErrConflict, etag)}
	}
	by, err := k.referrers(b, name)
	if err != nil {
		return err
	}
	if len(by) > 0 {
		return referenced(name, by)
	}
	if validateOnly {
		return nil
	}
	if err := store.Delete[T](b.store, name, k.meta(old).Etag, audited(ctx, k, old, nil)); err != nil {
		return &resourceError{name, err}
	}
	k.stored(b, name, nil)
	return nil
}

// noReferrers is for kinds that nothing refers to.
func noReferrers(*backend, string) ([]string, error) { return nil, nil }

// referrersOf lists the records of kind T under parent whose refers says yes.
func referrersOf[T store.Record](b *backend, parent string, refers func(*T) (name string, yes bool)) ([]string, error) {
	var names []string
	all, _, err := store.List[T](b.store, parent, "", 0)
	for _, r := range all {
		if name, yes := refers(r); yes {
			names = append(names, name)
		}
	}
	return slices.Clip(names), err
}
