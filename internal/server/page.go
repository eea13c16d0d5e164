package server

import (
	"crypto/sha256"
	"encoding/base64"

	"google.golang.org/protobuf/proto"
)

// Bounds of a page, AIP-158.
const (
	defaultPage = 100
	maxPage     = 1000
	// maxPageBytes ends a page early, so that it fits what gRPC clients take by default (4 MiB).
	maxPageBytes = 2 << 20
)

// query is what a list request asks for besides the page; a page token belongs to one query.
type query []string

// tokenVersion is the first octet of a page token.
const tokenVersion = 1

// queryHashLen is how much of the query's hash a page token holds, in octets. It catches mistakes; a token grants
// nothing, so there is nobody to keep out.
const queryHashLen = 8

func (q query) hash() []byte {
	h := sha256.New()
	for _, s := range q {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	return h.Sum(nil)[:queryHashLen]
}

// token makes the token for the page after the resource called last.
func (q query) token(last string) string {
	b := append([]byte{tokenVersion}, q.hash()...)
	return base64.RawURLEncoding.EncodeToString(append(b, last...))
}

// page checks page_size and page_token. It returns the size to use and the name after which the page begins.
func (q query) page(size int32, token string) (limit int, after string, err error) {
	if size < 0 {
		return 0, "", invalid("pageSize", "%d is negative; 0 means %d, and at most %d count", size, defaultPage, maxPage)
	}
	limit = min(int(size), maxPage)
	if limit == 0 {
		limit = defaultPage
	}
	if token == "" {
		return limit, "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) <= 1+queryHashLen || b[0] != tokenVersion {
		return 0, "", invalid("pageToken", "is not one that a list returned")
	}
	if string(b[1:1+queryHashLen]) != string(q.hash()) {
		return 0, "", invalid("pageToken", "belongs to another list; everything but pageSize must be as in the request that returned it")
	}
	return limit, string(b[1+queryHashLen:]), nil
}

// fill encodes the resources of a page one by one until it is full in octets, and returns the token for the next page:
// more says whether there is anything behind all.
func fill[T any, M proto.Message](q query, all []T, more bool, name func(T) string, encode func(T) M) (page []M, next string) {
	bytes := 0
	for i, r := range all {
		m := encode(r)
		page = append(page, m)
		bytes += proto.Size(m)
		if i < len(all)-1 && bytes >= maxPageBytes || i == len(all)-1 && more {
			return page, q.token(name(r))
		}
	}
	return page, ""
}
