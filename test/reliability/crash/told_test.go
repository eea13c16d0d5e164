//go:build interop

package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// A user goes through steps: 0 not there, 1 made, up to lastStep-1 changed, lastStep deleted. The step is its maxSessions.
const lastStep = 6

// step is how far a user is: as far as was acknowledged, and as far as was tried.
type step struct{ acked, tried int }

// told is what the API has acknowledged, over all lives of the daemon.
type told struct {
	mu      sync.Mutex
	users   map[string]step
	imports map[string][]string // users of an import that has begun, by its operation, since the last check
	brought []string            // users of imports that were done at a check
	live    map[string]bool     // IDs of sessions that the API has shown
	calls   int                 // acknowledged
}

func newTold() *told {
	return &told{users: make(map[string]step), imports: make(map[string][]string), live: make(map[string]bool)}
}

func (s *told) note(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

const (
	users    = "tenants/acme/users"
	sessions = "tenants/acme/sessions"
)

// write makes, changes and deletes users until ctx ends or the daemon does not answer any more. Each writer has users of its own.
func (s *told) write(ctx context.Context, r *rest, writer string, seed uint64) error {
	rnd := rand.New(rand.NewPCG(seed, 1))
	for n := 0; ctx.Err() == nil; n++ {
		name := fmt.Sprintf("%s-%d", writer, n)
		last := lastStep - rnd.IntN(2)*rnd.IntN(lastStep) // half of them stay
		for i := 1; i <= last; i++ {
			s.note(func() { s.users[name] = step{i - 1, i} })
			var err error
			switch i {
			case 1:
				err = r.call(ctx, http.MethodPost, users+"?userId="+name, map[string]any{"password": "secret-of-" + name, "maxSessions": 1}, nil)
			case lastStep:
				err = r.call(ctx, http.MethodDelete, users+"/"+name, nil, nil)
			default:
				err = r.call(ctx, http.MethodPatch, users+"/"+name+"?updateMask=maxSessions", map[string]any{"maxSessions": i}, nil)
			}
			if err != nil {
				return err
			}
			s.note(func() { s.users[name] = step{i, i}; s.calls++ })
		}
	}
	return nil
}

// importRows is how many users an import makes, and importStep their maxSessions.
const (
	importRows = 20
	importStep = 7
)

// bring begins imports until ctx ends or the daemon does not answer any more.
func (s *told) bring(ctx context.Context, r *rest, writer string) error {
	for n := 0; ctx.Err() == nil; n++ {
		var names []string
		table := "user,password,maxSessions\n"
		for i := range importRows {
			name := fmt.Sprintf("%s-%d-%d", writer, n, i)
			names = append(names, name)
			table += fmt.Sprintf("%s,secret-of-%[1]s,%d\n", name, importStep)
		}
		var op struct{ Name string }
		err := r.call(ctx, http.MethodPost, users+":import", map[string]any{"csv": table}, &op)
		if a, ok := refused(err); ok && strings.Contains(a.text, "OPERATION_RUNNING") { // one whose begin nobody was told of goes on
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		if err != nil {
			return err
		}
		s.note(func() { s.imports[op.Name] = names; s.calls++ })
		if err := finish(ctx, r, op.Name); err != nil {
			return err
		}
	}
	return nil
}

// finish waits until an operation has ended without an error.
func finish(ctx context.Context, r *rest, name string) error {
	for {
		var op struct {
			State    string
			Problems json.RawMessage
		}
		if err := r.call(ctx, http.MethodGet, name, nil, &op); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		switch op.State {
		case "RUNNING":
		case "SUCCEEDED":
			return nil
		default:
			return fmt.Errorf("%s is %s: %s", name, op.State, op.Problems)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// look notes which sessions are up.
func (s *told) look(ctx context.Context, r *rest) (n int) {
	var list struct {
		Sessions []struct{ Name, State string }
	}
	if r.call(ctx, http.MethodGet, sessions+"?pageSize=1000", nil, &list) != nil {
		return 0
	}
	for _, one := range list.Sessions {
		if one.State == "OPEN" {
			s.note(func() { s.live[strings.TrimPrefix(one.Name, sessions+"/")] = true })
			n++
		}
	}
	return n
}

// check holds what there is against what was acknowledged. What was tried and is there counts as acknowledged from now on: it
// must not go again.
func (s *told) check(t testing.TB, r *rest) {
	t.Helper()
	// An import goes on by itself in the next life.
	ctx, cancel := context.WithTimeout(t.Context(), callTime)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for op, names := range s.imports {
		if err := finish(ctx, r, op); err != nil {
			t.Errorf("import: %v", err)
		}
		delete(s.imports, op)
		s.brought = append(s.brought, names...)
	}
	there := make(map[string]int)
	r.pages(t, users, func(page []byte) {
		var list struct {
			Users []struct {
				Name        string
				MaxSessions int
			}
		}
		if err := json.Unmarshal(page, &list); err != nil {
			t.Fatal(err)
		}
		for _, u := range list.Users {
			there[strings.TrimPrefix(u.Name, users+"/")] = u.MaxSessions
		}
	})
	for name, u := range s.users {
		now, is := there[name]
		if !is && u.tried == lastStep {
			now = lastStep
		}
		if now != u.acked && now != u.tried {
			t.Errorf("user %s: acknowledged step %d, tried %d, found %d", name, u.acked, u.tried, now)
		}
		s.users[name] = step{now, now}
	}
	for _, name := range s.brought {
		if there[name] != importStep {
			t.Errorf("an import is done, and its user %s is not there", name)
		}
	}
	s.checkAudit(t, r)
}

// checkAudit sees that the trail is whole and has each acknowledged call.
func (s *told) checkAudit(t testing.TB, r *rest) {
	t.Helper()
	var found struct {
		Valid  bool
		Detail string
	}
	if err := r.call(t.Context(), http.MethodPost, "auditEvents:verify", map[string]any{}, &found); err != nil || !found.Valid {
		t.Errorf("audit trail: %v, %+v", err, found)
	}
	events := make(map[string]int)
	r.pages(t, "auditEvents", func(page []byte) {
		var list struct {
			AuditEvents []struct{ Resource, Code string }
		}
		if err := json.Unmarshal(page, &list); err != nil {
			t.Fatal(err)
		}
		for _, e := range list.AuditEvents {
			if e.Code == "OK" {
				events[e.Resource]++
			}
		}
	})
	for name, u := range s.users {
		if got := events[users+"/"+name]; got != u.acked {
			t.Errorf("user %s is at step %d, and has %d audit events", name, u.acked, got)
		}
	}
}

// refused says whether an error is an answer of the daemon, and which.
func refused(err error) (*answer, bool) {
	var a *answer
	return a, errors.As(err, &a)
}
