package eap

import (
	"bytes"
	"crypto/md5"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"concentrator/internal/corpus"
	wire "concentrator/internal/wire/eap"
	"concentrator/internal/wire/mschap"
)

func newPeer(t testing.TB, cfg Config) *Peer {
	t.Helper()
	p := New(cfg)
	t.Cleanup(p.Close)
	return p
}

// TestPeer is RFC 3748 section 4 and 5 for what is below the methods.
func TestPeer(t *testing.T) {
	p := newPeer(t, Config{Methods: []byte{wire.TypeMSCHAPv2, wire.TypeMD5}, Name: "alice", Passwords: []string{"pw"}})
	for _, c := range []struct {
		name   string
		packet []byte
		typ    byte // of the answer; 0: there is none
		data   string
	}{
		{"Success for nothing", success(0), 0, ""},
		{"Failure for nothing", failure(0), 0, ""},
		{"Identity", request(1, wire.TypeIdentity, []byte("Who?")...), wire.TypeIdentity, "alice"},
		{"the same again", request(1, wire.TypeIdentity, []byte("Who?")...), wire.TypeIdentity, "alice"},
		{"with padding", append(request(2, wire.TypeIdentity), 0, 0), wire.TypeIdentity, "alice"},
		{"Notification", request(3, wire.TypeNotification, []byte("Hello")...), wire.TypeNotification, ""},
		{"a Nak as a Request", request(4, wire.TypeNak, 4), 0, ""},
		{"a Response", packet(wire.CodeResponse, 3, wire.TypeIdentity, nil), 0, ""},
		{"too short", []byte{1, 2, 0}, 0, ""},
		{"too long a length", []byte{1, 2, 0, 6, 1}, 0, ""},
		{"another code", []byte{7, 2, 0, 4}, 0, ""},
		{"a method that we have not", request(5, wire.TypeTLS, 0x20), wire.TypeNak, "\x1a\x04"},
		{"of a vendor", request(6, wire.TypeExpanded, 0, 0, 9, 0, 0, 0, 1), wire.TypeNak, "\x1a\x04"},
		{"Success for another Response", success(5), 0, ""},
		{"Failure for another Response", failure(5), 0, ""},
	} {
		r := p.Receive(c.packet)
		h, err := wire.ParsePacket(r.Reply)
		switch {
		case r.Done || r.Err != nil || r.Refused != nil:
			t.Errorf("%s: %+v", c.name, r)
		case c.typ == 0 && r.Reply != nil:
			t.Errorf("%s: answered with %x", c.name, r.Reply)
		case c.typ != 0 && (err != nil || h.Code != wire.CodeResponse || h.ID != c.packet[1] || h.Type != c.typ ||
			string(h.Data) != c.data):
			t.Errorf("%s: answered with %x", c.name, r.Reply)
		}
	}
	if p.Message() != "Hello" || p.Type() != 0 {
		t.Errorf("message %q, type %d", p.Message(), p.Type())
	}
	if r := p.Receive(success(6)); !errors.Is(r.Err, ErrImpostor) {
		t.Errorf("Success without a method: %+v", r)
	}
	if r := p.Receive(request(7, wire.TypeIdentity)); r.Reply != nil {
		t.Errorf("after the end: %+v", r)
	}
}

// TestMD5: RFC 3748 section 5.4, the hash of identifier, password and challenge.
func TestMD5(t *testing.T) {
	p := newPeer(t, Config{Methods: []byte{wire.TypeMD5}, Name: "alice", Passwords: []string{"pw"}})
	h := answerOf(t, p, request(7, wire.TypeMD5, 4, 'c', 'h', 'a', 'l', 'r', 'a', 'd'))
	want := md5.Sum([]byte("\x07pwchal"))
	if h.Type != wire.TypeMD5 || !bytes.Equal(h.Data, append([]byte{16}, want[:]...)) {
		t.Errorf("%x", h.Data)
	}
	if r := p.Receive(request(8, wire.TypeMD5, 9, 1)); r.Reply != nil {
		t.Errorf("a broken challenge: %+v", r)
	}
	if r := p.Receive(request(8, wire.TypeMSCHAPv2, challengeData(8)...)); r.Reply != nil {
		t.Errorf("another method in the middle: %+v", r)
	}
	if r := p.Receive(success(7)); !r.Done {
		t.Errorf("%+v", r)
	}
	if k, err := p.Keys(); k != nil || err != nil {
		t.Errorf("keys %x, %v", k, err)
	}
}

func TestRefused(t *testing.T) {
	p := newPeer(t, Config{Methods: []byte{wire.TypeMD5}, Name: "alice"})
	answerOf(t, p, request(1, wire.TypeNotification, []byte("Closed")...))
	answerOf(t, p, request(2, wire.TypeMD5, 1, 1))
	r := p.Receive(failure(2))
	var no *Refusal
	if !errors.As(r.Err, &no) || r.Refused != no || no.Message != "Closed" || no.Retry || no.Code != 0 {
		t.Errorf("%+v", r)
	}
}

// mschapPeer is a Peer that has been asked for EAP-MSCHAPv2, and its first response.
func mschapPeer(t testing.TB, cfg Config) (*Peer, wire.MSCHAPv2) {
	t.Helper()
	cfg.Methods, cfg.Name = []byte{wire.TypeMSCHAPv2}, `ACME\alice`
	p := newPeer(t, cfg)
	return p, opOf(t, answerOf(t, p, request(1, wire.TypeMSCHAPv2, challengeData(9)...)))
}

func opOf(t testing.TB, h wire.Packet) wire.MSCHAPv2 {
	t.Helper()
	m, err := wire.ParseMSCHAPv2(h.Data)
	if err != nil || h.Type != wire.TypeMSCHAPv2 {
		t.Fatalf("%+v, %v", h, err)
	}
	return m
}

// TestMSCHAPv2 is a login that goes well.
func TestMSCHAPv2(t *testing.T) {
	p, m := mschapPeer(t, Config{Passwords: []string{"pw"}})
	text, right := proof(t, m, authChallenge, "pw")
	if !right || m.Op != wire.OpResponse || m.ID != 9 {
		t.Fatalf("response %+v", m)
	}
	for name, data := range map[string][]byte{
		"nothing": nil, "a confirmation": {wire.OpSuccess}, "another operation": opData(99, 9, nil),
		"a short challenge": opData(wire.OpChallenge, 9, []byte{1, 1}), "half a header": {wire.OpSuccess, 1, 0},
	} {
		if r := p.Receive(request(2, wire.TypeMSCHAPv2, data...)); r.Reply != nil || r.Err != nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
	good := opData(wire.OpSuccess, 9, []byte(text+" M=welcome"))
	if c := opOf(t, answerOf(t, p, request(3, wire.TypeMSCHAPv2, good...))); !c.Confirm || c.Op != wire.OpSuccess {
		t.Fatalf("%+v", c)
	}
	for _, again := range [][]byte{
		opData(wire.OpSuccess, 9, []byte(text)), opData(wire.OpFailure, 9, []byte("E=691 R=0")), challengeData(9),
	} {
		if r := p.Receive(request(4, wire.TypeMSCHAPv2, again...)); r.Reply != nil || r.Err != nil {
			t.Errorf("%x after the end: %+v", again, r)
		}
	}
	if r := p.Receive(success(3)); !r.Done || p.Message() != "welcome" {
		t.Fatalf("%+v, %q", r, p.Message())
	}
	k, err := p.Keys()
	if err != nil {
		t.Fatal(err)
	}
	response := p.method.(*mschapv2).response
	send, recv := mschap.StartKeys(mschap.HashNTPasswordHash(mschap.NTPasswordHash("pw")), response.NTResponse)
	want := slices.Concat(recv[:], send[:], make([]byte, 32))
	if k.Send != recv || k.Recv != send || !bytes.Equal(k.MSK, want) {
		t.Errorf("keys %x; the server sends with %x and receives with %x", k, send, recv)
	}
}

// TestMSCHAPv2Impostor: a server that does not know the password does not get us.
func TestMSCHAPv2Impostor(t *testing.T) {
	for name, end := range map[string]func(byte) []byte{"success": success, "failure": failure} {
		p, m := mschapPeer(t, Config{Passwords: []string{"pw"}})
		text, _ := proof(t, m, authChallenge, "guess")
		c := opOf(t, answerOf(t, p, request(3, wire.TypeMSCHAPv2, opData(wire.OpSuccess, 9, []byte(text))...)))
		if !c.Confirm || c.Op != wire.OpFailure {
			t.Fatalf("%+v", c)
		}
		if r := p.Receive(end(3)); !errors.Is(r.Err, ErrImpostor) || r.Done {
			t.Errorf("%s: %+v", name, r)
		}
	}
	p, _ := mschapPeer(t, Config{})
	if r := p.Receive(success(1)); !errors.Is(r.Err, ErrImpostor) || r.Done {
		t.Errorf("Success without a proof: %+v", r)
	}
}

// TestMSCHAPv2Refused: what a server says about its no.
func TestMSCHAPv2Refused(t *testing.T) {
	for _, c := range []struct {
		name, text string
		passwords  []string
		want       Refusal
		again      bool
	}{
		{"for good", "E=691 R=0 M=no", []string{"a", "b"}, Refusal{Code: 691, Message: "no"}, false},
		{"again, but no password is left", "E=691 R=1 M=no", []string{"a"}, Refusal{Code: 691, Retry: true, Message: "no"}, false},
		{
			"again", "E=691 R=1 C=" + strings.Repeat("07", 16) + " V=3 M=no",
			[]string{"a", "b"},
			Refusal{Code: 691, Retry: true, Message: "no"},
			true,
		},
		{"expired, and there is no new password", "E=648 R=0", []string{"a"}, Refusal{Code: 648}, false},
		{"nonsense", "no", []string{"a"}, Refusal{Message: "no"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, _ := mschapPeer(t, Config{Passwords: c.passwords})
			r := p.Receive(request(2, wire.TypeMSCHAPv2, opData(wire.OpFailure, 9, []byte(c.text))...))
			if r.Refused == nil || *r.Refused != c.want || r.Again != c.again || r.Changed {
				t.Fatalf("%+v", r)
			}
			h, err := wire.ParsePacket(r.Reply)
			if err != nil {
				t.Fatal(err)
			}
			m := opOf(t, h)
			if c.again {
				var challenge [16]byte
				for i := range challenge {
					challenge[i] = 7
				}
				text, right := proof(t, m, challenge, "b")
				if !right {
					t.Errorf("second response %+v", m)
				}
				answerOf(t, p, request(3, wire.TypeMSCHAPv2, opData(wire.OpSuccess, 9, []byte(text))...))
				if r := p.Receive(success(3)); !r.Done {
					t.Errorf("%+v", r)
				}
				return
			}
			if !m.Confirm || m.Op != wire.OpFailure {
				t.Errorf("%+v", m)
			}
			var no *Refusal
			if e := p.Receive(failure(2)); !errors.As(e.Err, &no) || no != r.Refused || e.Refused != nil {
				t.Errorf("%+v", e)
			}
		})
	}
}

// TestMSCHAPv2Change: an expired password is replaced, once.
func TestMSCHAPv2Change(t *testing.T) {
	p, _ := mschapPeer(t, Config{Passwords: []string{"old"}, NewPassword: "new"})
	expired := []byte("E=648 R=0 C=" + strings.Repeat("07", 16) + " V=3 M=expired")
	r := p.Receive(request(2, wire.TypeMSCHAPv2, opData(wire.OpFailure, 9, expired)...))
	if !r.Changed || r.Again || r.Refused == nil || r.Refused.Code != 648 {
		t.Fatalf("%+v", r)
	}
	h, err := wire.ParsePacket(r.Reply)
	if err != nil {
		t.Fatal(err)
	}
	m := opOf(t, h)
	c, err := mschap.ParseChangePassword(m.Data)
	if err != nil || m.Op != wire.OpChangePassword || m.ID != 10 {
		t.Fatalf("%+v, %v", m, err)
	}
	oldHash := mschap.NTPasswordHash("old")
	password, err := mschap.DecryptNewPassword(c.EncryptedPassword, oldHash)
	if err != nil || password != "new" || !c.CheckOldHash(oldHash, mschap.NTPasswordHash("new")) {
		t.Errorf("new password %q, %v", password, err)
	}
	challenge := [16]byte(bytes.Repeat([]byte{7}, 16))
	text, right := proofOf(c.Response(), challenge, `ACME\alice`, "new")
	if !right {
		t.Errorf("response %+v", c)
	}
	answerOf(t, p, request(3, wire.TypeMSCHAPv2, opData(wire.OpSuccess, 10, []byte(text))...))
	if r := p.Receive(success(3)); !r.Done {
		t.Errorf("%+v", r)
	}

	p, _ = mschapPeer(t, Config{Passwords: []string{"old"}, NewPassword: "new"})
	answerOf(t, p, request(2, wire.TypeMSCHAPv2, opData(wire.OpFailure, 9, expired)...))
	if r := p.Receive(request(3, wire.TypeMSCHAPv2, opData(wire.OpFailure, 10, expired)...)); r.Changed || r.Refused == nil {
		t.Errorf("a second change: %+v", r)
	}
}

// TestAnew: a server that begins anew gets a fresh login, also by another method. Nothing of the one before is left.
func TestAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t, Config{Methods: []byte{wire.TypeTLS, wire.TypeMD5}, Name: "alice"})
		answerOf(t, p, request(1, wire.TypeTLS, 0x20))
		answerOf(t, p, request(2, wire.TypeIdentity))
		answerOf(t, p, request(3, wire.TypeMD5, 1, 1))
		if r := p.Receive(success(3)); !r.Done {
			t.Errorf("%+v", r)
		}
	})
}

// FuzzReceive feeds a Peer in each phase with any packets: it must not panic nor end well without a proof, what it says is
// an answer, and that is no longer than it may be.
func FuzzReceive(f *testing.F) {
	corpus.Add(f)
	k := newPKI(f, 0)
	types := []byte{wire.TypeMSCHAPv2, wire.TypeTLS, wire.TypePEAP}
	f.Add(byte(0), challengeData(1), opData(wire.OpSuccess, 1, []byte("S=")))
	f.Add(byte(0), challengeData(1), opData(wire.OpFailure, 1, []byte("E=691 R=1 C=0102030405060708090A0B0C0D0E0F10 V=3")))
	f.Add(byte(0), challengeData(1), opData(wire.OpFailure, 1, []byte("E=648 R=0")))
	f.Add(byte(1), []byte{0x20}, []byte{0xc0, 0, 0, 0, 9, 22, 3, 3, 0, 4})
	f.Add(byte(1), []byte{0x20}, []byte{0})
	f.Add(byte(2), []byte{0x20}, []byte{0, 22, 3, 3, 0, 4, 2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, which byte, first, second []byte) {
		typ := types[int(which)%len(types)]
		p := New(Config{
			Methods: []byte{typ}, Name: "alice", Passwords: []string{"a", "b"}, NewPassword: "c", TLS: k.client, MTU: 700,
		})
		defer p.Close()
		id := byte(1)
		for _, data := range [][]byte{first, second, second, first} {
			id++
			if len(data) > 60_000 {
				return
			}
			for _, b := range [][]byte{request(id, typ, data...), data} {
				r := p.Receive(b)
				h, err := wire.ParsePacket(r.Reply)
				if r.Reply != nil && (err != nil || h.Code != wire.CodeResponse || h.ID != b[1] || len(r.Reply) > 700) {
					t.Fatalf("%x was answered with %x", b, r.Reply)
				}
				if r.Done {
					t.Fatalf("%x lets us in", b)
				}
			}
		}
		if r := p.Receive(success(id)); r.Done {
			t.Fatal("Success without a proof")
		}
	})
}

// FuzzInside feeds PEAP with any packets inside.
func FuzzInside(f *testing.F) {
	corpus.Add(f)
	f.Add(request(1, wire.TypeIdentity))
	f.Add(request(1, wire.TypeTLV, resultGood...))
	f.Add(append([]byte{wire.TypeMSCHAPv2}, challengeData(1)...))
	f.Add([]byte{wire.TypeGTC})
	f.Fuzz(func(t *testing.T, said []byte) {
		if len(said) > 60_000 {
			return
		}
		m := newPEAP(Config{Name: "alice"}.withDefaults())
		defer m.close()
		for range 2 {
			m.inside(1, said)
		}
		if m.passed {
			t.Fatalf("%x lets us in", said)
		}
	})
}
