// Package strangers bounds what can be begun by sources from which nobody has logged in: so many beginnings a second, in all, and
// whoever asks again. Without a flood nobody notices; in one it costs little, and those who have been here before get in.
//
// The servers of internal/tunnel use a Guard each, internal/ike the Repeats alone. Both are memory of a fixed size under their
// owner's lock; they start no goroutine and do no I/O.
package strangers
