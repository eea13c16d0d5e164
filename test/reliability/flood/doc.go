// Package flood floods the daemon with what strangers and hostile users can send, in namespaces of its own and for a bounded
// time, and looks at what everybody else notices: how long log-ins take, what standing sessions lose, how much memory the
// daemon takes, how soon it is as before. docs/reliability.md has what was seen.
package flood
