// Package strangers bounds what can be begun by sources from which nobody has logged in: so many beginnings a second, in all, and
// whoever asks again. Without a flood nobody notices; in one it costs little, and those who have been here before get in.
//
// The servers of internal/tunnel use it. A Guard is memory of a fixed size under its owner's lock; it starts no goroutine and does
// no I/O.
package strangers
