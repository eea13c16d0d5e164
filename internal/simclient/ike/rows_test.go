package ike

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"concentrator/internal/ike/ikev1"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// row is what the engine must make of a client.
type row struct {
	client Client
	modern bool   // it gets through both phases without legacyClients
	phase1 string // chosen in phase 1
	esp    string // chosen in Quick Mode
	// stage is where it is refused without legacyClients, always with LEGACY_NOT_ALLOWED.
	stage     tenant.Stage
	ikeLife   time.Duration // agreed
	espLife   time.Duration // agreed
	told      time.Duration // RESPONDER-LIFETIME of Quick Mode; 0: none
	identity  string        // behind a NAT
	dpd       bool
	hardBytes uint64
}

var rows = []row{
	{
		client: Windows(), modern: true, phase1: "AES-CBC-256 SHA1 ECP-384", esp: "AES-CBC-256 SHA1-96",
		ikeLife: 8 * time.Hour, espLife: time.Hour, identity: "ipv4:192.168.0.5", hardBytes: 250_000 << 10,
	},
	{
		client: Windows7(), modern: true, phase1: "AES-CBC-256 SHA1 ECP-384", esp: "AES-CBC-128 SHA1-96",
		ikeLife: 8 * time.Hour, espLife: time.Hour, identity: "ipv4:192.168.0.5", hardBytes: 250_000 << 10,
	},
	{
		client: MacOS(), modern: true, phase1: "AES-CBC-256 SHA2-256 MODP-2048", esp: "AES-CBC-256 SHA2-256-128",
		ikeLife: time.Hour, espLife: time.Hour, identity: "ipv4:192.168.0.5", dpd: true,
	},
	{
		client: IOSGroup("group"), modern: true, phase1: "AES-CBC-256 SHA2-256 MODP-2048", esp: "AES-CBC-256 SHA2-256-128",
		ikeLife: time.Hour, espLife: time.Hour, identity: "key-id:group", dpd: true,
	},
	{
		client: Android(), stage: tenant.StageIKEMainMode, phase1: "AES-CBC-256 SHA2-384 MODP-1024", esp: "AES-CBC-256 SHA1-96",
		ikeLife: 8 * time.Hour, espLife: time.Hour, told: time.Hour, identity: "ipv4:192.168.0.5", dpd: true,
	},
	{
		client: AndroidGroup("group"), stage: tenant.StageIKEMainMode, phase1: "AES-CBC-256 SHA2-384 MODP-1024",
		esp: "AES-CBC-256 SHA1-96", ikeLife: 8 * time.Hour, espLife: time.Hour, told: time.Hour, identity: "key-id:group", dpd: true,
	},
	{
		client: AndroidLollipop(), stage: tenant.StageIKEMainMode, phase1: "AES-CBC-256 SHA1 MODP-1024", esp: "AES-CBC-256 SHA1-96",
		ikeLife: 8 * time.Hour, espLife: time.Hour, told: time.Hour, identity: "ipv4:192.168.0.5", dpd: true,
	},
	{
		client: NetworkManagerStrongSwan(), modern: true, phase1: "AES-CBC-256 SHA2-256 MODP-2048", esp: "AES-CBC-256 SHA1-96",
		ikeLife: 3 * time.Hour, espLife: time.Hour, identity: "ipv4:192.168.0.5", dpd: true,
	},
	{
		client: NetworkManagerLibreswan(), modern: true, phase1: "AES-CBC-256 SHA2-256 MODP-2048", esp: "AES-CBC-256 SHA1-96",
		ikeLife: 8 * time.Hour, espLife: time.Hour, told: time.Hour, identity: "ipv4:192.168.0.5", dpd: true,
	},
	{
		client: ChromeOS(), modern: true, phase1: "AES-CBC-128 SHA2-256 MODP-3072", esp: "AES-GCM-16-128",
		ikeLife: 3 * time.Hour, espLife: time.Hour, identity: "ipv4:192.168.0.5", dpd: true,
	},
	{
		client: MikroTik(), stage: tenant.StageIKEQuickMode, phase1: "AES-CBC-128 SHA1 MODP-2048", esp: "AES-CBC-256 SHA1-96",
		ikeLife: 8 * time.Hour, espLife: 30 * time.Minute, identity: "ipv4:192.168.0.5", dpd: true,
	},
	{
		client: TPLink(), stage: tenant.StageIKEMainMode, phase1: "3DES-CBC MD5 MODP-1024", esp: "3DES-CBC MD5-96",
		ikeLife: 8 * time.Hour, espLife: time.Hour, identity: "ipv4:192.168.0.5",
	},
}

func TestEveryClientHasARow(t *testing.T) {
	for _, c := range Clients() {
		if !slices.ContainsFunc(rows, func(r row) bool { return r.client.Name == c.Name }) {
			t.Errorf("%s has no row", c.Name)
		}
	}
}

// forms is each row behind a NAT and without one.
func forms(t *testing.T, test func(t *testing.T, row row, nat bool)) {
	for _, row := range rows {
		for nat, name := range map[bool]string{true: "behind NAT", false: "open"} {
			t.Run(row.client.Name+"/"+name, func(t *testing.T) { test(t, row, nat) })
		}
	}
}

// TestRows replays each client against a tenant with legacyClients: what is chosen, and everything that message order,
// identities, ports and lifetimes must be.
func TestRows(t *testing.T) {
	forms(t, func(t *testing.T, row row, nat bool) {
		respond(t, oneTenant(true), func(t *testing.T, r *responder) { row.serve(t, r, nat) })
	})
}

// TestModernRows is TestRows without legacyClients, for those that do not need it: they get the same.
func TestModernRows(t *testing.T) {
	forms(t, func(t *testing.T, row row, nat bool) {
		if row.modern {
			respond(t, oneTenant(false), func(t *testing.T, r *responder) { row.serve(t, r, nat) })
		}
	})
}

// TestLegacyRows replays the others against a tenant without legacyClients.
func TestLegacyRows(t *testing.T) {
	forms(t, func(t *testing.T, row row, nat bool) {
		if row.modern {
			return
		}
		respond(t, oneTenant(false), func(t *testing.T, r *responder) {
			h := r.by(row.client, nat)
			if through := h.phaseOne(); through != (row.stage == tenant.StageIKEQuickMode) {
				t.Fatalf("phase 1 got through: %v", through)
			}
			if row.stage == tenant.StageIKEQuickMode {
				if q := h.quick(); q.notify != wireike.NotifyNoProposalChosen {
					t.Errorf("quick mode: %+v", q)
				}
			}
			f := r.refused()
			if f.Stage != row.stage || f.Reason != tenant.ReasonLegacyNotAllowed || f.Path != h.path() {
				t.Errorf("refused: %+v", f)
			}
		})
	})
}

// serve is a login's two phases.
func (row row) serve(t *testing.T, r *responder, nat bool) {
	h := r.by(row.client, nat)
	if !h.phaseOne() {
		t.Fatalf("phase 1 is refused: %+v", r.refused())
	}
	row.checkPhase1(t, h)
	q := h.quick()
	if q.suite != row.esp {
		t.Errorf("ESP is %q (%v), want %q", q.suite, r.refused(), row.esp)
	}
	row.checkQuick(t, h, q)
	row.checkSilence(t, h)
	h.hangUp(q)
}

func (row row) checkPhase1(t *testing.T, h *hand) {
	t.Helper()
	if h.suite != row.phase1 {
		t.Errorf("phase 1 is %q, want %q", h.suite, row.phase1)
	}
	if want := order(row.client); !slices.Equal(h.order, want) {
		t.Errorf("payloads in order: %q\nwant %q", h.order, want)
	}
	sa := h.r.sa()
	identity := "ipv4:" + h.own.String()
	if h.nat || row.client.Aggressive {
		identity = row.identity
	}
	if sa.Tenant != "tenants/acme" || sa.PSK != "main" || sa.Identity.String() != identity || sa.Path != h.path() {
		t.Errorf("established: %+v, want %s on %v", sa, identity, h.path())
	}
	if sa.NAT != (ikev1.NAT{Remote: h.nat}) || (h.port == 4500) != h.nat {
		t.Errorf("NAT %+v, port %d", sa.NAT, h.port)
	}
	if sa.Lifetime != row.ikeLife || sa.DPD != row.dpd || sa.InitialContact != (row.client.Contact == ContactInID) {
		t.Errorf("lifetime %v, DPD %v, INITIAL-CONTACT %v", sa.Lifetime, sa.DPD, sa.InitialContact)
	}
}

// order is what the messages of phase 1 hold, the first of the encrypted ones left out.
func order(c Client) []string {
	vids := func(n int) string { return string(bytes.Repeat([]byte(" VID"), n)) }
	answered, natD := 0, ""
	for _, v := range []wireike.Vendor{wireike.VendorDPD, wireike.VendorFragmentation} {
		if c.Announces(v) {
			answered++
		}
	}
	if c.Announces(wireike.VendorNATTRFC3947) {
		answered++
		natD = " NAT-D NAT-D"
	} else {
		answered++
		natD = " NAT-D(draft) NAT-D(draft)"
	}
	if c.Aggressive {
		return []string{"SA KE NONCE ID" + vids(len(c.VendorIDs)), "SA KE NONCE ID HASH" + vids(answered) + natD}
	}
	return []string{
		"SA" + vids(len(c.VendorIDs)), "SA" + vids(answered), "KE NONCE" + natD, "KE NONCE" + natD, "ID HASH",
	}
}

func (row row) checkQuick(t *testing.T, h *hand, q quickMode) {
	t.Helper()
	c, used := h.r.only().child()
	if !used {
		t.Error("the child is not used after message 3")
	}
	want := "HASH SA NONCE"
	if row.client.PFS != wireike.GroupNone {
		want += " KE"
	}
	want += " ID ID"
	if h.nat && h.way == rfc3947 {
		want += " NAT-OA NAT-OA"
		if len(q.oas) != 2 || q.oas[0] != natAddr || q.oas[1] != serverAddr {
			t.Errorf("NAT-OA: %v", q.oas)
		}
	}
	if row.told != 0 {
		want += " N"
	}
	if q.order != want || q.life != row.told {
		t.Errorf("message 2 of quick mode holds %s with %v, want %s with %v", q.order, q.life, want, row.told)
	}
	if c.InboundSPI != q.spi || c.OutboundSPI != q.own || c.UDPEncap != h.nat || c.PFS != row.client.PFS {
		t.Errorf("child %+v, want SPIs %#x and %#x", c, q.spi, q.own)
	}
	if !bytes.Equal(c.InboundKey, q.keysIn.Encryption) || !bytes.Equal(c.InboundAuthKey, q.keysIn.Integrity) || len(c.InboundKey) < 16 {
		t.Error("the keys differ")
	}
	if c.PeerPort != row.client.IDPort || c.OurPort != 1701 {
		t.Errorf("ports %d and %d, want %d and 1701", c.PeerPort, c.OurPort, row.client.IDPort)
	}
	if c.Lifetime != row.espLife || c.HardBytes != row.hardBytes || c.HardBytes != 0 && c.SoftBytes >= c.HardBytes {
		t.Errorf("lifetime %v, %d to %d octets", c.Lifetime, c.SoftBytes, c.HardBytes)
	}
	if h.nat && row.client.NATOA && (c.PeerOA != privateAddr || c.OurOA != serverAddr) {
		t.Errorf("original addresses %v and %v", c.PeerOA, c.OurOA)
	}
}

// checkSilence waits: who announced dead peer detection is asked after 30 s of silence, nobody else is, and nothing else
// is sent.
func (row row) checkSilence(t *testing.T, h *hand) {
	t.Helper()
	out := h.r.after(31 * time.Second)
	if !row.dpd {
		out = append(out, h.r.after(10*time.Minute)...)
		if len(out) != 0 {
			t.Errorf("the server sends %d messages to a client without DPD", len(out))
		}
		return
	}
	m := h.informed(h.one(out))
	body, _ := m.Get(wireike.PayloadNotify)
	n, err := wireike.ParseNotify(body)
	if err != nil || n.Type != wireike.NotifyRUThere || names(m) != "HASH N" {
		t.Fatalf("the server sends %s: %v %v", names(m), n.Type, err)
	}
	ack, _ := wireike.Notify{
		Protocol: wireike.ProtocolISAKMP, Type: wireike.NotifyRUThereAck, SPI: n.SPI, Data: n.Data,
	}.AppendBinary(nil) // it never fails
	if more := h.inform(payload{wireike.PayloadNotify, ack}); len(more) != 0 {
		t.Errorf("R-U-THERE-ACK is answered by %d messages", len(more))
	}
}

// hangUp deletes the ESP SA, then the ISAKMP SA, and nothing is left.
func (h *hand) hangUp(q quickMode) {
	h.t.Helper()
	p := h.r.only()
	esp := wireike.AppendDelete(nil, wireike.ProtocolESP, []byte{byte(q.own >> 24), byte(q.own >> 16), byte(q.own >> 8), byte(q.own)})
	if more := h.inform(payload{wireike.PayloadDelete, esp}); len(more) != 0 {
		h.t.Errorf("delete is answered by %d messages", len(more))
	}
	if children, downs := p.count(); children != 0 || downs != 0 {
		h.t.Errorf("after the delete of ESP: %d children, %d SAs down", children, downs)
	}
	isakmp := wireike.AppendDelete(nil, wireike.ProtocolISAKMP, slices.Concat(h.id[0][:], h.id[1][:]))
	if more := h.inform(payload{wireike.PayloadDelete, isakmp}); len(more) != 0 {
		h.t.Errorf("delete is answered by %d messages", len(more))
	}
	p.wantEmpty()
	if st := h.r.e.Stats(); st.SAs != 0 || st.Peers != 0 {
		h.t.Errorf("left: %+v", st)
	}
}
