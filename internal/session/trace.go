package session

import (
	"strings"

	"concentrator/internal/authz"
)

// setTrace keeps how a verdict came about, for the login attempt that it ends.
func (s *session) setTrace(t authz.Trace) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trace = LoginTrace{Server: t.Server, RTT: t.RTT, Sent: attributes(t.Sent), Received: attributes(t.Received)}
}

func (s *session) lastTrace() LoginTrace {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trace
}

func attributes(list []authz.Attribute) []Attribute {
	out := make([]Attribute, len(list))
	for i, a := range list {
		out[i] = Attribute(a)
	}
	return out
}

// identification is what the client's PPP said of itself: Windows sends its name as "MSRAS-0-LAPTOP" and its version as
// "MSRASV5.20", both in LCP Identifications.
func (s *session) identification() (name, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range s.idents {
		switch {
		case strings.HasPrefix(text, "MSRASV"):
			version = text
		case strings.HasPrefix(text, "MSRAS-"):
			name = text
		}
	}
	return name, version
}
