package radius

import (
	"bytes"
	"crypto/tls"
	"net/netip"
	"testing"

	"concentrator/internal/authz"
	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/simclient/eap"
	"concentrator/internal/tenant"
	wireeap "concentrator/internal/wire/eap"
)

// talkEAP carries a whole conversation between peer and server, as a link would.
func talkEAP(t *testing.T, c *Client, cfg eap.Config) (authz.Verdict, *eap.Peer) {
	t.Helper()
	peer := eap.New(cfg)
	t.Cleanup(peer.Close)
	identity := peer.Receive(eapPacket(wireeap.CodeRequest, 0, wireeap.TypeIdentity))
	r := eapRequest(identity.Reply)
	r.User, r.PeerName, r.MPPEWanted, r.MTU = cfg.Name, cfg.Name, true, 1400
	for range 30 {
		v, err := ask(t, c, r)
		if err != nil {
			t.Fatal(err)
		}
		if v.Next == nil {
			if got := peer.Receive(v.EAP); got.Done != (v.Deny == "") {
				t.Errorf("the peer makes %+v of %+v", got, v)
			}
			return v, peer
		}
		r.EAP, r.State = peer.Receive(v.Next.EAP).Reply, v.Next.State
		if r.EAP == nil {
			t.Fatalf("the peer does not answer %x", v.Next.EAP)
		}
	}
	t.Fatal("it does not come to an end")
	return authz.Verdict{}, nil
}

func TestFreeRADIUSEAP(t *testing.T) {
	fr := startFreeRADIUS(t)
	c := startAll(t, fr.server(fr.signed, transport.ModeRequire))
	oldTLS := eap.TLS{Certificate: fr.client, MaxVersion: tls.VersionTLS12}
	for _, tt := range []struct {
		name, user, password string
		cfg                  eap.Config
		want                 string // address; empty: rejected
	}{
		{"MD5", "md5", "wonder-1", eap.Config{Methods: []byte{wireeap.TypeMD5}}, "10.9.0.10"},
		{"MSCHAPv2", "alice", "wonder-1", eap.MSCHAPv2(), "10.9.0.7"},
		{"MSCHAPv2, wrong", "alice", "wonder-2", eap.MSCHAPv2(), ""},
		{"TLS 1.2", "tls", "", eap.EAPTLS(oldTLS), "10.9.0.9"},
		{"TLS 1.3", "tls", "", eap.EAPTLS(eap.TLS{Certificate: fr.client}), "10.9.0.9"},
		{"PEAP", "alice", "wonder-1", eap.PEAP(eap.TLS{}, ""), "10.9.0.7"},
		{"PEAP, wrong", "alice", "wonder-2", eap.PEAP(eap.TLS{}, ""), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Name, tt.cfg.Passwords = tt.user, []string{tt.password}
			v, peer := talkEAP(t, c, tt.cfg)
			if tt.want == "" {
				if v.Deny != tenant.ReasonRadiusReject || len(v.EAP) == 0 || v.EAP[0] != wireeap.CodeFailure {
					t.Errorf("%+v", v)
				}
				return
			}
			if v.Deny != "" || v.Address != netip.MustParseAddr(tt.want) {
				t.Fatalf("%+v", v)
			}
			keys, err := peer.Keys()
			if err != nil {
				t.Fatal(err)
			}
			if keys == nil {
				if len(v.Keys.Send)+len(v.Keys.Recv) != 0 || tt.name != "MD5" {
					t.Error("the peer has no keys")
				}
				return
			}
			if !bytes.Equal(v.Keys.Send, keys.Recv[:]) || !bytes.Equal(v.Keys.Recv, keys.Send[:]) {
				t.Errorf("keys send %x recv %x, the peer's recv %x send %x",
					[]byte(v.Keys.Send), []byte(v.Keys.Recv), keys.Recv, keys.Send)
			}
		})
	}
}
