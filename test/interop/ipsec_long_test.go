//go:build interop && interop_long

package interop

import (
	"strings"
	"testing"
	"time"
)

// bulkTimes makes 100 MiB of bulkSize.
const bulkTimes = 10

// TestL2TPMatrix moves 100 MiB each way by every combination of cipher, group and way, and by certificates.
func TestL2TPMatrix(t *testing.T) {
	pki := world.lab.PKI
	var cases []tunnelCase
	for _, cipher := range []suite{
		{ike: "aes256-sha1", esp: "aes256-sha1", gotIKE: "AES_CBC_256/HMAC_SHA1_96/PRF_HMAC_SHA1", gotESP: "AES_CBC_256/HMAC_SHA1_96", cipher: "AES-256-CBC-SHA1"},
		{
			ike: "aes256-sha256", esp: "aes256-sha256",
			gotIKE: "AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256", gotESP: "AES_CBC_256/HMAC_SHA2_256_128", cipher: "AES-256-CBC-SHA256",
		},
		{
			ike: "aes128-sha256", esp: "aes128gcm16",
			gotIKE: "AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256", gotESP: "AES_GCM_16_128", cipher: "AES-128-GCM",
		},
	} {
		for _, group := range []struct{ asked, got string }{{"modp2048", "MODP_2048"}, {"ecp256", "ECP_256"}} {
			for _, nat := range []bool{false, true} {
				s := cipher
				s.ike, s.gotIKE = s.ike+"-"+group.asked, s.gotIKE+"/"+group.got
				name := s.cipher + " " + group.asked + " raw"
				if nat {
					name = s.cipher + " " + group.asked + " NAT"
				}
				cases = append(cases, tunnelCase{name: name, dial: overIPsec(acmeServer, acmePSK, s), nat: nat, suite: s, tenant: "acme"})
			}
		}
	}
	bob := byCertificate(sharedServer, pki.Bob, pki.ECDSA, cbcSHA1)
	bob.User, bob.Password = "alice", "another-1"
	secret := overIPsec(briefServer, briefPSK, cbcSHA1)
	secret.L2TP.Secret = briefSecret
	rob := overIPsec(radiusServer, "psk of radius", cbcSHA1)
	rob.User, rob.Password = "rob", "pooled-2"
	old := suite{
		ike: "3des-sha1-modp1024", esp: "3des-sha1",
		gotIKE: "3DES_CBC/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024", gotESP: "3DES_CBC/HMAC_SHA1_96", cipher: "3DES-CBC-SHA1",
	}
	plain := Dial{Server: plainServer, User: "alice", Password: "wonder-1", Auth: AuthMSCHAPv2, L2TP: &L2TP{}}
	pap := plain
	pap.Auth = AuthPAP
	far1, far2 := func() *Host { return world.far1 }, func() *Host { return world.far2 }
	pfs := cbcSHA1
	pfs.esp, pfs.gotESP = "aes256-sha1-modp2048", "AES_CBC_256/HMAC_SHA1_96/MODP_2048"
	cases = append(cases, []tunnelCase{
		{name: "RSA certificate, NAT", dial: byCertificate(acmeServer, pki.Alice, pki.RSA, gcmECP), nat: true, suite: gcmECP, tenant: "acme"},
		{name: "ECDSA certificate", dial: bob, suite: cbcSHA1, tenant: "two", host: far2},
		{name: "ECDSA certificate, NAT", dial: bob, nat: true, suite: cbcSHA1, tenant: "two", host: far2},
		{name: "a tenant's second PSK", dial: overIPsec(acmeServer, "psk of acme 2", cbcSHA1), suite: cbcSHA1, tenant: "acme"},
		{name: "PSK of one of two tenants", dial: overIPsec(sharedServer, onePSK, cbcSHA1), suite: cbcSHA1, tenant: "one", host: far1},
		{name: "3DES, where one of two tenants allows it", dial: overIPsec(sharedServer, onePSK, old), suite: old, tenant: "one", host: far1},
		{name: "PFS", dial: overIPsec(acmeServer, acmePSK, pfs), suite: pfs, tenant: "acme"},
		{name: "tunnel secret", dial: secret, suite: cbcSHA1, tenant: "brief", once: true},
		{name: "RADIUS", dial: rob, suite: cbcSHA1, tenant: "radius", user: "rob"},
		{name: "plain L2TP", dial: plain, tenant: "plain"},
		{name: "plain L2TP, PAP", dial: pap, tenant: "plain"},
	}...)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			checkTunnel(t, borrow(t, 1)[0], c, bulkTimes)
		})
	}
}

// TestRekeyEachSide holds a session over six new SAs of each phase, begun by the client and by the daemon, with lifetimes of
// a minute. The client has more time for it: now and then charon misses the answer to the first message of a new Main Mode, which comes
// before it has put its new SA away, asks again 4 s later, and the daemon's clock replaces the ESP SA meanwhile.
func TestRekeyEachSide(t *testing.T) {
	byClient := overIPsec(acmeServer, acmePSK, cbcSHA1)
	byClient.L2TP.IPsec.ESPLifetime, byClient.L2TP.IPsec.IKELifetime, byClient.L2TP.IPsec.Margin = time.Minute, time.Minute, 9*time.Second
	byDaemon := overIPsec(briefServer, briefPSK, gcmECP)
	byDaemon.L2TP.Secret = briefSecret
	for _, c := range []struct {
		name string
		rekeyCase
	}{
		{"by the client, raw ESP", rekeyCase{dial: byClient, tenant: "acme", over: 480 * time.Second}},
		{"by the daemon, raw ESP", rekeyCase{dial: byDaemon, byDaemon: true, tenant: "brief", over: 375 * time.Second}},
		{"by the daemon, NAT", rekeyCase{dial: byDaemon, byDaemon: true, nat: true, tenant: "brief", over: 375 * time.Second}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.wantESP, c.wantIKE = 6, 6
			checkRekey(t, c.rekeyCase)
		})
	}
}

// TestRebornByEach is TestRebornByESP by the other ways.
func TestRebornByEach(t *testing.T) {
	t.Run("plain L2TP", func(t *testing.T) {
		checkReborn(t, Dial{Server: plainServer, User: "alice", Password: "wonder-1", Auth: AuthMSCHAPv2, L2TP: &L2TP{}}, "plain", false)
	})
	t.Run("NAT", func(t *testing.T) {
		checkReborn(t, overIPsec(acmeServer, acmePSK, gcmECP), "acme", true)
	})
}

// TestL2TPRefusals keeps out whom TestL2TPRefusal does not try.
func TestL2TPRefusals(t *testing.T) {
	t.Parallel()
	pki := world.lab.PKI
	with := func(ike, esp string) suite { return suite{ike: ike, esp: esp} }
	mismatch := overIPsec(sharedServer, onePSK, cbcSHA1)
	mismatch.User, mismatch.Password = "bob@two.example", "builder-2"
	wrongSecret, noSecret := overIPsec(briefServer, briefPSK, cbcSHA1), overIPsec(briefServer, briefPSK, cbcSHA1)
	wrongSecret.L2TP.Secret = "not the secret"
	checkL2TPRefusals(t, []refusedCase{
		{
			name: "expired certificate", dial: impatient(byCertificate(acmeServer, pki.Expired, pki.RSA, cbcSHA1)),
			status: failedIKE, client: "failed", stage: "IKE_MAIN_MODE", reason: "CERTIFICATE_EXPIRED", tenant: "acme",
		},
		{
			name: "revoked certificate", dial: impatient(byCertificate(acmeServer, pki.Revoked, pki.RSA, cbcSHA1)),
			status: failedIKE, client: "failed", stage: "IKE_MAIN_MODE", reason: "CERTIFICATE_REVOKED", tenant: "acme",
		},
		{
			name: "certificate of another authority", dial: impatient(byCertificate(acmeServer, pki.Unknown, pki.RSA, cbcSHA1)),
			status: failedIKE, client: "failed", stage: "IKE_MAIN_MODE", reason: "CERTIFICATE_UNTRUSTED",
		},
		{
			name: "certificate of another tenant's authority", dial: impatient(byCertificate(acmeServer, pki.Foreign, pki.RSA, cbcSHA1)),
			status: failedIKE, client: "failed", stage: "IKE_MAIN_MODE", reason: "CERTIFICATE_UNTRUSTED",
		},
		{
			name: "no common IKE proposal", dial: impatient(overIPsec(acmeServer, acmePSK, with("camellia256-sha256-modp2048", "aes256-sha1"))),
			status: failedIKE, client: "NO_PROPOSAL_CHOSEN", stage: "IKE_MAIN_MODE", reason: "NO_COMMON_PROPOSAL",
		},
		{
			name: "no common ESP proposal", dial: impatient(overIPsec(acmeServer, acmePSK, with("aes256-sha1-modp2048", "aes256-aesxcbc"))),
			status: failedIKE, client: "NO_PROPOSAL_CHOSEN", stage: "IKE_QUICK_MODE", reason: "NO_COMMON_PROPOSAL", tenant: "acme",
		},
		{
			name: "legacy IKE proposal", dial: impatient(overIPsec(acmeServer, acmePSK, with("3des-sha1-modp1024", "aes256-sha1"))),
			status: failedIKE, client: "NO_PROPOSAL_CHOSEN", stage: "IKE_MAIN_MODE", reason: "LEGACY_NOT_ALLOWED",
		},
		{
			name: "legacy ESP proposal", dial: impatient(overIPsec(acmeServer, acmePSK, with("aes256-sha1-modp2048", "3des-md5"))),
			status: failedIKE, client: "NO_PROPOSAL_CHOSEN", stage: "IKE_QUICK_MODE", reason: "LEGACY_NOT_ALLOWED", tenant: "acme",
		},
		{
			name: "legacy proposal of the tenant that does not allow it", dial: impatient(overIPsec(sharedServer, twoPSK, with("3des-sha1-modp1024", "3des-sha1"))),
			status: failedIKE, client: "failed", stage: "IKE_MAIN_MODE", reason: "LEGACY_NOT_ALLOWED", tenant: "two",
		},
		{
			name: "user of another tenant than the PSK", dial: mismatch,
			status: failedL2TP, client: "CHAP authentication failed", stage: "AUTHENTICATION", reason: "TENANT_MISMATCH", tenant: "one",
		},
		{
			name: "wrong tunnel secret", dial: wrongSecret,
			status: failedL2TP, client: "Invalid challenge authentication", stage: "L2TP_TUNNEL", reason: "TUNNEL_SECRET_MISMATCH", tenant: "brief",
		},
		{
			name: "no tunnel secret", dial: noSecret,
			status: failedL2TP, client: "No secret key on our end", stage: "L2TP_TUNNEL", reason: "TUNNEL_SECRET_MISMATCH", tenant: "brief",
		},
	})
}

// TestPlainL2TPWhereIPsecIsWanted has a client speak L2TP in clear to an address that takes it in IPsec only: nobody answers,
// and it is counted.
func TestPlainL2TPWhereIPsecIsWanted(t *testing.T) {
	t.Parallel()
	g := borrow(t, 1)[0]
	r := refused(t, g, Dial{Server: acmeServer, User: "alice", Password: "wonder-1", Auth: AuthMSCHAPv2, L2TP: &L2TP{}})
	if r.Status != failedL2TP || !strings.Contains(r.Log, "Maximum retries") {
		t.Errorf("the client came as far as %d, want no answer: %v", r.Status, r)
	}
	checkNothingLeft(t, g)
	dropped := Number(0)
	for _, s := range world.daemon.Shards(t) {
		for what, n := range s.Drops {
			if strings.Contains(what, "l2tp") {
				dropped += n
			}
		}
	}
	if dropped == 0 {
		t.Errorf("no shard has counted a drop: %+v", world.daemon.Shards(t))
	}
}
