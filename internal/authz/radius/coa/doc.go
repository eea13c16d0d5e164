// Package coa takes the requests that RADIUS servers send of their own accord: to end a session (Disconnect-Request) and to
// change one (CoA-Request), RFC 5176. They come over UDP, port 3799, or over the TLS connections that we hold to servers.
//
// It is called by the daemon, which gives it sockets (Serve) and the packets of TLS connections (Handle), and by session, which
// says who may send (SetSources) and is the Host: it knows the sessions, and ends and changes them.
//
// What happens to a datagram, in order. Where it says "dropped", nobody is told; a counter goes up, and once a minute a line
// of the log says so, because a forger must learn nothing from us:
//
//  1. What is no whole packet, or another kind of packet, is dropped.
//  2. Its address must lie in a prefix of a Source; else it is dropped.
//  3. Its Request Authenticator must be right for a secret of such a Source, and so must its Message-Authenticator, if it has
//     one; else it is dropped. The Source says the tenant. Where tenants share an address, the secret tells them apart. Where
//     they share that too, the request is for the sessions of all of them, but it never changes those of more than one.
//  4. Its Event-Timestamp must lie within the Window around our clock; else it is dropped (RFC 5176 section 6.3). It need
//     not have one, unless the Config says so.
//  5. A request that came before gets the reply that it had; while there is none yet, it is dropped. Without an
//     Event-Timestamp "before" is 30 s, and the sender's port counts too; with one it is as long as the timestamp is good, from
//     wherever it comes, so that a packet that was overheard does nothing a second time.
//  6. While too many requests of its tenant, or of all, are under way, it is dropped; the sender will repeat it.
//  7. From here on there is an answer, an ACK or a NAK with an Error-Cause, signed with the request's secret,
//     Message-Authenticator first, with the request's Proxy-State and State attributes in order.
//
// What the answer is:
//
//   - NAS-Identifier and NAS-IP-Address must be ours, if they are there and we know ours: else 403.
//   - A Service-Type other than Framed, "Authorize Only" above all, is not served: 405.
//   - An attribute that is not known or does not belong in the request is 401, a malformed one 404, a value of no use 407.
//   - Without any attribute that tells a session, or with nothing to change, it is 402.
//   - All attributes that tell a session must fit (authz.Match). No session of the tenant does: 503. Other tenants' sessions
//     are as good as not there.
//   - Several sessions fit: a CoA-Request is refused (508), since a change of several is not sure to be all or nothing. A
//     Disconnect-Request that says the User-Name ends them all; one that does not is refused (508), for the likes of a
//     Called-Station-Id alone would end everybody's session.
//   - The Host does it, and its errors say the rest; see Host.
//
// A Class in a Disconnect-Request tells no session. It goes into the session's accounting Stop (RFC 5176 section 3.6 note 4).
//
// Goroutines: Serve runs on its caller's, and each request under way has one, up to maxPending in all. Close ends them.
//
// RFCs: 5176 (dynamic authorization), 2866 section 3 (Request Authenticator), 3579 section 3.2 (Message-Authenticator), 6614
// (RADIUS over TLS).
package coa
