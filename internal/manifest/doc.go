// Package manifest turns YAML documents into API calls: it reads them, orders them by dependency, compares them with
// what the server has, and carries the difference out. `ctl apply` and `concentrator serve --apply` are both this code.
//
// It knows resources by their descriptors alone: a kind is a message with a service of standard methods, so a new kind
// in api/proto needs no code here but its place in the order; only which live sessions a change would touch (FindSessions) is
// known kind by kind. It starts no goroutine and keeps no state.
package manifest
