// Package corpus keeps the inputs that fuzzing has found worth keeping, one text file a target, so that every run of the
// tests tries them and every run of the fuzzer begins with them. For tests only.
//
// A target FuzzX begins with corpus.Add(f), which reads testdata/corpus/FuzzX.txt if it is there. The file is made by
// `make corpus` (test/fuzz) and may be edited by hand:
//
//	go test fuzz v1
//
//	# where the entry is from; an entry with such a line is never thrown out
//	[]byte("\x01\x02")
//	uint8(7)
//
// The values of an entry, one a line, are in Go's own encoding of fuzzing inputs; a blank line ends it.
//
// It starts no goroutines.
package corpus
