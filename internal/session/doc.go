// Package session is the conductor: it leads one login from its first byte to its last, through tunnel, ppp, authz,
// ippool and dataplane, and keeps the listeners and networks as the store says.
//
// It owns the live sessions, their slots, the feed of their changes and the last login attempts. Each session is one
// goroutine that owns its ppp.Link; frames from the shard, verdicts and commands come to it through one bounded inbox.
// One more goroutine follows the store and opens and closes listeners and networks.
//
// Going down is one function, session.teardown, whatever the state and the cause. docs/login-walk.md follows a login
// through the package.
package session
