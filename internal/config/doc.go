// Package config reads the daemon's file: what must be known before the API is up. Everything else is in the store.
//
// It owns the keys of the file, their defaults and the words of its errors: each names file, line, key, value and what
// is allowed. The daemon calls it once at start. It starts no goroutine.
package config
