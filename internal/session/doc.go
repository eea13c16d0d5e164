// Package session is the conductor: it leads one login from its first byte to its last, through ike, tunnel, ppp, authz,
// ippool and dataplane, and keeps the listeners and networks as the store says.
//
// It owns the live sessions, their slots, the feed of their changes and the last login attempts. Each session is one
// goroutine that owns its ppp.Link; frames from the shard, verdicts and commands come to it through one bounded inbox.
// What carries a session is a carrier, which pptp.go and l2tp.go make; from open on all sessions are led alike.
//
// It owns the IPsec peers too. An ipsecPeer joins what the IKE engine, the L2TP server and the dataplane know of one
// client; peers finds it, moves it with its NAT and merges it with what it was before. One errand goroutine does what
// shards' threads may not wait for. One more goroutine follows the store, opens and closes listeners and networks, and
// makes the snapshots of what IKE may negotiate.
//
// Going down is one function, session.teardown, whatever the state and the cause. docs/login-walk.md follows a login
// through the package.
//
// RFCs: 2637, 2661 and 3193 for what carries PPP, 3947 and 3948 for peers behind a NAT.
package session
