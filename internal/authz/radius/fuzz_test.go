package radius

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2869"

	"concentrator/internal/authz"
	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/corpus"
	"concentrator/internal/tenant"
)

// FuzzParseText gives one text to the parsers of attributes that are text: a rate is bounded and the same in another
// spelling, and a proof of MS-CHAPv2 is 40 digits or none.
func FuzzParseText(f *testing.F) {
	corpus.Add(f)
	for _, s := range []string{
		"10M/2M", "512k", "1G/0 20M/20M 8", " 1/2/3", "4294967295G", "-1", "", "k",
		"S=" + strings.Repeat("0aF9", 10), "S=" + strings.Repeat("A", 40) + " M=hello\x00", "S=" + strings.Repeat("g", 40),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const most = (1<<32 - 1) * 1_000_000_000
		if up, down, rest, err := parseRateLimit(text); err == nil {
			if up > most || down > most {
				t.Errorf("%q is %d and %d", text, up, down)
			}
			one, _, _ := strings.Cut(strings.TrimSpace(text), " ")
			again, back, more, err := parseRateLimit(one)
			if err != nil || again != up || back != down || more != "" || !strings.HasSuffix(strings.TrimSpace(text), rest) {
				t.Errorf("%q is %d, %d and %q; %q alone is %d, %d, %q, %v", text, up, down, rest, one, again, back, more, err)
			}
		}
		if success, message, err := parseSuccess(text); err == nil {
			if len(success) != successLen || !strings.HasPrefix(text, success) || strings.Trim(success[2:], "0123456789abcdefABCDEF") != "" {
				t.Errorf("%q proves %q", text, success)
			}
			if len(message) > 4*len(text) || strings.ContainsFunc(message, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("%q says %q", text, message)
			}
		}
	})
}

// FuzzAsk makes Access-Requests of what clients may say: whatever it is, it is refused or makes one genuine packet that says
// it, the user's name and the EAP packet octet by octet, and nothing of a name is an attribute of its own.
func FuzzAsk(f *testing.F) {
	corpus.Add(f)
	f.Add(byte(0), "alice", "alice", "laptop", bytes.Repeat([]byte{1}, 49), make([]byte, 16), []byte("secret"))
	f.Add(byte(1), "alice@acme", `ACME\alice`, "", make([]byte, 16), make([]byte, 16), []byte{})
	f.Add(byte(2), "", "a\x00b", strings.Repeat("x", 300), []byte{}, []byte{}, bytes.Repeat([]byte{'p'}, 128))
	f.Add(byte(3), "al", "\xff\xfe", "MSRASV5.20", []byte{2, 1, 0, 6, 3, 25}, []byte{1}, []byte{})
	f.Add(byte(3), "al", "", "", append([]byte{2, 1, 2, 0x58, 13, 0}, make([]byte, 594)...), bytes.Repeat([]byte{7}, 253), []byte{})
	f.Add(byte(8), "al", "al", "", bytes.Repeat([]byte{1}, 49), make([]byte, 16), make([]byte, newPasswordLen))
	methods := []tenant.AuthMethod{tenant.AuthMSCHAPv2, tenant.AuthCHAP, tenant.AuthPAP, tenant.AuthEAP}
	f.Fuzz(func(t *testing.T, how byte, user, peerName, label string, response, challenge, password []byte) {
		r := &authz.Request{
			Caller: authz.Caller{
				Tenant: "acme", SessionID: "s-1", Protocol: tenant.ProtocolPPTP, ClientAddress: netip.MustParseAddr("192.0.2.7"),
				TunnelClient: label, TunnelID: label, ClientName: label, ClientVersion: label,
			},
			User: user, PeerName: peerName, Method: methods[how%4], ID: how, Challenge: challenge, Response: response,
			Password: password, EAP: response, MTU: len(label),
		}
		if how >= 8 {
			r.NewPassword = password
		}
		if _, ok := askable(r); !ok {
			return
		}
		var state []byte
		if how >= 128 && len(challenge) <= maxString {
			state = challenge
		}
		p := build(t, r, state, transport.Target{Secret: tenant.Secret(secret), Authenticator: [16]byte{how}, NASIdentifier: "nas-1"})
		if got := rfc2865.UserName_GetString(p); got != userName(r) {
			t.Errorf("User-Name %q, want %q", got, userName(r))
		}
		if got, err := rfc2865.State_Lookup(p); (err == nil) != (len(state) > 0) || !bytes.Equal(got, state) {
			t.Errorf("State %x, %v, want %x", got, err, state)
		}
		if r.Method == tenant.AuthEAP {
			var whole []byte
			for _, a := range p.Attributes {
				if a.Type == rfc2869.EAPMessage_Type {
					whole = append(whole, a.Attribute...)
				}
			}
			if !bytes.HasPrefix(r.EAP, whole) || len(whole) < 4 {
				t.Errorf("EAP %x is sent as %x", r.EAP, whole)
			}
		}
		for _, only := range []radius.Type{
			rfc2865.UserName_Type, rfc2865.UserPassword_Type, rfc2865.ServiceType_Type, rfc2865.NASPort_Type, rfc2865.State_Type,
			rfc2869.MessageAuthenticator_Type,
		} {
			n := 0
			for _, a := range p.Attributes {
				if a.Type == only {
					n++
				}
			}
			if n > 1 {
				t.Errorf("%d attributes of type %d", n, only)
			}
		}
		wire, err := p.MarshalBinary()
		if err != nil || len(wire) > packet.MaxLen {
			t.Errorf("%d octets, %v", len(wire), err)
		}
	})
}
