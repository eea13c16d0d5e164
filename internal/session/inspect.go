package session

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"concentrator/internal/dataplane"
)

// inspectEvery is how often it is looked whether what is open still works: links that are down, addresses that are gone, and
// namespaces that were deleted or are other ones by now. Devices that are gone tell by themselves.
const inspectEvery = 2 * time.Second

// mostInspected is how many networks are looked at each time, whichever they are: each costs some system calls.
const mostInspected = 200

// views are what was seen of namespaces in one look around.
type views struct {
	plane Plane
	seen  map[string]view
}

type view struct {
	sight dataplane.Sight
	err   error
}

func (v *views) of(namespace string) view {
	s, ok := v.seen[namespace]
	if !ok {
		s.sight, s.err = v.plane.Look(namespace)
		v.seen[namespace] = s
	}
	return s
}

// inspect looks at networks and listeners. What must be opened anew is left to a pass.
func (m *Manager) inspect() {
	m.passing.Lock()
	defer m.passing.Unlock()
	if m.over {
		return
	}
	m.mu.Lock()
	networks, listeners, faces := maps.Clone(m.networks), maps.Clone(m.listeners), maps.Clone(m.faces)
	m.mu.Unlock()
	anew := false
	maps.DeleteFunc(m.netTroubles.look, func(name string, _ error) bool { return networks[name] == nil })
	left := mostInspected
	for name, n := range networks {
		if left--; left < 0 {
			break
		}
		err := n.network.Check()
		note(m.netTroubles.look, name, err)
		if errors.Is(err, dataplane.ErrAnew) && !n.anew.Swap(true) {
			anew = true
		}
		if err == nil && n.lost() {
			m.netTroubles.look[name] = errLost
		}
	}
	v := views{m.cfg.Plane, make(map[string]view)}
	clear(m.listenerTroubles.look)
	look := func(name, namespace string, addr netip.Addr, at *place) {
		err, moved := at.check(v.of(namespace), addr)
		if err != nil {
			m.listenerTroubles.look[name] = err
		}
		anew = anew || moved
	}
	for name, l := range listeners {
		look(name, l.namespace, l.addr, &l.place)
	}
	for name, f := range faces {
		look(name, f.namespace, f.addr, &f.place)
	}
	for namespace, c := range m.coaSockets {
		if _, moved := c.place.check(v.of(namespace), netip.IPv4Unspecified()); moved {
			anew = true
		}
	}
	m.netTroubles.tell(m.cfg.Faults)
	m.listenerTroubles.tell(m.cfg.Faults)
	if anew {
		m.poke()
	}
}

// errLost is why a network does not work whose device was deleted.
var errLost = errors.New("its device is gone")

// place is where sockets were opened: in which of the namespaces that may have borne a name.
type place struct {
	known bool
	id    uint64
	moved bool // the name is another one's by now: they must be opened anew, there
}

// check says why what was opened here hears nothing, and whether it is now, for the first time, that it must be opened anew.
// The first look only notes where that was.
func (p *place) check(v view, addr netip.Addr) (err error, moved bool) {
	switch {
	case errors.Is(v.err, dataplane.ErrNameless):
		return errors.New("its namespace was deleted"), false
	case v.err != nil:
		return fmt.Errorf("can't look at its namespace: %w", v.err), false
	case v.sight.Namespace == 0:
		return nil, false // nothing is known
	}
	if !p.known {
		p.known, p.id = true, v.sight.Namespace
	}
	if p.id != v.sight.Namespace {
		moved, p.moved = !p.moved, true
		return errors.New("its namespace is another one now"), moved
	}
	if !dataplane.Hears(v.sight, addr) {
		return fmt.Errorf("no link that is up has the address %v", addr), false
	}
	return nil, false
}
