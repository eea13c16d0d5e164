package session

import "slices"

// index finds sessions by something that several of them may share. It is guarded by Manager.mu.
type index[K comparable] map[K][]*session

func (x index[K]) add(key K, s *session) { x[key] = append(x[key], s) }

func (x index[K]) remove(key K, s *session) {
	left := slices.DeleteFunc(x[key], func(o *session) bool { return o == s })
	if len(left) == 0 {
		delete(x, key)
		return
	}
	x[key] = left
}
