// Package strangers bounds what can be begun by sources from which nobody has logged in: so many beginnings a second, in all, and
// as many of those who ask again. Without a flood nobody notices; in one it costs little, and those who have been here before get in.
//
// The servers of internal/tunnel, internal/ike and internal/session have a Guard each: memory of a fixed size under its owner's lock,
// without a goroutine and without I/O.
package strangers
