package lcp

import (
	"bytes"
	"testing"

	"concentrator/internal/corpus"
	"concentrator/internal/wire/ppp"
)

// FuzzParseValues gives one value to the parsers of all options: what one takes, it writes again.
func FuzzParseValues(f *testing.F) {
	corpus.Add(f)
	for _, b := range [][]byte{{}, {5, 0xdc}, {0, 10, 0, 0}, {3, 0, 1, 2, 3, 4, 5}, {1}} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > ppp.MaxOptionValue {
			return
		}
		check := func(name string, err error, again []byte) {
			if err == nil && !bytes.Equal(again[2:], b) {
				t.Errorf("%s %x became %x", name, b, again)
			}
		}
		mru, err := ParseMRU(b)
		check("MRU", err, AppendMRU(nil, mru))
		accm, err := ParseACCM(b)
		check("ACCM", err, AppendACCM(nil, accm))
		magic, err := ParseMagic(b)
		check("magic", err, AppendMagic(nil, magic))
		check("flag", ParseFlag(b), AppendFlag(nil, OptionPFC))
		class, address, err := ParseEndpoint(b)
		check("endpoint", err, ppp.AppendOption(nil, OptionEndpoint, append([]byte{class}, address...)...))
	})
}
