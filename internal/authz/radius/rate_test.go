package radius

import "testing"

func TestParseRateLimit(t *testing.T) {
	for _, tt := range []struct {
		in       string
		up, down uint64
		rest     string
		bad      bool
	}{
		// The examples of the RouterOS manual.
		{in: "128k", up: 128_000, down: 128_000},
		{in: "64k/128M", up: 64_000, down: 128_000_000},
		{in: "64k 256k", up: 64_000, down: 64_000, rest: "256k"},
		{in: "64k/64k 256k/256k 128k/128k 10/10", up: 64_000, down: 64_000, rest: "256k/256k 128k/128k 10/10"},

		{in: "1000000", up: 1_000_000, down: 1_000_000},
		{in: " 1G/2G ", up: 1_000_000_000, down: 2_000_000_000},
		{in: "0/0"},
		{in: "4294967295G", up: 4_294_967_295_000_000_000, down: 4_294_967_295_000_000_000},
		{in: "4294967296", bad: true},
		{in: "99999999999999999999k", bad: true},
		{in: "", bad: true},
		{in: "k", bad: true},
		{in: "/", bad: true},
		{in: "1M/", bad: true},
		{in: "/1M", bad: true},
		{in: "1M/2M/3M", bad: true},
		{in: "-1k", bad: true},
		{in: "1.5M", bad: true},
		{in: "10T", bad: true},
	} {
		up, down, rest, err := parseRateLimit(tt.in)
		if up != tt.up || down != tt.down || rest != tt.rest || (err != nil) != tt.bad {
			t.Errorf("%q: %d %d %q %v", tt.in, up, down, rest, err)
		}
	}
}
