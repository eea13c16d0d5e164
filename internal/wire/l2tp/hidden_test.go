package l2tp

import (
	"bytes"
	"crypto/md5"
	"errors"
	"testing"
)

// TestHiddenBytes builds the cipher text by the letter of RFC 2661 section 4.3: b1 = MD5(AV + S + RV), c1 = p1 xor b1,
// b2 = MD5(S + c1), c2 = p2 xor b2.
func TestHiddenBytes(t *testing.T) {
	secret, vector := []byte("tunnel secret"), []byte("sixteen octets!!")
	value := []byte("a host name of thirty octets..")
	plain := append([]byte{0, byte(len(value))}, value...)
	b1 := md5.Sum(append(append([]byte{0, 7}, secret...), vector...))
	want := make([]byte, 0, len(plain))
	for i := range 16 {
		want = append(want, plain[i]^b1[i])
	}
	b2 := md5.Sum(append(bytes.Clone(secret), want...))
	for i := range len(plain) - 16 {
		want = append(want, plain[16+i]^b2[i])
	}
	h := Hiding{Secret: secret, Vector: vector}
	got := h.hide(AVP{Attribute: AttributeHostName, Value: value})
	if !got.Hidden || !bytes.Equal(got.Value, want) {
		t.Errorf("%x, want %x", got.Value, want)
	}
	back, ok := reveal(got, secret, vector)
	if !ok || !bytes.Equal(back.Value, value) {
		t.Errorf("revealed %q, %v", back.Value, ok)
	}
}

// TestRevealBounds gives every deciphered length that does not fit, for values shorter and longer than one MD5 block.
func TestRevealBounds(t *testing.T) {
	secret, vector := []byte("s"), []byte("vector of some length")
	for size := range 40 {
		a := AVP{Attribute: AttributeHostName, Hidden: true, Value: make([]byte, size)}
		mask := firstMask(a.Attribute, secret, vector)
		for length := range 64 {
			if size >= 2 {
				a.Value[0], a.Value[1] = mask[0], byte(length)^mask[1]
			}
			got, ok := reveal(a, secret, vector)
			if want := size >= 2 && length <= size-2; ok != want || ok && len(got.Value) != length {
				t.Fatalf("%d octets that say %d: %v, %d octets", size, length, ok, len(got.Value))
			}
		}
		if size >= 2 {
			a.Value[0], a.Value[1] = 0xff^mask[0], 0xff^mask[1]
			if _, ok := reveal(a, secret, vector); ok {
				t.Fatalf("%d octets that say 65535 were believed", size)
			}
		}
	}
}

func TestHiddenNeedsSecretAndVector(t *testing.T) {
	m := &ICRP{AssignedSessionID: 7}
	secret := []byte("s")
	hiding := Hiding{Secret: secret, Vector: []byte("0123456789abcdef"), Hide: func(Attribute) bool { return true }, Padding: 3}
	body := Append(nil, Header{}, m, &hiding)[ControlHeaderLen:]
	if bytes.Contains(body, []byte{0, 14, 0, 7}) {
		t.Errorf("the session ID is in the clear: %x", body)
	}
	var bad *Error
	for name, s := range map[string][]byte{"no secret": nil, "another secret": []byte("t")} {
		if got, err := Parse(body, s); got != nil || !errors.As(err, &bad) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	// The Random Vector must come first: here it follows the AVP that needs it.
	vector := avpHeaderLen + len(hiding.Vector)
	swapped := append(bytes.Clone(body[:8]), body[8+vector:]...)
	swapped = append(swapped, body[8:8+vector]...)
	if got, err := Parse(swapped, secret); got != nil || !errors.As(err, &bad) || bad.Code != ErrorUnknownMandatory {
		t.Errorf("vector behind: %+v, %v", got, err)
	}
	// None at all, though an empty one would decipher it.
	bare := Hiding{Secret: secret}
	none := bare.hide(AVP{Mandatory: true, Attribute: AttributeAssignedSessionID, Value: []byte{0, 7}}).append(bytes.Clone(body[:8]))
	if got, err := Parse(none, secret); got != nil || !errors.As(err, &bad) || bad.Code != ErrorUnknownMandatory {
		t.Errorf("no vector: %+v, %v", got, err)
	}
	if got, err := Parse(body, secret); err != nil || *got.(*ICRP) != *m {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestChallengeResponse(t *testing.T) {
	secret, challenge := []byte("secret"), []byte("challenge")
	want := md5.Sum([]byte("\x02secretchallenge"))
	if got := ChallengeResponse(TypeSCCRP, secret, challenge); got != want {
		t.Errorf("%x, want %x", got, want)
	}
	if !CheckChallengeResponse(TypeSCCRP, secret, challenge, want[:]) {
		t.Error("the right response is refused")
	}
	for name, c := range map[string]bool{
		"the other message's": CheckChallengeResponse(TypeSCCCN, secret, challenge, want[:]),
		"another secret's":    CheckChallengeResponse(TypeSCCRP, []byte("other"), challenge, want[:]),
		"none":                CheckChallengeResponse(TypeSCCRP, secret, challenge, nil),
		"a short one":         CheckChallengeResponse(TypeSCCRP, secret, challenge, want[:15]),
	} {
		if c {
			t.Errorf("%s response is accepted", name)
		}
	}
}
