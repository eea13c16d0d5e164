package multibuf

import "crypto/sha256"

// Scratch is the working memory of one caller, who uses it for one call at a time.
type Scratch struct {
	hashes [SHA256 + 1]resumable
	sum    [sha256.Size]byte
}

// NewScratch makes the working memory.
func NewScratch() *Scratch {
	x := &Scratch{}
	for h := SHA1; h <= SHA256; h++ {
		x.hashes[h] = newResumable(h)
	}
	return x
}
