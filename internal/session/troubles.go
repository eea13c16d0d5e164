package session

import (
	"fmt"
	"sync"

	"concentrator/internal/telemetry"
)

// troubles are what keeps networks, or listeners, from working: as the last pass over the store has come to, and as they look
// from outside. They are guarded by Manager.passing, and for networks that are opened side by side by mu.
type troubles struct {
	fault telemetry.Fault
	mu    sync.Mutex
	pass  map[string]error // by resource name: what was not opened, closed or changed
	look  map[string]error // what is open and does not work
	told  map[string]bool
}

func newTroubles(fault telemetry.Fault) *troubles {
	return &troubles{fault: fault, pass: make(map[string]error), look: make(map[string]error), told: make(map[string]bool)}
}

// failed notes what a pass has not come to.
func (t *troubles) failed(name string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pass[name] = err
}

// forget takes back what was seen of one that is closed.
func (t *troubles) forget(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.look, name)
}

// tell raises and clears what has come and gone.
func (t *troubles) tell(faults *telemetry.Faults) {
	now := make(map[string]bool)
	for name, err := range t.look {
		now[name] = true
		faults.Raise(t.fault, name, err.Error())
	}
	for name, err := range t.pass {
		now[name] = true
		if also := t.look[name]; also != nil {
			err = fmt.Errorf("%w; %w", err, also)
		}
		faults.Raise(t.fault, name, err.Error())
	}
	for name := range t.told {
		if !now[name] {
			faults.Clear(t.fault, name)
		}
	}
	t.told = now
}

// note is what a pass, or a look, has found of one; nil is that nothing is wrong.
func note(found map[string]error, name string, err error) {
	if err == nil {
		delete(found, name)
		return
	}
	found[name] = err
}
