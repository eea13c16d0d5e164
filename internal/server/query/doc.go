// Package query is the language of lists: filters (google.aip.dev/160) and orders (google.aip.dev/132) over messages of the API,
// compiled for one type. Whatever a stranger writes is bounded: in length, in depth, in the number of comparisons.
//
// It keeps nothing and starts no goroutine.
package query
