package l2tp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	lac "concentrator/internal/simclient/l2tp"
	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/l2tp"
)

// raw is a peer whose messages a test writes itself, on an established tunnel.
type raw struct {
	*peer
	ns uint16
}

func request(id uint16) *wire.SCCRQ {
	return &wire.SCCRQ{ProtocolVersion: wire.Version, FramingCapabilities: 3, HostName: "pc", AssignedTunnelID: id}
}

// established opens a tunnel with our ID 16 and acknowledges what we send on it from then on.
func (w *world) established(p *peer) *raw {
	w.t.Helper()
	r := &raw{peer: p, ns: 1}
	p.mu.Lock()
	p.toward = func(port uint16, b []byte) {
		if h, body, err := wire.ParseHeader(b); err == nil && len(body) > 0 {
			w.receive(p, port, wire.AppendZLB(nil, wire.Header{TunnelID: 16, Nr: h.Ns + 1}))
		}
	}
	p.mu.Unlock()
	p.inject(1701, wire.Header{}, request(1))
	synctest.Wait()
	time.Sleep(100 * time.Millisecond)
	r.say(0, &wire.SCCCN{})
	w.events()
	p.sent()
	return r
}

// say sends the next message and lets the answers come.
func (r *raw) say(session uint16, m wire.Message, extra ...wire.AVP) {
	r.inject(1701, wire.Header{TunnelID: 16, SessionID: session, Ns: r.ns}, m, extra...)
	r.ns++
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
}

// body sends the next message with this body.
func (r *raw) body(session uint16, b []byte) {
	h := wire.Header{TunnelID: 16, SessionID: session, Ns: r.ns, Control: true, HasLength: true, HasSequence: true}
	h.Length = uint16(h.Len() + len(b))
	msg, _ := h.AppendBinary(nil)
	r.w.receive(r.peer, 1701, append(msg, b...))
	r.ns++
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
}

// sends compares what the server has sent.
func (p *peer) sends(want ...wire.Message) {
	p.w.t.Helper()
	got := p.sent()
	if len(got) != len(want) {
		p.w.t.Errorf("sent %v, want %v", types(got), types(want))
		return
	}
	for i := range got {
		if a, b := fmt.Sprintf("%s %+v", got[i].Type(), got[i]), fmt.Sprintf("%s %+v", want[i].Type(), want[i]); a != b {
			p.w.t.Errorf("sent %s, want %s", a, b)
		}
	}
}

func bubble(t *testing.T, cfg Config, f func(w *world, p *peer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cfg)
		f(w, w.newPeer("203.0.113.1:4500"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_ = w.server.Shutdown(ctx) // a raw peer may owe acknowledgements
		w.clean()
	})
}

func TestReply(t *testing.T) {
	bubble(t, Config{Vendor: "vendor", HostName: "gw", FirmwareRevision: 0x0102}, func(w *world, p *peer) {
		p.inject(1701, wire.Header{}, request(1))
		synctest.Wait()
		p.sends(&wire.SCCRP{
			ProtocolVersion: wire.Version, FramingCapabilities: wire.FramingEither, FirmwareRevision: wire.Some[uint16](0x0102),
			HostName: "gw", VendorName: "vendor", AssignedTunnelID: 16, ReceiveWindowSize: wire.Some[uint16](receiveWindow),
		})
	})
}

// TestRefusedRequests: what the StopCCN for an SCCRQ says, and that nothing stays.
func TestRefusedRequests(t *testing.T) {
	old := request(1)
	old.ProtocolVersion = 0x0200
	refused := TunnelAnswer{Result: wire.StopResultGeneralError, ErrorCode: wire.ErrorNoResource, Message: "full"}
	for _, c := range []struct {
		name    string
		answer  TunnelAnswer
		request *wire.SCCRQ
		extra   []wire.AVP
		id      uint16
		want    wire.Result
		events  []string
	}{
		{
			"version",
			TunnelAnswer{},
			old, nil, 16,
			wire.Result{Code: wire.StopResultVersion, Error: wire.Version},
			[]string{"refused L2TP_TUNNEL PROTOCOL_ERROR"},
		},
		{
			"the Handler", refused, request(1), nil, 16,
			wire.Result{Code: wire.StopResultGeneralError, Error: wire.ErrorNoResource, Message: "full"},
			[]string{"tunnel 1: 2"},
		},
		{
			"an unknown AVP with the M bit",
			TunnelAnswer{},
			request(1),
			[]wire.AVP{{Mandatory: true, Attribute: 99}},
			1,
			wire.Result{Code: wire.StopResultGeneralError, Error: wire.ErrorUnknownMandatory},
			[]string{"refused L2TP_TUNNEL PROTOCOL_ERROR"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{}, func(w *world, p *peer) {
				w.answer = func(TunnelRequest) TunnelAnswer { return c.answer }
				p.inject(1701, wire.Header{}, c.request, c.extra...)
				synctest.Wait()
				stop := &wire.StopCCN{AssignedTunnelID: c.id, Result: c.want}
				p.sends(stop)
				w.expect(c.events...)
				// The client did not get it and asks again: the same answer, and no second refusal of the Handler's.
				p.inject(1701, wire.Header{}, c.request, c.extra...)
				synctest.Wait()
				p.sends(stop)
				if c.id == 16 {
					w.expect()
					p.inject(1701, wire.Header{TunnelID: 16, Ns: 1, Nr: 1}, nil)
					synctest.Wait()
					w.clean()
				}
			})
		})
	}
}

func TestNoTunnelID(t *testing.T) {
	bubble(t, Config{}, func(w *world, p *peer) {
		w.idsGone = true
		p.inject(1701, wire.Header{}, request(1))
		synctest.Wait()
		p.sends(&wire.StopCCN{Result: wire.Result{Code: wire.StopResultGeneralError, Error: wire.ErrorNoResource}})
		w.expect("refused L2TP_TUNNEL INSTANCE_LIMIT")
	})
}

// TestStrays: nothing of this is answered, and all is counted.
func TestStrays(t *testing.T) {
	bubble(t, Config{}, func(w *world, p *peer) {
		w.established(p)
		other := w.newPeer("203.0.113.2:4500")
		other.inject(1701, wire.Header{TunnelID: 16, Ns: 2}, &wire.HELLO{})
		p.inject(1701, wire.Header{TunnelID: 17, Ns: 2}, &wire.HELLO{})
		p.inject(1701, wire.Header{TunnelID: 17, Ns: 2}, &wire.StopCCN{AssignedTunnelID: 5})
		p.inject(1701, wire.Header{TunnelID: 17, SessionID: 4}, &wire.CDN{AssignedSessionID: 5})
		p.inject(1701, wire.Header{}, &wire.StopCCN{AssignedTunnelID: 5})
		if st := w.server.Stats(); st.Unknown != 5 {
			t.Errorf("%+v", st)
		}
		p.inject(1701, wire.Header{}, &wire.HELLO{})
		p.inject(1701, wire.Header{}, nil)
		p.inject(1701, wire.Header{Ns: 1}, request(9))
		w.receive(p, 1701, []byte("garbage"))
		w.receive(p, 1701, nil)
		w.receive(p, 1701, []byte{0, 2, 0, 16, 0, 1, 0xff, 3})
		w.receive(p, 1701, wire.Append(nil, wire.Header{}, request(9), nil,
			slices.Repeat([]wire.AVP{{Attribute: 99, Value: make([]byte, 1000)}}, 5)...))
		synctest.Wait()
		if st := w.server.Stats(); st.Malformed != 7 || st.Open != 1 {
			t.Errorf("%+v", st)
		}
		p.sends()
		other.sends()
		w.expect()
	})
}

// TestCallMessages: what we answer on an established tunnel, message by message.
func TestCallMessages(t *testing.T) {
	bubble(t, Config{}, func(w *world, p *peer) {
		r := w.established(p)
		r.say(0, &wire.ICRQ{AssignedSessionID: 5, CallSerialNumber: 9, CalledNumber: "1\x00\xff" + strings.Repeat("2", 900)})
		r.sends(&wire.ICRP{AssignedSessionID: 0x101})
		if got := w.requests[0]; got.CalledNumber[:3] != "1??" || len(got.CalledNumber) != maxText || got.SerialNumber != 9 {
			t.Errorf("%+v", got)
		}
		r.say(0x101, &wire.ICCN{
			TxConnectSpeed: 1, FramingType: 2, RxConnectSpeed: wire.Some[uint32](3), SequencingRequired: true,
			InitialReceivedLCP: []byte{1}, LastSentLCP: []byte{2}, LastReceivedLCP: []byte{3},
			ProxyAuthenType: wire.Some(wire.ProxyAuthenCHAP), ProxyAuthenName: []byte("u"), ProxyAuthenChallenge: []byte("c"),
			ProxyAuthenID: wire.Some[uint16](0xff04), ProxyAuthenResponse: []byte("r"), PrivateGroupID: []byte("g"),
		})
		w.expect("call 5: 0", "connected 0x101")
		got := fmt.Sprintf("%+v", w.connects[0x101])
		if want := "{TxSpeed:1 RxSpeed:3 FramingType:2 SequencingRequired:true PrivateGroupID:g InitialReceivedLCP:[1] " +
			"LastSentLCP:[2] LastReceivedLCP:[3] ProxyAuthentication:{Type:0 Name: Challenge:[] ID:0 Response:[]}}"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		// What changes nothing.
		r.say(0, &wire.HELLO{})
		r.say(0x101, &wire.WEN{})
		r.say(0x101, &wire.SLI{})
		r.say(0x999, &wire.ICCN{})
		r.say(0x999, &wire.ICRP{AssignedSessionID: 1})
		r.say(0x999, &wire.CDN{AssignedSessionID: 77})
		r.body(0, []byte{0, 8, 0, 0, 0, 0, 0, 99}) // an unknown message without the M bit
		r.sends()
		w.expect()
		// A call that is gone by the AVP, since the header has no session yet.
		r.say(0, &wire.ICRQ{AssignedSessionID: 6})
		r.say(0, &wire.CDN{AssignedSessionID: 6, Result: wire.Result{Code: wire.CallResultLostCarrier}})
		r.sends(&wire.ICRP{AssignedSessionID: 0x102})
		w.expect("call 6: 0", "closed 0x102 LOST_CARRIER")
		// Outgoing calls are refused.
		r.say(0, &wire.OCRQ{AssignedSessionID: 7})
		r.sends(&wire.CDN{Result: wire.Result{Code: wire.CallResultPermanent}})
		w.expect("refused CALL PROTOCOL_ERROR")
		// Ours to end.
		w.call(0x101).Disconnect(tenant.ReasonAdminDisconnect)
		w.call(0x101).Disconnect(tenant.ReasonAdminDisconnect)
		time.Sleep(100 * time.Millisecond)
		r.sends(&wire.CDN{Result: wire.Result{Code: wire.CallResultAdministrative}, AssignedSessionID: 0x101})
		w.expect()
	})
}

// TestBadCallMessages: a message about a call that can't be, or can't be read, ends the call and not the tunnel.
func TestBadCallMessages(t *testing.T) {
	unknown := wire.AVP{Mandatory: true, Attribute: 99}
	general := func(code uint16) wire.Result {
		return wire.Result{Code: wire.CallResultGeneralError, Error: code}
	}
	for _, c := range []struct {
		name      string
		connected bool
		say       func(r *raw)
		want      wire.Result
	}{
		{"a second ICRQ for it", false, func(r *raw) { r.say(0, &wire.ICRQ{AssignedSessionID: 5}) }, general(wire.ErrorSessionID)},
		{"a second ICCN", true, func(r *raw) { r.say(0x101, &wire.ICCN{}) }, general(wire.ErrorSessionID)},
		{"an ICRP", true, func(r *raw) { r.say(0x101, &wire.ICRP{AssignedSessionID: 1}) }, general(wire.ErrorSessionID)},
		{"an OCRP", false, func(r *raw) { r.say(0x101, &wire.OCRP{AssignedSessionID: 1}) }, general(wire.ErrorSessionID)},
		{"an unknown AVP in the ICCN", false, func(r *raw) { r.say(0x101, &wire.ICCN{}, unknown) }, general(wire.ErrorUnknownMandatory)},
		{"an ICCN with nothing in it", false, func(r *raw) { r.body(0x101, []byte{0x80, 8, 0, 0, 0, 0, 0, 12}) }, general(wire.ErrorVendor)},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{}, func(w *world, p *peer) {
				r := w.established(p)
				r.say(0, &wire.ICRQ{AssignedSessionID: 5})
				if c.connected {
					r.say(0x101, &wire.ICCN{})
				}
				w.events()
				r.sent()
				c.say(r)
				r.sends(&wire.CDN{Result: c.want, AssignedSessionID: 0x101})
				if c.connected {
					w.expect("closed 0x101 LOST_CARRIER")
				} else {
					w.expect("closed 0x101 PROTOCOL_ERROR")
				}
				if st := w.server.Stats(); st.Open != 1 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
	t.Run("an ICRQ that can't be read", func(t *testing.T) {
		bubble(t, Config{}, func(w *world, p *peer) {
			r := w.established(p)
			r.say(0, &wire.ICRQ{AssignedSessionID: 5}, unknown)
			r.sends(&wire.CDN{Result: general(wire.ErrorUnknownMandatory)})
			w.expect("refused CALL PROTOCOL_ERROR")
		})
	})
}

// TestMessagesThatEndTheTunnel, with its calls.
func TestMessagesThatEndTheTunnel(t *testing.T) {
	general := func(code uint16) wire.Result {
		return wire.Result{Code: wire.StopResultGeneralError, Error: code}
	}
	state := wire.Result{Code: wire.StopResultStateMachine}
	for _, c := range []struct {
		name string
		say  func(r *raw)
		want wire.Result
	}{
		{"SCCRQ in the tunnel", func(r *raw) { r.say(0, request(1)) }, state},
		{"SCCRP", func(r *raw) {
			r.say(0, &wire.SCCRP{ProtocolVersion: wire.Version, FramingCapabilities: 3, HostName: "x", AssignedTunnelID: 1})
		}, state},
		{"a second SCCCN", func(r *raw) { r.say(0, &wire.SCCCN{}) }, state},
		{"an unknown message with the M bit", func(r *raw) { r.body(0, []byte{0x80, 8, 0, 0, 0, 0, 0, 99}) }, general(wire.ErrorUnknownMandatory)},
		{"no message type", func(r *raw) { r.body(0, []byte("garbage")) }, general(wire.ErrorLength)},
		{"a HELLO with an unknown AVP", func(r *raw) { r.say(0, &wire.HELLO{}, wire.AVP{Mandatory: true, Attribute: 99}) }, general(wire.ErrorUnknownMandatory)},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{}, func(w *world, p *peer) {
				r := w.established(p)
				r.say(0, &wire.ICRQ{AssignedSessionID: 5})
				w.events()
				r.sent()
				c.say(r)
				r.sends(&wire.StopCCN{AssignedTunnelID: 16, Result: c.want})
				w.expect("closed 0x101 LOST_CARRIER", "tunnel closed")
				w.clean()
			})
		})
	}
}

// TestLostAcknowledgement: a peer that says the same again has not got our acknowledgement, and gets a message that has it too
// and is repeated until it has come: one at a time, however often the peer says it.
func TestLostAcknowledgement(t *testing.T) {
	bubble(t, Config{}, func(w *world, p *peer) {
		r := w.established(p)
		again := func() {
			r.inject(1701, wire.Header{TunnelID: 16, Ns: r.ns - 1}, &wire.SCCCN{})
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		again()
		p.sends(&wire.HELLO{})
		p.set(func() { p.toward = func(uint16, []byte) {} }) // the line loses it
		for range 5 {
			again()
		}
		p.sends(&wire.HELLO{})
		time.Sleep(time.Second)
		p.sends(&wire.HELLO{})
		p.inject(1701, wire.Header{TunnelID: 16, Ns: r.ns, Nr: 3}, nil)
		time.Sleep(10 * time.Second)
		p.sends()
	})
}

// TestStoppedTunnelAcknowledges: the peer's StopCCN may come again for 31 seconds.
func TestStoppedTunnelAcknowledges(t *testing.T) {
	bubble(t, Config{}, func(w *world, p *peer) {
		r := w.established(p)
		acks := 0
		p.mu.Lock()
		p.toward = func(_ uint16, b []byte) {
			if h, body, _ := wire.ParseHeader(b); len(body) == 0 && h.Nr == 3 {
				p.set(func() { acks++ })
			}
		}
		p.mu.Unlock()
		stop := &wire.StopCCN{AssignedTunnelID: 1, Result: wire.Result{Code: wire.StopResultGeneralRequest}}
		r.say(0, stop)
		w.expect("refused CALL PEER_TIMEOUT", "tunnel closed")
		for range 3 {
			time.Sleep(9 * time.Second)
			r.inject(1701, wire.Header{TunnelID: 16, Ns: 2}, stop)
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if st := w.server.Stats(); acks != 2*4 || st.Closing != 1 {
			t.Errorf("%d acknowledgements, %+v", acks, st)
		}
		time.Sleep(5 * time.Second)
		w.clean()
	})
}

// TestStopWithoutOurID: the client gives up before it has our SCCRP.
func TestStopWithoutOurID(t *testing.T) {
	bubble(t, Config{}, func(w *world, p *peer) {
		p.inject(1701, wire.Header{}, request(1))
		synctest.Wait()
		p.inject(1701, wire.Header{Ns: 1}, &wire.StopCCN{AssignedTunnelID: 1, Result: wire.Result{Code: 1}})
		synctest.Wait()
		w.expect("tunnel 1: 0", "refused L2TP_TUNNEL PEER_TIMEOUT", "tunnel closed")
	})
}

func TestTimeouts(t *testing.T) {
	t.Run("no SCCCN", func(t *testing.T) {
		bubble(t, Config{}, func(w *world, p *peer) {
			p.inject(1701, wire.Header{}, request(1))
			time.Sleep(29 * time.Second)
			w.expect("tunnel 1: 0")
			time.Sleep(2 * time.Second)
			w.expect("refused L2TP_TUNNEL PEER_TIMEOUT", "tunnel closed")
			if got := types(p.sent()); !slices.Equal(got, []wire.Type{2, 2, 2, 2, 2, 2, 2}[:6]) && !slices.Contains(got, wire.TypeStopCCN) {
				t.Errorf("sent %v", got)
			}
		})
	})
	t.Run("no call", func(t *testing.T) {
		bubble(t, Config{HelloInterval: time.Hour}, func(w *world, p *peer) {
			r := w.established(p)
			time.Sleep(61 * time.Second)
			r.sends(&wire.StopCCN{AssignedTunnelID: 16, Result: wire.Result{Code: wire.StopResultGeneralRequest}})
			w.expect("refused CALL PEER_TIMEOUT", "tunnel closed")
			w.clean()
		})
	})
	t.Run("no ICCN, and no other call", func(t *testing.T) {
		bubble(t, Config{HelloInterval: time.Hour}, func(w *world, p *peer) {
			r := w.established(p)
			r.say(0, &wire.ICRQ{AssignedSessionID: 5})
			r.say(0, &wire.ICRQ{AssignedSessionID: 6})
			r.say(0x101, &wire.ICCN{})
			r.say(0x101, &wire.CDN{AssignedSessionID: 5, Result: wire.Result{Code: 3}})
			w.events()
			r.sent()
			time.Sleep(DefaultCallTimeout + time.Second)
			r.sends(&wire.CDN{Result: wire.Result{Code: wire.CallResultTimeout}, AssignedSessionID: 0x102})
			w.expect("closed 0x102 PEER_TIMEOUT")
			time.Sleep(58 * time.Second)
			r.sends()
			time.Sleep(3 * time.Second)
			r.sends(&wire.StopCCN{AssignedTunnelID: 16, Result: wire.Result{Code: wire.StopResultGeneralRequest}})
			w.expect("tunnel closed")
		})
	})
	t.Run("HELLO", func(t *testing.T) {
		bubble(t, Config{}, func(w *world, p *peer) {
			r := w.established(p)
			r.say(0, &wire.ICRQ{AssignedSessionID: 5})
			r.say(0x101, &wire.ICCN{})
			w.events()
			r.sent()
			time.Sleep(61 * time.Second)
			r.sends(&wire.HELLO{})
			p.set(func() { p.idle = 20 * time.Second }) // data comes in: no need to ask
			time.Sleep(3 * time.Minute)
			r.sends()
			p.set(func() { p.idle = time.Hour })
			time.Sleep(61 * time.Second)
			r.sends(&wire.HELLO{})
			p.set(func() { p.cut = true })
			time.Sleep(61*time.Second + fullCycle)
			w.expect("closed 0x101 LOST_CARRIER", "tunnel closed")
			w.clean()
		})
	})
}

// TestPlainPeer: an address that may be forged gets an answer for each message of its own and nothing more.
func TestPlainPeer(t *testing.T) {
	bubble(t, Config{MaxHalfOpenPerSource: 2, MaxTunnelsPerPeer: 10}, func(w *world, p *peer) {
		p.plain = true
		p.inject(1701, wire.Header{}, request(1))
		time.Sleep(20 * time.Second)
		if got := types(p.sent()); !slices.Equal(got, []wire.Type{wire.TypeSCCRP}) {
			t.Errorf("sent %v", got)
		}
		p.inject(1701, wire.Header{}, request(2))
		synctest.Wait()
		p.inject(1701, wire.Header{}, request(3))
		w.expect("tunnel 1: 0", "tunnel 2: 0", "refused L2TP_TUNNEL INSTANCE_LIMIT")
		// Established ones don't count.
		p.inject(1701, wire.Header{TunnelID: 16, Ns: 1, Nr: 1}, &wire.SCCCN{})
		synctest.Wait()
		p.inject(1701, wire.Header{}, request(3))
		synctest.Wait()
		w.expect("tunnel 3: 0")
		// The first has proven its address: what it does not acknowledge comes again.
		p.sent()
		p.inject(1701, wire.Header{TunnelID: 16, Ns: 2, Nr: 1}, &wire.ICRQ{AssignedSessionID: 5})
		time.Sleep(2 * time.Second)
		p.sends(&wire.ICRP{AssignedSessionID: 0x101}, &wire.ICRP{AssignedSessionID: 0x101})
	})
}

// TestForgedFlood: half-open tunnels of forged sources push each other out, and leave room for IPsec peers.
func TestForgedFlood(t *testing.T) {
	bubble(t, Config{MaxTunnels: 40}, func(w *world, p *peer) {
		for i := range 200 {
			q := w.newPeer(fmt.Sprintf("198.51.100.%d:1701", i))
			q.plain = true
			q.inject(1701, wire.Header{}, request(1))
			synctest.Wait()
			if len(w.server.forgery) > 10 || w.server.count > 10 {
				t.Fatalf("%d tunnels after %d", w.server.count, i)
			}
		}
		w.events()
		p.inject(1701, wire.Header{}, request(1))
		synctest.Wait()
		w.expect("tunnel 1: 0")
	})
}

func TestTunnelLimits(t *testing.T) {
	busy := wire.Result{Code: wire.StopResultGeneralError, Error: wire.ErrorNoResource}
	bubble(t, Config{MaxTunnels: 4, MaxTunnelsPerPeer: 3}, func(w *world, p *peer) {
		for id := range uint16(3) {
			_, call := w.open(p, 1701+id, lac.Xl2tpd("h", 1+id))
			w.call(call.PeerID()).Authenticated()
		}
		synctest.Wait()
		w.events()
		p.sent()
		p.inject(1704, wire.Header{}, request(9))
		synctest.Wait()
		p.sends(&wire.StopCCN{AssignedTunnelID: 9, Result: busy})
		w.expect("refused L2TP_TUNNEL INSTANCE_LIMIT")
		q := w.newPeer("203.0.113.2:4500")
		w.open(q, 1701, lac.Xl2tpd("h", 1))
		w.events()
		w.newPeer("203.0.113.3:4500").inject(1701, wire.Header{}, request(1))
		synctest.Wait()
		// Whoever has no login makes room, although the tunnel is established.
		if got := slices.Sorted(slices.Values(w.events())); !slices.Equal(got, []string{"closed 0x104 LOST_CARRIER", "tunnel 1: 0", "tunnel closed"}) {
			t.Errorf("events %q", got)
		}
		if st := w.server.Stats(); st.Pushed != 1 || st.Open != 4 {
			t.Errorf("%+v", st)
		}
	})
	t.Run("all have a login", func(t *testing.T) {
		bubble(t, Config{MaxTunnels: 2}, func(w *world, p *peer) {
			for id := range uint16(2) {
				_, call := w.open(p, 1701+id, lac.Xl2tpd("h", 1+id))
				w.call(call.PeerID()).Authenticated()
			}
			synctest.Wait()
			w.events()
			q := w.newPeer("203.0.113.2:4500")
			q.inject(1701, wire.Header{}, request(1))
			synctest.Wait()
			q.sends(&wire.StopCCN{AssignedTunnelID: 1, Result: busy})
			w.expect("refused L2TP_TUNNEL INSTANCE_LIMIT")
		})
	})
	t.Run("one without a login goes first", func(t *testing.T) {
		bubble(t, Config{MaxTunnelsPerPeer: 2}, func(w *world, p *peer) {
			_, call := w.open(p, 1, lac.Xl2tpd("h", 1))
			w.call(call.PeerID()).Authenticated()
			synctest.Wait()
			for id := range uint16(5) {
				time.Sleep(time.Second)
				w.open(p, 2+id, lac.Xl2tpd("h", 2+id))
			}
			if st := w.server.Stats(); st.Open != 2 || st.TurnedAway != 0 {
				t.Errorf("%+v", st)
			}
			if call.Err() != nil {
				t.Errorf("the call with a login is over: %v", call.Err())
			}
		})
	})
}

func TestCallLimits(t *testing.T) {
	bubble(t, Config{MaxCallsPerTunnel: 9}, func(w *world, p *peer) {
		w.answer = func(TunnelRequest) TunnelAnswer { return TunnelAnswer{MaxCalls: 2} }
		r := w.established(p)
		for id := range uint16(3) {
			r.say(0, &wire.ICRQ{AssignedSessionID: 5 + id})
		}
		r.sends(&wire.ICRP{AssignedSessionID: 0x101}, &wire.ICRP{AssignedSessionID: 0x102},
			&wire.CDN{Result: wire.Result{Code: wire.CallResultTemporary}})
		w.expect("call 5: 0", "call 6: 0", "refused CALL INSTANCE_LIMIT")
	})
	t.Run("busy", func(t *testing.T) {
		bubble(t, Config{}, func(w *world, p *peer) {
			w.onCall = func(Call, CallRequest) Answer { return Answer{Result: wire.CallResultTemporary, Message: "busy"} }
			r := w.established(p)
			r.say(0, &wire.ICRQ{AssignedSessionID: 5})
			r.sends(&wire.CDN{Result: wire.Result{Code: wire.CallResultTemporary, Message: "busy"}})
			w.expect("call 5: 4")
			for range maxRefusals - 1 {
				r.say(0, &wire.ICRQ{AssignedSessionID: 5})
			}
			if got := types(r.sent()); got[len(got)-1] != wire.TypeStopCCN {
				t.Errorf("sent %v", got)
			}
		})
	})
	t.Run("a Handler that gives no ID", func(t *testing.T) {
		bubble(t, Config{}, func(w *world, p *peer) {
			w.onCall = func(Call, CallRequest) Answer { return Answer{} }
			r := w.established(p)
			r.say(0, &wire.ICRQ{AssignedSessionID: 5})
			r.sends(&wire.CDN{Result: wire.Result{Code: wire.CallResultGeneralError, Error: wire.ErrorVendor}})
		})
	})
}

// TestDisconnectWithinIncomingCall: the Handler changes its mind before the ICRP is on its way.
func TestDisconnectWithinIncomingCall(t *testing.T) {
	bubble(t, Config{}, func(w *world, p *peer) {
		w.onCall = func(c Call, _ CallRequest) Answer {
			c.Authenticated()
			c.Disconnect(tenant.ReasonShutdown)
			return Answer{SessionID: 3}
		}
		r := w.established(p)
		r.say(0, &wire.ICRQ{AssignedSessionID: 5})
		r.sends(&wire.ICRP{AssignedSessionID: 3},
			&wire.CDN{Result: wire.Result{Code: wire.CallResultAdministrative}, AssignedSessionID: 3})
		r.say(3, &wire.ICCN{})
		w.expect("call 5: 0")
	})
}

// TestPortMoves: answers follow the port that the last new message came from.
func TestPortMoves(t *testing.T) {
	bubble(t, Config{}, func(w *world, p *peer) {
		r := w.established(p)
		var ports []uint16
		p.mu.Lock()
		p.toward = func(port uint16, _ []byte) {
			p.set(func() { ports = append(ports, port) })
		}
		p.mu.Unlock()
		r.inject(5000, wire.Header{TunnelID: 16, Ns: 0}, request(1)) // stale
		r.inject(5001, wire.Header{TunnelID: 16, Ns: 999}, &wire.HELLO{})
		time.Sleep(100 * time.Millisecond)
		w.expect()
		r.inject(5002, wire.Header{TunnelID: 16, Ns: 2, Nr: 1}, &wire.HELLO{})
		time.Sleep(100 * time.Millisecond)
		w.expect("moved to 5002")
		if q, port, ok := w.server.Lookup(16); q != p || port != 5002 || !ok {
			t.Errorf("lookup: %v %d %v", q, port, ok)
		}
		r.say(0, &wire.ICRQ{AssignedSessionID: 5}) // Ns 2 again, from the old port
		r.say(0, &wire.ICRQ{AssignedSessionID: 6})
		w.expect("moved to 1701", "call 6: 0")
		if !slices.Equal(ports, []uint16{1701, 5002, 5002, 5002, 5002, 1701}) {
			t.Errorf("sent to %v", ports)
		}
		// Also when several wait for the tunnel's goroutine, each answer goes where its question came from.
		p.set(func() { ports = nil })
		w.mu.Lock()
		for i := range uint16(3) {
			r.inject(6000+i, wire.Header{TunnelID: 16, Ns: r.ns + i, Nr: 1}, &wire.HELLO{})
			runtime.Gosched()
		}
		w.mu.Unlock()
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		slices.Sort(ports)
		if !slices.Equal(ports, []uint16{6000, 6000, 6001, 6001, 6002, 6002}) {
			t.Errorf("sent to %v", ports)
		}
		r.ns += 3
		r.say(0, &wire.HELLO{}) // from port 1701 again
		w.events()
		if q, port, ok := w.server.Lookup(16); q != p || port != 1701 || !ok {
			t.Errorf("lookup: %v %d %v", q, port, ok)
		}
		if _, _, ok := w.server.Lookup(17); ok {
			t.Error("lookup of nothing")
		}
	})
}

func TestMerge(t *testing.T) {
	bubble(t, Config{}, func(w *world, p *peer) {
		r := w.established(p)
		r.say(0, &wire.ICRQ{AssignedSessionID: 5})
		w.events()
		r.sent()
		into := w.newPeer("203.0.113.1:9999")
		w.server.Merge(p, into)
		w.server.Merge(into, into)
		p.inject(1701, wire.Header{TunnelID: 16, Ns: r.ns}, &wire.HELLO{})
		if st := w.server.Stats(); st.Unknown != 1 || st.Open != 1 {
			t.Errorf("%+v", st)
		}
		into.inject(1701, wire.Header{TunnelID: 16, SessionID: 0x101, Ns: r.ns, Nr: 2}, &wire.ICCN{})
		synctest.Wait()
		w.expect("connected 0x101")
		w.call(0x101).Disconnect(tenant.ReasonIdleTimeout)
		synctest.Wait()
		p.sends()
		into.sends(&wire.CDN{Result: wire.Result{Code: wire.CallResultAdministrative}, AssignedSessionID: 0x101})
		// Its SCCRQ is known there too.
		into.inject(1701, wire.Header{}, request(1))
		synctest.Wait()
		if st := w.server.Stats(); st.Repeated != 1 {
			t.Errorf("%+v", st)
		}
		if q, _, _ := w.server.Lookup(16); q != into {
			t.Error("the tunnel is another peer's")
		}
		w.server.PeerGone(into, tenant.ReasonLostCarrier, "gone")
		synctest.Wait()
		w.clean()
	})
}

func TestPeerGone(t *testing.T) {
	bubble(t, Config{}, func(w *world, p *peer) {
		r := w.established(p)
		r.say(0, &wire.ICRQ{AssignedSessionID: 5})
		w.events()
		r.sent()
		w.server.PeerGone(p, tenant.ReasonAdminDisconnect, "the peer's last security association is gone")
		synctest.Wait()
		w.expect("closed 0x101 ADMIN_DISCONNECT", "tunnel closed")
		p.sends()
		w.clean()
	})
}

func TestShutdown(t *testing.T) {
	bubble(t, Config{}, func(w *world, p *peer) {
		c, call := w.open(p, 1701, lac.Windows("pc", 1))
		w.events()
		if err := w.server.Shutdown(w.t.Context()); err != nil {
			t.Error(err)
		}
		w.expect("closed 0x101 SHUTDOWN", "tunnel closed")
		var r *lac.ResultError
		if <-c.Done(); !errors.As(c.Err(), &r) || r.Result.Code != wire.StopResultShutdown || call.Err() == nil {
			t.Errorf("%v", c.Err())
		}
		p.sent()
		p.inject(1702, wire.Header{}, request(2))
		synctest.Wait()
		p.sends(&wire.StopCCN{AssignedTunnelID: 2, Result: wire.Result{Code: wire.StopResultShutdown}})
		w.expect("refused L2TP_TUNNEL DRAINING")
		w.clean()
	})
}

// TestInboxIsBounded: while the Handler is busy, messages beyond the inbox are dropped.
func TestInboxIsBounded(t *testing.T) {
	bubble(t, Config{}, func(w *world, p *peer) {
		r := w.established(p)
		w.mu.Lock() // the Handler hangs
		r.inject(1701, wire.Header{TunnelID: 16, Ns: 2}, &wire.ICRQ{AssignedSessionID: 5})
		for range 1000 {
			r.inject(1701, wire.Header{TunnelID: 16, Ns: 3}, &wire.HELLO{})
		}
		w.mu.Unlock()
		if st := w.server.Stats(); st.Overflow < 1000-2*maxInbox {
			t.Errorf("%+v", st)
		}
	})
}

// TestLingeringIsBounded: tunnels that only acknowledge are soon forgotten if there are many.
func TestLingeringIsBounded(t *testing.T) {
	bubble(t, Config{}, func(w *world, p *peer) {
		for id := range uint16(20) {
			p.inject(1701, wire.Header{}, request(1+id))
			synctest.Wait()
			p.inject(1701, wire.Header{Ns: 1}, &wire.StopCCN{AssignedTunnelID: 1 + id, Result: wire.Result{Code: 1}})
			synctest.Wait()
		}
		if st := w.server.Stats(); st.Open != 0 || st.Closing != maxClosing {
			t.Errorf("%+v", st)
		}
	})
}

// TestLingeringLeavesRoom: tunnels that only acknowledge take no place from new ones, and are bounded by themselves.
func TestLingeringLeavesRoom(t *testing.T) {
	bubble(t, Config{MaxTunnels: 4}, func(w *world, _ *peer) {
		for i := range 30 {
			q := w.newPeer(fmt.Sprintf("203.0.113.%d:4500", 10+i))
			c, _ := w.open(q, 1701, lac.Windows("pc", 1))
			if err := c.Stop(w.t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if st := w.server.Stats(); st.TurnedAway != 0 || st.Closing > 2 {
				t.Fatalf("after %d tunnels: %+v", i+1, st)
			}
		}
		if w.server.closing != w.server.Stats().Closing || w.server.closing != len(w.server.lingers) {
			t.Errorf("%d are counted, %d remembered, %d there", w.server.closing, len(w.server.lingers), w.server.Stats().Closing)
		}
	})
}

// TestRedialAfterStop: a client that has stopped its tunnel asks for a new one with the same ID at once.
func TestRedialAfterStop(t *testing.T) {
	bubble(t, Config{}, func(w *world, p *peer) {
		for range 5 {
			c, _ := w.open(p, 1701, lac.Windows("pc", 1))
			if err := c.Stop(w.t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if st := w.server.Stats(); st.Accepted != 5 || st.Open != 0 || st.Closing != 1 {
			t.Errorf("%+v", st)
		}
		begin := time.Now()
		w.end()
		if d := time.Since(begin); d > time.Second {
			t.Errorf("a tunnel that only acknowledges held the shutdown up for %v", d)
		}
	})
}

func TestManyCalls(t *testing.T) {
	bubble(t, Config{CallTimeout: 5 * time.Minute}, func(w *world, p *peer) {
		p.loss, p.twice, p.jitter = 5, 5, 20*time.Millisecond
		c := p.client(1701, lac.Config{
			Start:   wire.SCCRQ{FramingCapabilities: 3, HostName: "lac", AssignedTunnelID: 3, ReceiveWindowSize: wire.Some[uint16](8)},
			Reorder: 16, Hello: time.Minute,
		})
		if err := c.Start(w.t.Context()); err != nil {
			t.Fatal(err)
		}
		const n = 500
		errs := make(chan error)
		for i := range uint16(n) {
			go func() {
				_, err := c.Call(w.t.Context(), 1+i)
				errs <- err
			}()
		}
		for range n {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		if len(w.connects) != n {
			t.Errorf("%d calls", len(w.connects))
		}
		p.set(func() { p.loss, p.twice = 0, 0 })
		w.end()
	})
}

// TestProxyAuthentication: a CHAP response with a challenge of the peer's own choice counts only if the peer is one that
// we trust; a PAP password always does.
func TestProxyAuthentication(t *testing.T) {
	for _, c := range []struct {
		name   string
		secret tenant.Secret
		kind   uint16
		chal   []byte
		want   ProxyAuthentication
	}{
		{"CHAP without a secret", nil, wire.ProxyAuthenCHAP, []byte("c"), ProxyAuthentication{}},
		{
			"CHAP with a secret", tenant.Secret("s"), wire.ProxyAuthenCHAP, []byte("c"),
			ProxyAuthentication{wire.ProxyAuthenCHAP, "u", []byte("c"), 9, []byte("r")},
		},
		{"PAP", nil, wire.ProxyAuthenPAP, nil, ProxyAuthentication{wire.ProxyAuthenPAP, "u", nil, 9, []byte("r")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{}, func(w *world, p *peer) {
				w.answer = func(TunnelRequest) TunnelAnswer { return TunnelAnswer{Secret: c.secret} }
				cfg := lac.Xl2tpd("lac", 5)
				cfg.Secret = c.secret
				cfg.Connect.ProxyAuthenType, cfg.Connect.ProxyAuthenID = wire.Some(c.kind), wire.Some[uint16](9)
				cfg.Connect.ProxyAuthenName, cfg.Connect.ProxyAuthenResponse = []byte("u"), []byte("r")
				cfg.Connect.ProxyAuthenChallenge = c.chal
				w.open(p, 1701, cfg)
				if got := w.connects[0x101].ProxyAuthentication; !reflect.DeepEqual(got, c.want) {
					t.Errorf("%+v, want %+v", got, c.want)
				}
			})
		})
	}
}

// TestPeerTextsAreHarmless: what a peer says reaches logs and the Handler as printable ASCII.
func TestPeerTextsAreHarmless(t *testing.T) {
	bubble(t, Config{}, func(w *world, p *peer) {
		r := request(1)
		r.HostName, r.VendorName = "a\nb\x1b"+strings.Repeat("x", 900), "\xff"
		p.inject(1701, wire.Header{}, r)
		synctest.Wait()
		if got := w.tunnels[0]; len(got.HostName) != maxText || got.HostName[:5] != "a?b?x" || got.Vendor != "?" {
			t.Errorf("%+v", got)
		}
	})
}

// TestAllOctets sends every single octet as body and header: nothing may break.
func TestAllOctets(t *testing.T) {
	bubble(t, Config{}, func(w *world, p *peer) {
		for i := range 256 {
			w.receive(p, 1701, bytes.Repeat([]byte{byte(i)}, i))
		}
		if st := w.server.Stats(); st.Malformed != 256 {
			t.Errorf("%+v", st)
		}
	})
}
