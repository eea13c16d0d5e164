package server

import (
	"context"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
)

// job is one kind of operation: what it does, as its record says, and how.
type job struct {
	kind concentratorv1.Operation_Kind
	// unit is what progress counts: sessions, users, octets, resources.
	unit string
	// most is how many of the kind may run at a time, of one tenant or of none; 0 means 1. A tenant's may run beside that of
	// another.
	most int
	// takesOver has a new one cancel those that run, rather than be refused.
	takesOver bool
	// run does it, in a goroutine of its own, and returns when it is done or when ctx ends. It ends when the operation is
	// cancelled, and when the server stops; in the latter case run is called again after the next start, from its beginning,
	// so it must not mind finding its work half done: op.resumed says so, op.done how far it was.
	//
	// nil with no problem told is SUCCEEDED, anything else FAILED: the error is told as a problem of the operation's target
	// unless it is errSeeProblems.
	run func(ctx context.Context, op *running) error
}

// jobs is the table of all kinds. Their order is of no importance.
func (b *backend) jobs() []job {
	return []job{
		{kind: concentratorv1.Operation_DRAIN, unit: "sessions", takesOver: true, run: b.drain},
		{kind: concentratorv1.Operation_DISCONNECT_SESSIONS, unit: "sessions", most: 4, run: b.disconnectSessions},
		{kind: concentratorv1.Operation_IMPORT_USERS, unit: "users", run: b.importUsers},
		{kind: concentratorv1.Operation_BACKUP, unit: "octets", run: b.backup},
		{kind: concentratorv1.Operation_REENCRYPT, unit: "records", run: b.reencrypt},
	}
}
