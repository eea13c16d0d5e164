// Package guess slows down who guesses passwords, without locking out who knows one.
//
// It owns what is remembered of failed log-ins. Session asks Allow before each log-in is put to a backend and tells the
// outcome to the Pass that it got.
//
// Whom a failure counts against depends on whether this user has logged in from this source before:
//
//   - If so, only against this user from this source, and nothing else holds the two up: who guesses elsewhere, or guesses
//     other names from the same source, can't lock this user out.
//   - If not, against the user (from all sources that are new for the user), the source (for all users that are new there)
//     and the tenant (for all such pairs), so that neither many sources, many names nor both get round it.
//
// Each of these has a level: failures raise it by one, time lowers it. From Policy.Free on every failure holds the next
// attempt up, twice as long each time, and while it is up there attempts come one by one: the next one waits for the outcome
// of the one before, or as long. A success takes no failures back, or somebody with an account could earn guesses by logging
// in; it makes the source known.
//
// A tenant's state is apart from all others', and bounded: made-up names push out names without many failures first, and
// never a known source, which only a success makes.
//
// A Guard outlives the process in a Storage, written in batches about a second later. Run is its one goroutine, started by
// its owner.
package guess
