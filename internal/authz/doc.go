// Package authz is how the rest of the concentrator asks "may this peer in, and with what?".
//
// It owns the question (Request), the answer (Verdict) and the interface between them (Authenticator); the backends are
// its sub-packages: local decides from a table of users, radius asks a RADIUS server. Session calls it, once for each
// authentication attempt of a PPP link, and knows no backend's own types.
//
// The package itself starts no goroutine. RFCs: 1334 (PAP), 1994 (CHAP), 2759 (MS-CHAPv2), 3079 (MPPE keys); the
// RADIUS ones are listed in authz/radius.
package authz
