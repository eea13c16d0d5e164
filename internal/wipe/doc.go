// Package wipe takes secrets out of memory, as far as Go allows it.
//
// It owns nothing, starts no goroutine and knows nothing of what the secrets are. Whoever holds a secret clears it with the
// builtin clear when it is over; this package is for where that does not reach: key schedules inside the standard library,
// and what computing with a secret leaves on the stack.
//
// What it can't reach: strings, what the collector has not given to anybody else yet and nobody points to any more, and
// stacks that the runtime has moved. SECURITY.md says which secrets that concerns.
package wipe
