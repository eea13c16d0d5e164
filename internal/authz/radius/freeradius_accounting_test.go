package radius

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"concentrator/internal/authz/accounting"
	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/tenant"
)

func TestFreeRADIUSAccounting(t *testing.T) {
	fr := startFreeRADIUS(t)
	c := startAll(t, fr.server(fr.signed, transport.ModeRequire))
	at := time.Now().Add(-90 * time.Second)
	live := &accounting.Session{
		Caller: papRequest().Caller, User: "alice", Domain: "ACME", Method: tenant.AuthMSCHAPv2,
		Address: netip.MustParseAddr("10.9.0.7"), Class: [][]byte{[]byte("first"), []byte("second")},
	}
	live.TunnelID = "pptp-3"
	for _, r := range []accounting.Record{
		{ID: 1, Status: accounting.On, Tenant: "acme", Time: at},
		{ID: 2, Status: accounting.Start, Tenant: "acme", Time: at, Session: live},
		{
			ID: 3, Status: accounting.Stop, Tenant: "acme", Time: at, Session: live, Duration: time.Hour + time.Millisecond,
			Counters: accounting.Counters{InBytes: 5<<32 + 7, OutBytes: 9, InPackets: 11, OutPackets: 13}, Cause: tenant.ReasonIdleTimeout,
		},
	} {
		if err := c.Account(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(fr.dir, "detail"))
	if err != nil {
		t.Fatal(err)
	}
	records := strings.Split(strings.TrimSpace(string(b)), "\n\n")
	if len(records) != 3 {
		t.Fatalf("%d records:\n%s", len(records), b)
	}
	for i, lines := range [][]string{
		{"Acct-Status-Type = Accounting-On", `Acct-Session-Id = "on-1"`, `NAS-Identifier = "nas-1"`, "NAS-IP-Address = 127.0.0.1"},
		{"Acct-Status-Type = Start", `Acct-Session-Id = "s-1"`, `User-Name = "alice"`, "Framed-IP-Address = 10.9.0.7"},
		{
			"Acct-Status-Type = Stop", `User-Name = "alice"`, "Service-Type = Framed-User", "Framed-Protocol = PPP",
			"NAS-Port = 17", "NAS-Port-Type = Virtual", `Calling-Station-Id = "198.51.100.7"`, `Called-Station-Id = "192.0.2.1"`,
			"Tunnel-Type:0 = PPTP", "Tunnel-Medium-Type:0 = IPv4", `Tunnel-Client-Endpoint:0 = "198.51.100.7"`,
			`Tunnel-Assignment-Id:0 = "pptp-3"`, `Acct-Tunnel-Connection = "17"`, "Class = 0x6669727374", "Class = 0x7365636f6e64",
			"Acct-Authentic = RADIUS", "MS-Acct-Auth-Type = MS-CHAP-2", "Acct-Session-Time = 3600", "Acct-Input-Octets = 7",
			"Acct-Input-Gigawords = 5", "Acct-Output-Octets = 9", "Acct-Output-Gigawords = 0", "Acct-Input-Packets = 11",
			"Acct-Output-Packets = 13", "Acct-Terminate-Cause = Idle-Timeout", "Acct-Delay-Time = 9", "Event-Timestamp = ",
		},
	} {
		for _, want := range lines {
			if !strings.Contains(records[i], "\t"+want) {
				t.Errorf("record %d lacks %s:\n%s", i, want, records[i])
			}
		}
	}
	if strings.Index(records[2], "0x6669727374") > strings.Index(records[2], "0x7365636f6e64") {
		t.Error("the Class attributes are out of order")
	}
}
