// Package tenant is the vocabulary that all rooms share: identifiers, policies, stages and reasons.
//
// It owns no state, does no I/O, starts no goroutine and imports no other room.
package tenant
