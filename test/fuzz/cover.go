package main

import (
	"bufio"
	"bytes"
	"fmt"
	"math/bits"
	"os"
	"strconv"
)

// feature is that a block of the code was run about so often: once, twice, up to 4, 8 ... times.
type feature struct {
	block string
	times int
}

// readProfile reads the features out of a coverage profile in count mode.
func readProfile(path string) (map[feature]bool, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	all := make(map[feature]bool)
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		line := lines.Bytes()
		at := bytes.LastIndexByte(line, ' ')
		if at < 0 || bytes.HasPrefix(line, []byte("mode:")) || bytes.HasSuffix(line, []byte(" 0")) {
			continue
		}
		n, err := strconv.ParseUint(string(line[at+1:]), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all[feature{string(line[:at]), bits.Len64(n)}] = true
	}
	return all, lines.Err()
}
