package session

import (
	"slices"
	"sync"
)

// Standing says what of what the store asks for is not there.
type Standing struct {
	Networks      int      // that are wanted: one of each tenant
	NetworksDown  []string // tenants whose network is not up, sorted
	Listeners     int      // that are wanted
	ListenersDown []string // that do not listen, or not for all their protocols, sorted
}

// wanted is what the last pass of the reconciler found in the store. It is safe for concurrent use.
type wanted struct {
	mu              sync.Mutex
	tenants         []string
	pptp, datagrams []string // listeners
}

func (w *wanted) setNetworks(tenants []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tenants = tenants
}

func (w *wanted) setListeners(pptp, datagrams []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pptp, w.datagrams = pptp, datagrams
}

// Standing says what is up, as of the last pass over the store.
func (m *Manager) Standing() Standing {
	w := &m.wanted
	w.mu.Lock()
	defer w.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	st := Standing{Networks: len(w.tenants)}
	for _, t := range w.tenants {
		if n := m.networks[t]; n == nil || n.lost() {
			st.NetworksDown = append(st.NetworksDown, t)
		}
	}
	all := slices.Concat(w.pptp, w.datagrams)
	for _, l := range w.pptp {
		if m.listeners[l] == nil {
			st.ListenersDown = append(st.ListenersDown, l)
		}
	}
	for _, l := range w.datagrams {
		if m.faces[l] == nil {
			st.ListenersDown = append(st.ListenersDown, l)
		}
	}
	slices.Sort(all)
	st.Listeners = len(slices.Compact(all))
	slices.Sort(st.NetworksDown)
	slices.Sort(st.ListenersDown)
	st.ListenersDown = slices.Compact(st.ListenersDown)
	return st
}
