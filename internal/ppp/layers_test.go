package ppp

import (
	"strings"
	"testing"
	"time"

	"concentrator/internal/ppp/automaton"
	"concentrator/internal/tenant"
	wireccp "concentrator/internal/wire/ccp"
	wireipcp "concentrator/internal/wire/ipcp"
	wirelcp "concentrator/internal/wire/lcp"
	wire "concentrator/internal/wire/ppp"
)

// open returns a world with an open pppd session.
func open(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, pppd(), config(), grant(tenant.MPPERequired, 128))
	w.start(time.Second)
	w.wantOpen()
	return w
}

// objecting makes the test peer answer our request of one protocol by hand, before its own opinion.
func objecting(l *peerLayer, object func(a *automaton.Answer, o wire.Option) bool) {
	judge := l.judge
	l.judge = func(a *automaton.Answer) {
		objected := false
		for o := range a.Options() {
			objected = object(a, o) || objected
		}
		if !objected {
			judge(a)
		}
	}
}

// TestLCPNaks: what the peer wants otherwise, it gets where that is possible.
func TestLCPNaks(t *testing.T) {
	for _, c := range []struct {
		name string
		typ  byte
		want []byte // the value that the peer proposes
		left []byte // what our request holds in the end; nil: the option is left out
	}{
		{"smaller MRU", wirelcp.OptionMRU, []byte{4, 0}, []byte{4, 0}},
		{"MRU below every datagram", wirelcp.OptionMRU, []byte{0, 100}, nil},
		{"larger MRU", wirelcp.OptionMRU, []byte{8, 0}, nil},
		{"malformed MRU", wirelcp.OptionMRU, []byte{8}, nil},
		{"ACCM", wirelcp.OptionACCM, []byte{0, 10, 0, 0}, nil},
		{"PFC", wirelcp.OptionPFC, nil, nil},
		{"ACFC", wirelcp.OptionACFC, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, pppd(), config(), grant(tenant.MPPERequired, 128))
			w.peer.lcp.m = automaton.NewMachine(automaton.Config{
				Restart: 3 * time.Second, First: 3 * time.Second, Linger: time.Second, Limit: time.Minute,
				MaxConfigure: 10, MaxTerminate: 2, MaxFailure: 100,
			}, w.peer.lcp)
			objecting(w.peer.lcp, func(a *automaton.Answer, o wire.Option) bool {
				if o.Type != c.typ || string(o.Value) == string(c.want) && c.want != nil {
					return false
				}
				a.Nak(o, c.want...)
				return true
			})
			w.start(2 * time.Second)
			w.wantOpen()
			o, err := wire.ParseOptions(w.link.lcp.AppendRequest(nil))
			if err != nil {
				t.Fatal(err)
			}
			got, ok := o.Find(c.typ)
			if ok != (c.left != nil) || string(got) != string(c.left) {
				t.Errorf("our request holds %x (%v), want %x", got, ok, c.left)
			}
		})
	}
}

// TestLCPOptionsOfThePeer: each well-formed option of ours to know is acknowledged, each malformed one rejected.
func TestLCPOptionsOfThePeer(t *testing.T) {
	w := newWorld(t, pppd(), config(), Grant{})
	w.link.Start(w.now)
	magic := w.link.lcp.magic
	for i, c := range []struct {
		name, options, code, answer string
	}{
		{"nothing", "", "02", ""},
		{"MRU", "01040578", "02", "01040578"},
		{"malformed MRU", "010305", "04", "010305"},
		{"MRU of 1", "01040001", "03", "01040240"},
		{"malformed ACCM", "02050a0000", "04", "02050a0000"},
		{"authentication of us", "0304c023", "04", "0304c023"},
		{"quality", "0408c02500000000", "04", "0408c02500000000"},
		{"malformed magic", "050401ff", "04", "050401ff"},
		{"PFC with a value", "070301", "04", "070301"},
		{"ACFC with a value", "080301", "04", "080301"},
		{"callback", "0d0306", "04", "0d0306"},
		{"MRRU", "1104064e", "04", "1104064e"},
		{"endpoint", "130401aa", "02", "130401aa"},
		{"empty endpoint", "1302", "04", "1302"},
		{"link discriminator", "17040001", "04", "17040001"},
	} {
		w.queue = nil
		id := byte(i + 1)
		w.link.Receive(w.now, wire.ProtocolLCP, wire.AppendPacket(nil, 1, id, unhex(t, c.options)))
		want := wire.AppendPacket(nil, unhex(t, c.code)[0], id, unhex(t, c.answer))
		if len(w.queue) != 1 || string(w.queue[0].packet) != string(want) {
			t.Errorf("%s: answered by %+v, want %x", c.name, w.queue, want)
		}
	}
	// Zero and our own magic number: the peer shall take another one.
	for i, m := range []uint32{0, magic} {
		w.queue = nil
		w.link.Receive(w.now, wire.ProtocolLCP, wire.AppendPacket(nil, 1, byte(100+i), wirelcp.AppendMagic(nil, m)))
		if p := w.queue[0].packet; len(w.queue) != 1 || p[0] != 3 || len(p) != 10 || string(p[6:]) == string(wirelcp.AppendMagic(nil, m)[2:]) {
			t.Errorf("magic %x: answered by %x", m, p)
		}
	}
}

func TestEchoOfOurOwnIsNotAnswered(t *testing.T) {
	w := open(t)
	sent := len(w.queue)
	own, _ := wirelcp.Numbered{Magic: w.link.lcp.magic}.AppendBinary(nil)
	w.link.Receive(w.now, wire.ProtocolLCP, wire.AppendPacket(nil, wirelcp.CodeEchoRequest, 1, own))
	w.link.Receive(w.now, wire.ProtocolLCP, wire.AppendPacket(nil, wirelcp.CodeEchoRequest, 1, own[:3]))
	if len(w.queue) != sent {
		t.Errorf("answered by %x", w.queue[sent].packet)
	}
}

// TestEchoReplyFitsTheMRU of the peer.
func TestEchoReplyFitsTheMRU(t *testing.T) {
	k := pppd()
	k.lcp = append(k.lcp, opt(wirelcp.OptionMRU, 576>>8, 576&0xff))
	w := newWorld(t, k, config(), grant(tenant.MPPERequired, 128))
	w.start(time.Second)
	w.wantOpen()
	w.link.Receive(w.now, wire.ProtocolLCP, wire.AppendPacket(nil, wirelcp.CodeEchoRequest, 1, make([]byte, 1400)))
	if n := len(w.queue[0].packet); n != 576 {
		t.Errorf("%d octets", n)
	}
}

// TestProtocolRejectOfThePeer: what it can not do without ends the link, the rest does not.
func TestProtocolRejectOfThePeer(t *testing.T) {
	for _, c := range []struct {
		protocol uint16
		reason   tenant.Reason // empty: the link stays
	}{
		{wire.ProtocolLCP, tenant.ReasonProtocolError},
		{wire.ProtocolIPCP, tenant.ReasonProtocolError},
		{wire.ProtocolCCP, tenant.ReasonMPPERequired},
		{wire.ProtocolCHAP, ""}, // after the login
		{wire.ProtocolCompressed, ""},
		{0x1234, ""},
	} {
		w := open(t)
		data := wirelcp.AppendProtocolReject(nil, c.protocol, nil)
		w.link.Receive(w.now, wire.ProtocolLCP, wire.AppendPacket(nil, wirelcp.CodeProtocolReject, 1, data[:1]))
		w.link.Receive(w.now, wire.ProtocolLCP, wire.AppendPacket(nil, wirelcp.CodeProtocolReject, 1, data))
		w.run(20 * time.Second)
		if c.reason == "" {
			w.wantOpen()
		} else {
			w.wantFinished(tenant.StageOpen, c.reason)
		}
	}
	w := toAuth(t, tenant.AuthMSCHAPv2)
	data := wirelcp.AppendProtocolReject(nil, wire.ProtocolCHAP, nil)
	w.link.Receive(w.now, wire.ProtocolLCP, wire.AppendPacket(nil, wirelcp.CodeProtocolReject, 1, data))
	w.run(20 * time.Second)
	w.wantFinished(tenant.StageAuthentication, tenant.ReasonNoCommonAuthMethod)
}

// TestProtocolRejectsAreCounted: a flood of nonsense is not answered frame by frame, and not at full length.
func TestProtocolRejectsAreCounted(t *testing.T) {
	w := open(t)
	w.cut = true
	for range 1000 {
		w.link.Receive(w.now, wire.ProtocolIPv6, make([]byte, 1400))
	}
	if n := w.frames("c021", "08"); n != maxRejects {
		t.Errorf("%d Protocol-Rejects in no time", n)
	}
	w.now = w.now.Add(time.Second)
	w.link.Receive(w.now, wire.ProtocolIPv6, make([]byte, 1400))
	if n := w.frames("c021", "08"); n != maxRejects+1 {
		t.Errorf("%d after a second", n)
	}
	last := strings.Fields(w.trace[len(w.trace)-1])[3]
	if n := len(last) / 2; n != wire.PacketHeaderLen+2+maxRejected {
		t.Errorf("%d octets", n)
	}
}

// TestIPCPObjections: our address is not for the peer to choose.
func TestIPCPObjections(t *testing.T) {
	for _, c := range []struct {
		name   string
		object func(a *automaton.Answer, o wire.Option)
	}{
		{"Reject", func(a *automaton.Answer, o wire.Option) { a.Reject(o) }},
		{"Nak", func(a *automaton.Answer, o wire.Option) { a.Nak(o, 10, 9, 9, 9) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, pppd(), config(), grant(tenant.MPPERequired, 128))
			objecting(w.peer.ipcp, func(a *automaton.Answer, o wire.Option) bool {
				c.object(a, o)
				return true
			})
			w.start(2 * time.Second)
			w.wantOpen()
			if w.host.network.Local != serverAddr {
				t.Errorf("our address became %v", w.host.network.Local)
			}
		})
	}
}

// TestPeerInsistsOnItsAddress: it can not stay, because nothing it sends would be let through.
func TestPeerInsistsOnItsAddress(t *testing.T) {
	w := open(t)
	for i := range byte(20) {
		w.link.Receive(w.now, wire.ProtocolIPCP, wire.AppendPacket(nil, 1, 100+i, []byte{wireipcp.OptionAddress, 6, 10, 9, 9, i}))
	}
	w.run(10 * time.Second)
	w.wantFinished(tenant.StageOpen, tenant.ReasonProtocolError)
	if !strings.Contains(w.host.detail, "address of its own") {
		t.Errorf("detail %q", w.host.detail)
	}
}

func TestIPCPOptionsOfThePeer(t *testing.T) {
	w := open(t)
	for i, c := range []struct {
		name, options, code, answer string
	}{
		{"malformed address", "030500000a", "04", "030500000a"},
		{"both addresses, deprecated", "010a0a0000010a000002", "04", "010a0a0000010a000002"},
		{"compression and a wrong address", "0206002d0f01" + "030600000000", "04", "0206002d0f01"},
		{"netmask", "9006ffffff00", "04", "9006ffffff00"},
		{"DNS that it made up", "03060a010007" + "8106c0000201", "03", "8106c0000235"},
	} {
		w.queue = nil
		id := byte(100 + i)
		w.link.Receive(w.now, wire.ProtocolIPCP, wire.AppendPacket(nil, 1, id, unhex(t, c.options)))
		want := wire.AppendPacket(nil, unhex(t, c.code)[0], id, unhex(t, c.answer))
		if p := w.queue[len(w.queue)-1].packet; string(p) != string(want) {
			t.Errorf("%s: answered by %x, want %x", c.name, p, want)
		}
	}
}

// TestIPCPRenegotiation: the network is down in between and the handler hears of it in order.
func TestIPCPRenegotiation(t *testing.T) {
	w := open(t)
	w.host.log = nil
	w.peer.now = w.now
	w.peer.ipcp.m.Down(w.now)
	w.peer.ipcp.m.Up(w.now)
	w.run(time.Second)
	w.wantOpen()
	if len(w.host.log) < 2 || w.host.log[0] != "network down" || w.host.log[len(w.host.log)-1] != "opened 10.1.0.7" {
		t.Errorf("log %q", w.host.log)
	}
}

func TestPeerClosesIPCP(t *testing.T) {
	w := open(t)
	w.link.Receive(w.now, wire.ProtocolIPCP, wire.AppendPacket(nil, wire.CodeTerminateRequest, 9, nil))
	if w.host.open {
		t.Error("the network stays open")
	}
	w.run(20 * time.Second)
	w.wantFinished(tenant.StageOpen, tenant.ReasonUserRequest)
}

// TestPeerWithoutIPCP logs in and then goes quiet.
func TestPeerWithoutIPCP(t *testing.T) {
	w := newWorld(t, pppd(), config(), grant(tenant.MPPERequired, 128))
	w.peer.ccp.up = func() {} // pppd starts IPCP from here
	w.start(2 * time.Minute)
	w.wantFinished(tenant.StageAddress, tenant.ReasonPeerTimeout)
}

func TestCCPOptionsOfThePeer(t *testing.T) {
	w := open(t)
	for i, c := range []struct {
		name, options, code, answer string
	}{
		{"deflate and BSD", "1a047800" + "15032f" + "120601000040", "04", "1a047800" + "15032f"},
		{"malformed MPPE", "1205010000", "04", "1205010000"},
		{"stateful", "120600000040", "03", "120601000040"},
		{"every strength and compression", "1206010000f1", "03", "120601000040"},
		{"nothing", "", "03", "120601000040"},
	} {
		w.queue = nil
		id := byte(100 + i)
		w.link.Receive(w.now, wire.ProtocolCCP, wire.AppendPacket(nil, 1, id, unhex(t, c.options)))
		want := wire.AppendPacket(nil, unhex(t, c.code)[0], id, unhex(t, c.answer))
		if p := w.queue[len(w.queue)-1].packet; string(p) != string(want) {
			t.Errorf("%s: answered by %x, want %x", c.name, p, want)
		}
	}
	// By now Max-Failure is near: a peer that goes on is told why it can not stay.
	for i := range byte(10) {
		w.link.Receive(w.now, wire.ProtocolCCP, wire.AppendPacket(nil, 1, 150+i, wireccp.AppendMPPE(nil, wireccp.Bits40)))
	}
	w.run(20 * time.Second)
	w.wantFinished(tenant.StageOpen, tenant.ReasonMPPERequired)
}

// TestCCPNakLoop: a peer that naks our request with what we asked for keeps nobody busy.
func TestCCPNakLoop(t *testing.T) {
	w := newWorld(t, windows10(), config(), grant(tenant.MPPERequired, 128))
	objecting(w.peer.ccp, func(a *automaton.Answer, o wire.Option) bool {
		a.Nak(o, o.Value...)
		return !a.Good()
	})
	w.peer.ccp.m = automaton.NewMachine(automaton.Config{
		Restart: 3 * time.Second, First: 3 * time.Second, Linger: time.Second, Limit: time.Minute,
		MaxConfigure: 10, MaxTerminate: 2, MaxFailure: 1000,
	}, w.peer.ccp)
	w.start(5 * time.Second)
	w.wantFinished(tenant.StageCCP, tenant.ReasonMPPERequired)
}

// TestFinishedLinkIsDeaf: every method of a dead link does nothing.
func TestFinishedLinkIsDeaf(t *testing.T) {
	w := open(t)
	w.link.Terminate(w.now, tenant.ReasonShutdown, "bye")
	w.run(time.Minute)
	w.wantFinished(tenant.StageOpen, tenant.ReasonShutdown)
	lines := len(w.trace)
	w.link.Start(w.now)
	w.link.Receive(w.now, wire.ProtocolLCP, []byte{1, 9, 0, 4})
	w.link.Tick(w.now)
	w.link.NoteActivity(w.now)
	w.link.Decide(w.now, Decision{})
	w.link.Terminate(w.now, tenant.ReasonReplaced, "again")
	w.link.ResetRequest(w.now)
	if len(w.trace) != lines {
		t.Errorf("%q", w.trace[lines:])
	}
}

func TestLinkBeforeStartIsDeaf(t *testing.T) {
	w := newWorld(t, pppd(), config(), Grant{})
	w.link.Receive(w.now, wire.ProtocolLCP, []byte{1, 9, 0, 4})
	w.link.Tick(w.now)
	w.link.NoteActivity(w.now)
	w.link.Decide(w.now, Decision{})
	w.link.ResetRequest(w.now)
	if _, ok := w.link.Deadline(); ok || len(w.trace) != 0 {
		t.Errorf("deadline %v, %q", ok, w.trace)
	}
}

func TestIdentIsBounded(t *testing.T) {
	w := open(t)
	data, _ := wirelcp.Numbered{Rest: make([]byte, 1000)}.AppendBinary(nil)
	for range 10 {
		w.link.Receive(w.now, wire.ProtocolLCP, wire.AppendPacket(nil, wirelcp.CodeIdentification, 1, data))
	}
	w.link.Receive(w.now, wire.ProtocolLCP, wire.AppendPacket(nil, wirelcp.CodeIdentification, 1, nil))
	if len(w.host.idents) != maxIdents || len(w.host.idents[0]) != maxIdentLen {
		t.Errorf("%d identifications", len(w.host.idents))
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		"User request":           ` ("User request")`,
		"a\x00b\xff\n":           ` ("a?b??")`,
		strings.Repeat("x", 500): ` ("` + strings.Repeat("x", maxPeerText) + `")`,
	} {
		if got := quote([]byte(in)); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}
