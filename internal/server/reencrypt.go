package server

import (
	"context"
	"errors"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
)

func (s instanceService) ReencryptInstance(
	ctx context.Context, r *concentratorv1.ReencryptInstanceRequest,
) (*concentratorv1.Operation, error) {
	m, err := s.named(r.GetName())
	if err != nil {
		return nil, err
	}
	return s.ops.begin(ctx, work{kind: concentratorv1.Operation_REENCRYPT, target: m.GetName()})
}

// reencrypt is the job of ReencryptInstance.
func (b *backend) reencrypt(ctx context.Context, op *running) error {
	total, err := b.store.Records(ctx)
	if err != nil {
		return err
	}
	op.progress(0, int64(total))
	done, err := b.store.Reencrypt(ctx, func(seen int) { op.progress(int64(seen), int64(max(seen, total))) })
	op.say("%d of %d records with secrets sealed anew", done.Resealed, done.Records)
	var unreadable *store.UnreadableError
	if errors.As(err, &unreadable) {
		for _, s := range unreadable.Secrets {
			op.problem(s, reasonUnreadable, "can't be read, so that the old key stays; set it again")
		}
		return errSeeProblems
	}
	return err
}
