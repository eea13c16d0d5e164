package store_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
)

// forms are the ways in which a careless encoder might write a secret: as it is, in base64 at each of its three
// alignments, in hex, and as JSON numbers.
func forms(secret string) [][]byte {
	all := [][]byte{[]byte(secret), []byte(hex.EncodeToString([]byte(secret)))}
	for shift := range 3 {
		text := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), secret...))
		all = append(all, []byte(text[4:len(text)-4]))
	}
	numbers := make([]int, len(secret))
	for i := range numbers {
		numbers[i] = int(secret[i])
	}
	text, err := json.Marshal(numbers)
	if err != nil {
		panic(err)
	}
	return append(all, text)
}
