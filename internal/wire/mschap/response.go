package mschap

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"concentrator/internal/wipe"
)

// ResponseLen is the length of the value in a CHAP Response (RFC 2759 section 4), in octets.
const ResponseLen = 49

// Places in that value: peer challenge, eight reserved octets, NT-Response, flags.
const (
	ntResponseAt = ChallengeLen + 8
	flagsAt      = ntResponseAt + NTResponseLen
)

// Errors of this package.
var (
	// ErrResponseLen is returned for a response value that is not 49 octets long.
	ErrResponseLen = errors.New("mschap: response is not 49 octets long")
	// ErrFailure is returned for a Failure message that is not of the form of RFC 2759 section 6.
	ErrFailure = errors.New("mschap: malformed failure message")
)

// Response is the value in a CHAP Response (RFC 2759 section 4).
type Response struct {
	PeerChallenge [ChallengeLen]byte
	NTResponse    [NTResponseLen]byte
	Flags         byte // zero
}

// ParseResponse reads the value in a CHAP Response. The reserved octets are not looked at. It keeps nothing of b.
func ParseResponse(b []byte) (Response, error) {
	if len(b) != ResponseLen {
		return Response{}, ErrResponseLen
	}
	return Response{
		PeerChallenge: [ChallengeLen]byte(b),
		NTResponse:    [NTResponseLen]byte(b[ntResponseAt:]),
		Flags:         b[flagsAt],
	}, nil
}

// AppendBinary implements encoding.BinaryAppender. It never fails.
func (r Response) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, r.PeerChallenge[:]...)
	b = append(b, make([]byte, ntResponseAt-ChallengeLen)...)
	b = append(b, r.NTResponse[:]...)
	return append(b, r.Flags), nil
}

// ClientResponse is the client's half: the response to our challenge by a user with this password.
func ClientResponse(auth, peer [ChallengeLen]byte, user, password string) Response {
	return Response{
		PeerChallenge: peer,
		NTResponse:    NTResponse(ChallengeHash(peer, auth, user), NTPasswordHash(password)),
	}
}

// The two constants of RFC 2759 section 8.7.
const (
	magic1 = "Magic server to client signing constant"
	magic2 = "Pad to make it do more than one iteration"
)

// AuthenticatorResponse proves to the peer that we know the password: "S=" and forty hexadecimal digits, upper case
// (RFC 2759 section 8.7). hashHash is HashNTPasswordHash of the user's password hash.
func AuthenticatorResponse(hashHash [HashLen]byte, ntResponse [NTResponseLen]byte, peer, auth [ChallengeLen]byte, user string) string {
	h := sha1.New()
	h.Write(hashHash[:])
	h.Write(ntResponse[:])
	h.Write([]byte(magic1))
	digest := h.Sum(nil)
	challenge := ChallengeHash(peer, auth, user)
	h.Reset()
	h.Write(digest)
	h.Write(challenge[:])
	h.Write([]byte(magic2))
	defer wipe.Value(h)
	return "S=" + strings.ToUpper(hex.EncodeToString(h.Sum(nil)))
}

// authenticatorResponseLen is the length of "S=" and forty digits.
const authenticatorResponseLen = 42

// CheckAuthenticatorResponse is the client's half: it says whether the text of a CHAP Success proves that the server
// knows the password. A message may follow the proof (RFC 2759 section 5).
func CheckAuthenticatorResponse(text string, r Response, auth [ChallengeLen]byte, user, password string) bool {
	if len(text) < authenticatorResponseLen {
		return false
	}
	hashHash := HashNTPasswordHash(NTPasswordHash(password))
	want := AuthenticatorResponse(hashHash, r.NTResponse, r.PeerChallenge, auth, user)
	return subtle.ConstantTimeCompare([]byte(strings.ToUpper(text[:authenticatorResponseLen])), []byte(want)) == 1
}

// Error codes of a Failure message (RFC 2759 section 6).
const (
	ErrorRestrictedLogonHours = 646
	ErrorAccountDisabled      = 647
	ErrorPasswordExpired      = 648
	ErrorNoDialinPermission   = 649
	ErrorAuthentication       = 691
	ErrorChangingPassword     = 709
)

// failureVersion is the only V= there is: it names the password change protocol.
const failureVersion = 3

// FailureMessage builds the text of a CHAP Failure (RFC 2759 section 6). retry says that the peer may send another
// Response, to this challenge and with the next identifier.
func FailureMessage(code int, retry bool, challenge [ChallengeLen]byte, text string) string {
	r := 0
	if retry {
		r = 1
	}
	return fmt.Sprintf("E=%d R=%d C=%X V=%d M=%s", code, r, challenge, failureVersion, text)
}

// Failure is the text of a CHAP Failure taken apart.
type Failure struct {
	Code      int
	Retry     bool
	Challenge [ChallengeLen]byte // zero when the message has none
	Text      string
}

// ParseFailure is the client's half of FailureMessage. E= must come first, the other fields may be missing.
func ParseFailure(text string) (Failure, error) {
	var f Failure
	head, message, _ := strings.Cut(text, "M=") // the message is free text, and the last field
	f.Text = message
	for i, word := range strings.Fields(head) {
		key, value, ok := strings.Cut(word, "=")
		if !ok || (i == 0) != (key == "E") {
			return Failure{}, ErrFailure
		}
		var err error
		switch key {
		case "E":
			f.Code, err = strconv.Atoi(value)
		case "R":
			f.Retry = value == "1"
		case "C":
			if len(value) != 2*ChallengeLen {
				return Failure{}, ErrFailure
			}
			_, err = hex.Decode(f.Challenge[:], []byte(value))
		}
		if err != nil {
			return Failure{}, ErrFailure
		}
	}
	if f.Code <= 0 {
		return Failure{}, ErrFailure
	}
	return f, nil
}
