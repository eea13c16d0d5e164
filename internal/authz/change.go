package authz

import (
	"net/netip"
	"time"
)

// Match is what a Disconnect- or CoA-Request knows a session by (RFC 5176 section 3): a session must agree with every field
// that is set. An empty Match fits none.
type Match struct {
	SessionID      string     // Acct-Session-Id
	User           string     // User-Name, as in accounting
	Address        netip.Addr // Framed-IP-Address
	CallingStation string     // Calling-Station-Id: the peer's outer address
	CalledStation  string     // Called-Station-Id: our outer address
	NASPort        *uint32
	Class          [][]byte // all of them must be among the session's
}

// Change is what a CoA-Request changes of a live session. Fields that are nil stay as they are; all the others are done, or
// none.
type Change struct {
	UpBps, DownBps  *uint64        // rate of inner packets from and to the peer, bit/s; 0: no limit
	ACL             *string        // the last part of an ACL's name; empty: none
	SessionTimeout  *time.Duration // from the session's begin; 0: none. One that is past ends the session
	IdleTimeout     *time.Duration // 0: none
	InterimInterval *time.Duration // 0: none
	Class           *[][]byte
	Routes          *[]netip.Prefix // networks behind the peer, instead of those that it has
}
