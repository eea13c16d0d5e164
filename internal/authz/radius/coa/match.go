package coa

import (
	"bytes"
	"net/netip"
	"slices"

	"concentrator/internal/authz"
)

// isEmpty says whether nothing in m tells a session.
func isEmpty(m authz.Match) bool {
	return m.SessionID == "" && m.User == "" && !m.Address.IsValid() && m.CallingStation == "" && m.CalledStation == "" &&
		m.NASPort == nil && len(m.Class) == 0
}

// fits says whether all of m is true of s, RFC 5176 section 3.
func fits(m authz.Match, s Session) bool {
	switch {
	case m.SessionID != "" && m.SessionID != s.ID,
		m.User != "" && m.User != s.User,
		m.Address.IsValid() && m.Address.Unmap() != s.Address.Unmap(),
		m.CallingStation != "" && !sameStation(m.CallingStation, s.CallingStation),
		m.CalledStation != "" && !sameStation(m.CalledStation, s.CalledStation),
		m.NASPort != nil && *m.NASPort != s.NASPort:
		return false
	}
	for _, c := range m.Class {
		if !slices.ContainsFunc(s.Class, func(have []byte) bool { return bytes.Equal(have, c) }) {
			return false
		}
	}
	return true
}

// sameStation compares two stations. Ours are addresses, which have more than one spelling in IPv6.
func sameStation(a, b string) bool {
	if a == b {
		return true
	}
	x, err := netip.ParseAddr(a)
	if err != nil {
		return false
	}
	y, err := netip.ParseAddr(b)
	return err == nil && x.Unmap() == y.Unmap()
}
