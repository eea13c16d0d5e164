package store

import "context"

// Also is what else the commit of a write holds beside its record, as its event in the audit trail: all of it is done, or
// nothing.
type Also interface {
	// begin returns the guards and operations to add. It is called anew for each attempt at a commit.
	begin(ctx context.Context, s *Store) ([]Guard, []Op, error)
	// end is called once after each begin that returned no error, in the opposite order, and told whether the commit was
	// done and at which revision. What begin has locked is released here.
	end(rev int64, done bool)
}

// commit is Commit of the engine with what else there is to do.
func (s *Store) commit(ctx context.Context, guards []Guard, ops []Op, also []Also) (rev int64, ok bool, err error) {
	for _, a := range also {
		if a == nil {
			continue
		}
		g, o, err := a.begin(ctx, s)
		if err != nil {
			return 0, false, err
		}
		defer func() { a.end(rev, ok && err == nil) }()
		guards, ops = append(guards, g...), append(ops, o...)
	}
	return s.kv.Commit(ctx, guards, ops)
}
