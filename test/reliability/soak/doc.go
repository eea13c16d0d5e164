// Package soak holds sessions for long, with all that happens to sessions meanwhile, and looks for what is left over.
//
//	soak.go   what a soak is: how many, how long, how fast
//	state.go  what a daemon and its kernel have: goroutines, descriptors, leases, SAs, routes
//	books.go  whether each session has its Start and its Stop
//
// docs/reliability.md says what was seen.
package soak
