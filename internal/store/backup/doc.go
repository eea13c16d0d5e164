// Package backup puts the files of an instance's state into one, and back.
//
// A backup is a tar archive, compressed by gzip: backup.json, which says what else is in it, and the files as they lie in the
// state directory. Each is whole in itself; they are copied one after the other while the instance goes on. The key file is
// never in it: a backup alone opens no secret.
//
// It starts no goroutine.
package backup
