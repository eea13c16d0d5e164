package server

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
)

// watchTokenVersion is the first octet of a watch's revision.
const watchTokenVersion = 1

// maxPosition is how many numbers a position has at most.
const maxPosition = 4

// tokens makes and reads the revisions of a watch: version, hash of what is watched, epoch, and the numbers of a position.
// They grant nothing: who forges one sees no more than who watches without.
type tokens struct{ head []byte }

// watchHashLen is how much of the hash a revision holds, in octets. It catches mistakes.
const watchHashLen = 6

func tokensOf(kind, parent string, epoch uint64) tokens {
	sum := sha256.Sum256([]byte(kind + "\x00" + parent))
	head := append([]byte{watchTokenVersion}, sum[:watchHashLen]...)
	return tokens{slices.Clip(binary.BigEndian.AppendUint64(head, epoch))}
}

// token is the revision of a position; that of no position begins anew.
func (t tokens) token(at position) string {
	b := t.head
	for _, n := range at {
		b = binary.AppendVarint(b, n)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// parse reads a revision. No position means that the watch begins with a snapshot.
func (t tokens) parse(token string) (position, error) {
	if token == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	const kindEnd = 1 + watchHashLen
	switch {
	case err != nil || len(b) == 0 || b[0] == watchTokenVersion && len(b) < len(t.head):
		return nil, invalid("revision", "is not one that a watch returned")
	case b[0] != watchTokenVersion:
		return nil, errWatchExpired
	case string(b[:kindEnd]) != string(t.head[:kindEnd]):
		return nil, invalid("revision", "belongs to a watch of something else; it resumes only the watch that returned it")
	}
	var at position
	for rest := b[len(t.head):]; len(rest) > 0; {
		n, used := binary.Varint(rest)
		if used <= 0 || len(at) == maxPosition {
			return nil, invalid("revision", "is not one that a watch returned")
		}
		at, rest = append(at, n), rest[used:]
	}
	if at != nil && string(b[:len(t.head)]) != string(t.head) {
		return nil, errWatchExpired
	}
	return at, nil
}
