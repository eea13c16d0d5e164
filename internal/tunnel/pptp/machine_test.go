package pptp

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"concentrator/internal/corpus"
	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/pptp"
)

// bench is a machine with an upper that writes down what it is told.
type bench struct {
	t        testing.TB
	m        *machine
	now      time.Time
	log      []string
	commands []command
	calls    []*call
	requests []CallRequest
	carries  bool                 // it has a call
	carried  bool                 // it has had one
	answer   func(c *call) Answer // default: connected with IDs 0x8001, 0x8002, …
}

func newBench(t testing.TB, cfg Config) *bench {
	b := &bench{t: t, now: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)}
	full := cfg.withDefaults()
	b.answer = func(*call) Answer {
		return Answer{CallID: 0x8000 + uint16(len(b.calls)), Result: wire.ResultConnected}
	}
	b.m = newMachine(&full, b.now, b)
	return b
}

func (b *bench) outgoingCall(c *call, r CallRequest) Answer {
	b.calls, b.requests = append(b.calls, c), append(b.requests, r)
	return b.answer(c)
}

func (b *bench) callClosed(id uint16, cause tenant.Reason, detail string) {
	if detail == "" {
		b.t.Error("a call was closed without a detail")
	}
	b.log = append(b.log, fmt.Sprintf("closed %#x %s", id, cause))
}

func (b *bench) refused(reason tenant.Reason, detail string) {
	if detail == "" {
		b.t.Error("a refusal has no detail")
	}
	b.log = append(b.log, "refused "+string(reason))
}

func (b *bench) authenticated() { b.log = append(b.log, "authenticated") }

// connected logs the first time only.
func (b *bench) connected() {
	if b.carries {
		b.t.Error("connected, and was")
	}
	if !b.carried {
		b.log = append(b.log, "connected")
	}
	b.carries, b.carried = true, true
}

func (b *bench) disconnected() {
	if !b.carries {
		b.t.Error("disconnected, and was not connected")
	}
	b.carries = false
}

func (b *bench) post(cmd command)                 { b.commands = append(b.commands, cmd) }
func (b *bench) received(wire.Type, controlState) {}
func (b *bench) after(d time.Duration)            { b.now = b.now.Add(d); b.m.Tick(b.now) }
func (b *bench) feed(msgs ...wire.Message)        { b.m.Feed(b.now, octets(b.t, msgs...)) }
func (b *bench) start()                           { b.feed(startRequest); b.out() }
func (b *bench) call(id uint16) *call {
	b.feed(callRequest(id))
	b.out()
	return b.calls[len(b.calls)-1]
}

func callRequest(id uint16) wire.OutgoingCallRequest {
	return wire.OutgoingCallRequest{CallID: id, MaximumBPS: 9600}
}

var startRequest = wire.StartControlConnectionRequest{
	Version: wire.Version, FirmwareRevision: 7, HostName: wire.NewText("pc"), VendorName: wire.NewText("Microsoft"),
}

// octets builds a stream.
func octets(t testing.TB, msgs ...wire.Message) []byte {
	t.Helper()
	var b []byte
	var err error
	for _, m := range msgs {
		if b, err = m.AppendBinary(b); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// out takes and parses what the machine wants to send.
func (b *bench) out() []wire.Message {
	b.t.Helper()
	var msgs []wire.Message
	for rest := b.m.out; len(rest) > 0; {
		n, err := wire.Split(rest)
		if err != nil || n == 0 {
			b.t.Fatalf("output is not a message: %x, %v", rest, err)
		}
		m, err := wire.Parse(rest[:n])
		if err != nil {
			b.t.Fatal(err)
		}
		msgs = append(msgs, m)
		rest = rest[n:]
	}
	b.m.out = b.m.out[:0]
	return msgs
}

// sends checks that the machine has sent exactly msgs.
func (b *bench) sends(msgs ...wire.Message) {
	b.t.Helper()
	if got := b.out(); !slices.Equal(got, msgs) {
		b.t.Errorf("sent\n%#v, want\n%#v", got, msgs)
	}
}

// events checks what upper was told since the last call.
func (b *bench) events(want ...string) {
	b.t.Helper()
	if got := b.log; !slices.Equal(got, want) {
		b.t.Errorf("events %q, want %q", got, want)
	}
	b.log = nil
}

// runs hands over the commands that were posted.
func (b *bench) runs() {
	cmds := b.commands
	b.commands = nil
	for _, c := range cmds {
		b.m.Run(b.now, c)
	}
}

func (b *bench) in(s controlState) {
	b.t.Helper()
	if b.m.state != s {
		b.t.Errorf("state %s, want %s", b.m.state, s)
	}
	if _, open := b.m.Deadline(); open != (s != closed) {
		b.t.Errorf("in %s a deadline is %v", s, open)
	}
}

// due checks when the machine wants its next Tick.
func (b *bench) due(in time.Duration) {
	b.t.Helper()
	if d, _ := b.m.Deadline(); d.Sub(b.now) != in {
		b.t.Errorf("next deadline in %v, want %v", d.Sub(b.now), in)
	}
}

func startReply(result uint8) wire.StartControlConnectionReply {
	return wire.StartControlConnectionReply{
		Version: wire.Version, Result: result, FramingCapabilities: 3, BearerCapabilities: 3,
		FirmwareRevision: 9, HostName: wire.NewText("server"), VendorName: wire.NewText("maker"),
	}
}

var named = Config{HostName: "server", Vendor: "maker", FirmwareRevision: 9}

func TestOneCallFromStartToStop(t *testing.T) {
	b := newBench(t, named)
	b.in(idle)
	b.feed(startRequest)
	b.sends(startReply(wire.ResultOK))
	b.in(established)

	b.feed(wire.OutgoingCallRequest{
		CallID: 0, SerialNumber: 5, MinimumBPS: 300, MaximumBPS: 100_000_000, ReceiveWindow: 64,
		PhoneNumberLength: 2, PhoneNumber: wire.NewText("12"), SubAddress: wire.SubAddress{0xff, 0x00, 0xfe},
	})
	b.sends(wire.OutgoingCallReply{
		CallID: 0x8001, PeerCallID: 0, Result: wire.ResultConnected, ConnectSpeed: 100_000_000, ReceiveWindow: 16384,
	})
	b.events("connected")
	want := CallRequest{
		PeerCallID: 0, SerialNumber: 5, Window: 64, PhoneNumber: "12", HostName: "pc", Vendor: "Microsoft", FirmwareRevision: 7,
	}
	if b.requests[0] != want {
		t.Errorf("asked about %+v, want %+v", b.requests[0], want)
	}

	// Windows sends it right after the reply and once more after LCP; it means nothing.
	b.feed(wire.SetLinkInfo{PeerCallID: 0x8001, SendACCM: 0xffffffff, ReceiveACCM: 0xffffffff})
	b.feed(wire.SetLinkInfo{PeerCallID: 0x8001})
	b.feed(wire.WANErrorNotify{PeerCallID: 0x8001, CRCErrors: 1})
	b.sends()
	b.feed(wire.EchoRequest{Identifier: 77})
	b.sends(wire.EchoReply{Identifier: 77, Result: wire.ResultOK})
	b.events()

	b.feed(wire.CallClearRequest{CallID: 0})
	b.sends(wire.CallDisconnectNotify{CallID: 0x8001, Result: wire.DisconnectRequest})
	b.events("closed 0x8001 USER_REQUEST")
	b.in(established)

	b.feed(wire.StopControlConnectionRequest{Reason: wire.StopReasonNone})
	b.sends(wire.StopControlConnectionReply{Result: wire.ResultOK})
	b.in(closed)
	b.events()
	b.m.Lost(b.now, "later")
	b.feed(startRequest)
	b.after(time.Hour)
	b.sends()
	b.events()
}

// TestAnySegmentation feeds the same stream in portions of every size and wants the same replies.
func TestAnySegmentation(t *testing.T) {
	stream := octets(t,
		startRequest, callRequest(1), wire.SetLinkInfo{PeerCallID: 0x8001}, callRequest(2), wire.EchoRequest{Identifier: 1},
		wire.IncomingCallRequest{CallID: 3}, wire.CallClearRequest{CallID: 1}, wire.StopControlConnectionRequest{Reason: 1},
		startRequest, // after the end: ignored
	)
	var want []wire.Message
	for size := len(stream); size > 0; size-- {
		b := newBench(t, named)
		for part := range slices.Chunk(stream, size) {
			b.m.Feed(b.now, part)
		}
		got := b.out()
		if want == nil {
			want = got
			if len(want) != 7 {
				t.Fatalf("%d replies", len(want))
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("in portions of %d: %v", size, got)
		}
		b.events("connected", "refused PROTOCOL_ERROR", "closed 0x8001 USER_REQUEST", "closed 0x8002 USER_REQUEST")
	}
}

func TestGarbageCloses(t *testing.T) {
	good := octets(t, startRequest)
	edit := func(at int, to ...byte) []byte {
		b := slices.Clone(good)
		copy(b[at:], to)
		return b
	}
	for _, c := range []struct {
		name string
		b    []byte
	}{
		{"HTTP", []byte("GET / HTTP/1.0\r\n\r\n")},
		{"length 0", edit(0, 0, 0)},
		{"length 15", edit(0, 0, 15)},
		{"length 221", edit(0, 0, 221)},
		{"length of another message", edit(0, 0, 16)},
		{"message type 2", edit(2, 0, 2)},
		{"wrong cookie", edit(4, 0x1a, 0x2b, 0x3c, 0x4e)},
		{"control type 0", edit(8, 0, 0)},
		{"control type 16", edit(8, 0, 16)},
	} {
		b := newBench(t, Config{})
		b.m.Feed(b.now, c.b)
		b.in(closed)
		b.sends()
		b.events("refused PROTOCOL_ERROR")

		b = newBench(t, Config{})
		b.start()
		b.call(1)
		b.events("connected")
		b.m.Feed(b.now, c.b)
		b.in(closed)
		b.sends()
		b.events("closed 0x8001 LOST_CARRIER")
	}
}

func TestVersions(t *testing.T) {
	b := newBench(t, named)
	b.feed(wire.StartControlConnectionRequest{Version: 0x00ff})
	b.sends(startReply(wire.StartResultVersion))
	b.in(closed)
	b.events("refused PROTOCOL_ERROR")

	b = newBench(t, named)
	b.feed(wire.StartControlConnectionRequest{Version: 0x0200})
	b.sends(startReply(wire.ResultOK)) // with our version: the peer may go on in it
	b.in(established)
}

func TestSecondStart(t *testing.T) {
	b := newBench(t, named)
	b.start()
	b.call(1)
	b.feed(startRequest)
	b.sends(startReply(wire.StartResultExists))
	b.in(established)
	b.events("connected")
}

// TestBeforeTheStart sends each message first.
func TestBeforeTheStart(t *testing.T) {
	for _, c := range []struct {
		msg   wire.Message
		reply []wire.Message
		event string
	}{
		{wire.StartControlConnectionReply{Version: wire.Version, Result: 1}, nil, "refused PROTOCOL_ERROR"},
		{wire.StopControlConnectionRequest{Reason: 1}, []wire.Message{wire.StopControlConnectionReply{Result: 1}}, "refused PEER_TIMEOUT"},
		{wire.StopControlConnectionReply{Result: 1}, nil, "refused PROTOCOL_ERROR"},
		{wire.EchoRequest{}, nil, "refused PROTOCOL_ERROR"},
		{wire.EchoReply{}, nil, "refused PROTOCOL_ERROR"},
		{callRequest(4), []wire.Message{wire.OutgoingCallReply{PeerCallID: 4, Result: 2, Error: 1}}, "refused PROTOCOL_ERROR"},
		{wire.OutgoingCallReply{}, nil, "refused PROTOCOL_ERROR"},
		{wire.IncomingCallRequest{CallID: 4}, []wire.Message{wire.IncomingCallReply{PeerCallID: 4, Result: 2, Error: 1}}, "refused PROTOCOL_ERROR"},
		{wire.IncomingCallReply{}, nil, "refused PROTOCOL_ERROR"},
		{wire.IncomingCallConnected{}, nil, "refused PROTOCOL_ERROR"},
		{wire.CallClearRequest{}, nil, "refused PROTOCOL_ERROR"},
		{wire.CallDisconnectNotify{}, nil, "refused PROTOCOL_ERROR"},
		{wire.WANErrorNotify{}, nil, "refused PROTOCOL_ERROR"},
		{wire.SetLinkInfo{}, nil, "refused PROTOCOL_ERROR"},
	} {
		b := newBench(t, Config{})
		b.feed(c.msg)
		b.sends(c.reply...)
		b.in(closed)
		b.events(c.event)
		if len(b.calls) != 0 {
			t.Errorf("%s: the Handler was asked", c.msg.Type())
		}
	}
}

func TestStrayMessagesAreIgnored(t *testing.T) {
	b := newBench(t, Config{})
	b.start()
	b.call(1)
	b.events("connected")
	b.feed(
		wire.StartControlConnectionReply{Version: wire.Version, Result: 1}, wire.StopControlConnectionReply{Result: 1},
		wire.EchoReply{Identifier: 99}, wire.OutgoingCallReply{PeerCallID: 1}, wire.IncomingCallReply{PeerCallID: 1},
		wire.IncomingCallConnected{PeerCallID: 1}, wire.SetLinkInfo{PeerCallID: 0xdead}, wire.CallDisconnectNotify{CallID: 0xdead},
	)
	b.sends()
	b.events()
	b.in(established)
}

func TestIncomingCallIsRefused(t *testing.T) {
	b := newBench(t, Config{})
	b.start()
	b.feed(wire.IncomingCallRequest{CallID: 9})
	b.sends(wire.IncomingCallReply{PeerCallID: 9, Result: wire.IncomingResultDoNotAccept})
	b.in(established)
	b.events("refused PROTOCOL_ERROR")
	b.call(9)
	b.events("connected")
}

func TestSeveralCalls(t *testing.T) {
	b := newBench(t, Config{})
	b.start()
	b.call(1)
	second := b.call(2)
	b.call(3)
	b.events("connected")

	b.feed(callRequest(2)) // the client's own ID twice
	b.sends(wire.OutgoingCallReply{PeerCallID: 2, Result: wire.ResultGeneralError, Error: wire.ErrorBadCallID})
	b.events("refused PROTOCOL_ERROR")

	b.feed(wire.CallClearRequest{CallID: 1})
	b.sends(wire.CallDisconnectNotify{CallID: 0x8001, Result: wire.DisconnectRequest})
	b.events("closed 0x8001 USER_REQUEST")

	second.Disconnect(tenant.ReasonIdleTimeout)
	second.Disconnect(tenant.ReasonIdleTimeout)
	b.runs()
	b.sends(wire.CallDisconnectNotify{CallID: 0x8002, Result: wire.DisconnectAdminShutdown})
	b.events()

	b.feed(callRequest(1)) // free again
	b.sends(wire.OutgoingCallReply{CallID: 0x8004, PeerCallID: 1, Result: 1, ConnectSpeed: 9600, ReceiveWindow: 16384})
	b.events()

	b.m.Lost(b.now, "gone")
	slices.Sort(b.log)
	b.events("closed 0x8003 LOST_CARRIER", "closed 0x8004 LOST_CARRIER")
}

func TestClear(t *testing.T) {
	b := newBench(t, Config{})
	b.start()
	b.call(1)
	b.feed(wire.CallClearRequest{CallID: 0x7777})
	b.sends(wire.CallDisconnectNotify{CallID: 0x7777, Result: wire.ResultGeneralError, Error: wire.ErrorBadCallID})
	b.feed(wire.CallClearRequest{CallID: 0x8001}) // ours, as some clients have it
	b.sends(wire.CallDisconnectNotify{CallID: 0x8001, Result: wire.DisconnectRequest})
	b.events("connected", "closed 0x8001 USER_REQUEST")
	b.call(5)
	b.feed(wire.CallDisconnectNotify{CallID: 5}) // a client that says the server's words, Windows' result 0
	b.sends()
	b.events("closed 0x8002 USER_REQUEST")
}

func TestDisconnectResults(t *testing.T) {
	for _, c := range []struct {
		cause tenant.Reason
		want  uint8
	}{
		{tenant.ReasonLostCarrier, 1},
		{tenant.ReasonProtocolError, 2},
		{tenant.ReasonAdminDisconnect, 3},
		{tenant.ReasonReplaced, 3},
		{tenant.ReasonWrongCredentials, 3},
		{tenant.ReasonUserRequest, 4},
	} {
		if got := disconnectResult(c.cause); got != c.want {
			t.Errorf("%s: result %d, want %d", c.cause, got, c.want)
		}
	}
}

// TestDisconnectRaces has Disconnect meet every other end of a call: nothing is told twice, nothing is sent twice.
func TestDisconnectRaces(t *testing.T) {
	t.Run("before the answer", func(t *testing.T) {
		b := newBench(t, Config{})
		b.start()
		b.answer = func(c *call) Answer {
			c.Disconnect(tenant.ReasonReplaced)
			return Answer{CallID: 0x8001, Result: wire.ResultConnected}
		}
		b.feed(callRequest(1))
		b.runs()
		b.sends(
			wire.OutgoingCallReply{CallID: 0x8001, PeerCallID: 1, Result: 1, ConnectSpeed: 9600, ReceiveWindow: 16384},
			wire.CallDisconnectNotify{CallID: 0x8001, Result: wire.DisconnectAdminShutdown},
		)
		b.events("connected")
	})
	t.Run("of a refused call", func(t *testing.T) {
		b := newBench(t, Config{})
		b.start()
		b.answer = func(*call) Answer { return Answer{Result: wire.ResultBusy} }
		c := b.call(1)
		c.Disconnect(tenant.ReasonReplaced)
		b.runs()
		b.sends()
		b.events()
	})
	t.Run("crossing Call-Clear-Request", func(t *testing.T) {
		b := newBench(t, Config{})
		b.start()
		c := b.call(1)
		c.Disconnect(tenant.ReasonReplaced)
		b.feed(wire.CallClearRequest{CallID: 1})
		b.runs()
		b.sends(wire.CallDisconnectNotify{CallID: 0x8001, Result: wire.DisconnectRequest})
		b.events("connected")
	})
	t.Run("after the connection", func(t *testing.T) {
		b := newBench(t, Config{})
		b.start()
		c := b.call(1)
		b.m.Lost(b.now, "gone")
		c.Disconnect(tenant.ReasonReplaced)
		b.runs()
		b.sends()
		b.events("connected", "closed 0x8001 LOST_CARRIER")
	})
}

func TestRefusals(t *testing.T) {
	b := newBench(t, Config{})
	b.start()
	b.answer = func(*call) Answer { return Answer{Result: wire.ResultBusy, CallID: 0x8001} }
	b.feed(callRequest(1))
	b.sends(wire.OutgoingCallReply{PeerCallID: 1, Result: wire.ResultBusy})
	b.answer = func(*call) Answer { return Answer{} }
	b.feed(callRequest(1))
	b.sends(wire.OutgoingCallReply{PeerCallID: 1, Result: wire.ResultGeneralError, Error: wire.ErrorPACError})
	b.events() // the Handler knows of its own refusals
	for range maxRefusals - 3 {
		b.feed(callRequest(1))
	}
	b.in(established)
	b.out()
	b.feed(callRequest(1))
	b.sends(
		wire.OutgoingCallReply{PeerCallID: 1, Result: wire.ResultGeneralError, Error: wire.ErrorPACError},
		wire.StopControlConnectionRequest{Reason: wire.StopReasonNone},
	)
	b.in(waitStopReply)
	b.feed(callRequest(1))
	b.sends()
	b.events()
}

func TestSetupTimeout(t *testing.T) {
	b := newBench(t, Config{})
	b.due(DefaultSetupTimeout)
	b.after(DefaultSetupTimeout - 1)
	b.in(idle)
	b.after(1)
	b.in(closed)
	b.events("refused PEER_TIMEOUT") // a slow loris is worth a line even if it says nothing
}

// TestSlowLoris sends the start octet by octet; that doesn't buy it time.
func TestSlowLoris(t *testing.T) {
	b := newBench(t, Config{})
	for _, o := range octets(t, startRequest) {
		b.m.Feed(b.now, []byte{o})
		b.after(time.Second)
	}
	b.in(closed)
	b.events("refused PEER_TIMEOUT")

	b = newBench(t, Config{})
	b.start()
	b.call(1)
	echo := octets(t, wire.EchoRequest{})
	b.m.Feed(b.now, echo[:1])
	b.due(10 * time.Second)
	b.after(9 * time.Second)
	b.m.Feed(b.now, echo[1:2])
	b.due(time.Second)
	b.after(time.Second)
	b.in(closed)
	b.events("connected", "closed 0x8001 LOST_CARRIER")
}

// TestPartialMessageAfterAWhole starts the message's clock with its own first octet.
func TestPartialMessageAfterAWhole(t *testing.T) {
	b := newBench(t, Config{})
	b.start()
	b.call(1)
	echo := octets(t, wire.EchoRequest{})
	b.m.Feed(b.now, echo[:4])
	b.after(8 * time.Second)
	b.m.Feed(b.now, append(slices.Clone(echo[4:]), echo[:4]...))
	b.due(10 * time.Second)
	b.after(8 * time.Second)
	b.m.Feed(b.now, echo[4:])
	b.due(60 * time.Second)
}

func TestCallTimeout(t *testing.T) {
	b := newBench(t, Config{})
	b.start()
	b.after(50 * time.Second)
	b.feed(wire.EchoRequest{}) // talking is not enough
	b.out()
	b.due(10 * time.Second)
	b.after(10 * time.Second)
	b.sends(wire.StopControlConnectionRequest{Reason: wire.StopReasonNone})
	b.events("refused PEER_TIMEOUT")
	b.in(waitStopReply)
	b.due(5 * time.Second)
	b.after(5 * time.Second)
	b.in(closed)
	b.sends()
	b.events()
}

func TestLinger(t *testing.T) {
	b := newBench(t, Config{})
	b.start()
	b.call(1)
	b.feed(wire.CallClearRequest{CallID: 1})
	b.out()
	b.due(2 * time.Second)
	b.after(time.Second)
	c := b.call(2) // another call in time
	b.due(60 * time.Second)
	c.Disconnect(tenant.ReasonAdminDisconnect)
	b.runs()
	b.sends(wire.CallDisconnectNotify{CallID: 0x8002, Result: wire.DisconnectAdminShutdown})
	b.after(2 * time.Second)
	b.sends(wire.StopControlConnectionRequest{Reason: wire.StopReasonNone})
	b.feed(wire.StopControlConnectionReply{Result: wire.ResultOK})
	b.in(closed)
	b.sends()
	b.events("connected", "closed 0x8001 USER_REQUEST")
}

func TestEcho(t *testing.T) {
	b := newBench(t, Config{EchoInterval: 7 * time.Second, EchoTimeout: 3 * time.Second})
	b.start()
	b.call(1)
	b.events("connected")
	b.due(7 * time.Second)
	b.after(7 * time.Second)
	b.sends(wire.EchoRequest{Identifier: 1})
	b.due(3 * time.Second)
	b.after(2 * time.Second)
	b.feed(wire.EchoReply{Identifier: 1, Result: wire.ResultOK})
	b.due(7 * time.Second)
	b.after(6 * time.Second)
	b.feed(wire.SetLinkInfo{}) // any message is a sign of life
	b.due(7 * time.Second)
	b.after(7 * time.Second)
	b.sends(wire.EchoRequest{Identifier: 2})
	b.after(3*time.Second - 1)
	b.in(established)
	b.after(1)
	b.in(closed)
	b.sends()
	b.events("closed 0x8001 LOST_CARRIER")
}

func TestShutdown(t *testing.T) {
	stop := command{cause: tenant.ReasonShutdown}
	b := newBench(t, Config{})
	b.m.Run(b.now, stop)
	b.in(closed)
	b.sends()
	b.events("refused DRAINING")

	b = newBench(t, Config{})
	b.start()
	b.call(1)
	b.m.Run(b.now, stop)
	b.m.Run(b.now, stop)
	b.sends(wire.StopControlConnectionRequest{Reason: wire.StopReasonLocalShutdown})
	b.events("connected", "closed 0x8001 SHUTDOWN")
	b.in(waitStopReply)
	b.feed(wire.CallClearRequest{CallID: 1}, callRequest(2), wire.EchoRequest{Identifier: 3}) // they crossed
	b.sends(wire.EchoReply{Identifier: 3, Result: wire.ResultOK})
	b.feed(wire.StopControlConnectionReply{Result: wire.ResultOK})
	b.in(closed)
	b.events()
}

// TestStopsCross: both ends stop at once.
func TestStopsCross(t *testing.T) {
	b := newBench(t, Config{})
	b.start()
	b.call(1)
	b.m.Run(b.now, command{cause: tenant.ReasonShutdown})
	b.out()
	b.feed(wire.StopControlConnectionRequest{Reason: 1})
	b.sends(wire.StopControlConnectionReply{Result: wire.ResultOK})
	b.in(closed)
	b.events("connected", "closed 0x8001 SHUTDOWN")
}

func TestLostHalfOpen(t *testing.T) {
	b := newBench(t, Config{})
	b.m.Lost(b.now, "EOF")
	b.in(closed)
	b.events() // a health check

	b = newBench(t, Config{})
	b.m.Feed(b.now, []byte{0})
	b.m.Lost(b.now, "EOF")
	b.events("refused PEER_TIMEOUT")

	b = newBench(t, Config{})
	b.start()
	b.m.Lost(b.now, "EOF")
	b.in(closed)
	b.events("refused PEER_TIMEOUT")
}

func TestMessageBudget(t *testing.T) {
	b := newBench(t, Config{})
	b.start()
	b.call(1)
	for range messageBurst - 2 {
		b.feed(wire.EchoRequest{})
	}
	b.in(established)
	b.now = b.now.Add(time.Second)
	for range messageRate {
		b.feed(wire.EchoRequest{})
	}
	b.in(established)
	b.feed(wire.EchoRequest{})
	b.in(closed)
	b.events("connected", "closed 0x8001 LOST_CARRIER")

	b = newBench(t, Config{})
	b.start()
	b.now = b.now.Add(10000 * time.Hour)
	b.feed(wire.EchoRequest{})
	if b.m.budget != messageBurst-1 {
		t.Errorf("budget %d after a long rest", b.m.budget)
	}
}

// TestOutputIsBounded: what one read can make the machine send.
func TestOutputIsBounded(t *testing.T) {
	clears := octets(t, wire.CallClearRequest{CallID: 9})
	b := newBench(t, Config{})
	b.start()
	b.m.Feed(b.now, []byte(strings.Repeat(string(clears), readSize/len(clears))))
	if n := len(b.m.out); n > 10*readSize {
		t.Errorf("%d octets of output for %d of input", n, readSize)
	}
}

// FuzzMachineEvents drives a machine with random legal messages, times, disconnects and stops. Whatever happens: each
// connected call is closed exactly once unless it was disconnected, a closed machine is silent, an open one has a deadline.
func FuzzMachineEvents(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte{0, 6, 16, 17, 5, 18, 7, 2})
	f.Add([]byte{0, 6, 6, 19, 20, 20, 11, 12, 3})
	f.Add([]byte{0, 6, 18, 18, 18, 21, 2})
	msgs := []wire.Message{
		startRequest,
		wire.StartControlConnectionReply{},
		wire.StopControlConnectionRequest{},
		wire.StopControlConnectionReply{},
		wire.EchoRequest{},
		wire.EchoReply{},
		callRequest(1), callRequest(2),
		wire.OutgoingCallReply{},
		wire.IncomingCallRequest{},
		wire.IncomingCallReply{},
		wire.CallClearRequest{CallID: 1},
		wire.CallClearRequest{CallID: 2},
		wire.CallDisconnectNotify{CallID: 1},
		wire.WANErrorNotify{},
		wire.SetLinkInfo{},
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		b := newBench(t, Config{})
		for _, s := range script[:min(len(script), 400)] {
			op := int(s) % (len(msgs) + 6)
			switch op - len(msgs) {
			case 0:
				b.after(time.Second)
			case 1:
				b.after(time.Minute)
			case 2:
				if len(b.calls) > 0 {
					b.calls[int(s)%len(b.calls)].Disconnect(tenant.ReasonAdminDisconnect)
				}
			case 3:
				b.runs()
			case 4:
				b.m.Feed(b.now, octets(t, wire.EchoRequest{})[:9])
			case 5:
				b.m.Run(b.now, command{cause: tenant.ReasonShutdown})
			default:
				b.feed(msgs[op])
			}
			d, open := b.m.Deadline()
			if open != (b.m.state != closed) || open && d.IsZero() {
				t.Fatalf("state %s: deadline %v, %v", b.m.state, d, open)
			}
			if len(b.m.calls) != len(b.m.byPeer) || b.m.state != established && len(b.m.calls) > 0 {
				t.Fatalf("state %s: %d calls, %d by peer", b.m.state, len(b.m.calls), len(b.m.byPeer))
			}
			b.out()
		}
		b.m.Lost(b.now, "the end")
		b.runs()
		b.sends()
		told := map[string]int{}
		for _, l := range b.log {
			if id, ok := strings.CutPrefix(l, "closed "); ok {
				told[strings.Fields(id)[0]]++
			}
		}
		for _, c := range b.calls {
			if !c.ended.Load() {
				t.Errorf("call %#x was never ended", c.id)
			}
			if n := told[fmt.Sprintf("%#x", c.id)]; n > 1 {
				t.Errorf("call %#x closed %d times", c.id, n)
			}
		}
	})
}
