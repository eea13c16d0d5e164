// Package secrets looks for secrets where they must not be: in the memory of a daemon after the session that they were of,
// and in what it writes, says and shows.
package secrets
