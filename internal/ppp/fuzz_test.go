package ppp

import (
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"concentrator/internal/corpus"
	"concentrator/internal/tenant"
)

// FuzzLinkEvents feeds a Link what a hostile peer may send, with time passing and verdicts coming in between. The host
// checks all the while that nothing opens without a login and MPPE, that nothing comes after Finished, and that every
// call has its opposite.
//
// The input is a list of events: one octet for the kind, and for frames two octets of protocol, one of length and the
// packet. To get past the identifiers and the verbatim copies that a fuzzer does not guess, two kinds answer our latest
// frame: with an Ack, or with a login. What came later has kinds from fuzzEAP on, so that old inputs keep their meaning.
func FuzzLinkEvents(f *testing.F) {
	corpus.Add(f)
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		f.Add(seed(f, file), byte(0))
		f.Add(seed(f, file), byte(1))
	}
	f.Add([]byte(ackOfEveryStrength), byte(0))
	f.Add([]byte(ackOfEveryStrength), byte(1))
	f.Add([]byte{fuzzAck, fuzzLogin, fuzzAllow, fuzzAck, fuzzAck, fuzzLater, 5, fuzzTerminate}, byte(2))
	up := string([]byte{fuzzFrame, 0xc0, 0x21, 4, 1, 1, 0, 4, fuzzAck})
	for _, events := range [][]byte{
		{fuzzEAP, 1, fuzzNext, 13, fuzzEAP, 3, fuzzNext, 26, fuzzEAP, 26, fuzzAllow, fuzzAck, fuzzAck},
		{fuzzEAP, 1, fuzzRestart, fuzzEAP, 1, fuzzNext, 13, fuzzEAP, 13, fuzzRestart},
		{fuzzEAP, 1, fuzzNext, 13, fuzzLater, 60, fuzzLater, 60, fuzzEAP, 13, fuzzDeny},
	} {
		f.Add(append([]byte(up), events...), byte(fuzzEAPMode))
	}
	f.Add(append([]byte(up), fuzzLogin, fuzzExpired, fuzzChange, fuzzExpired, fuzzLogin, fuzzChange, fuzzAllow, fuzzAck, fuzzAck), byte(0))
	f.Fuzz(func(t *testing.T, events []byte, mode byte) {
		cfg := config()
		cfg.Echo = tenant.Echo{Interval: 10 * time.Second, Failures: 2}
		policy := tenant.MPPERequired
		switch mode % 4 {
		case 1:
			cfg.AuthMethods = []tenant.AuthMethod{tenant.AuthCHAP, tenant.AuthPAP}
			policy = tenant.MPPEOptional
		case 2:
			cfg.CCP = false
		case 3:
			cfg.AuthMethods = []tenant.AuthMethod{tenant.AuthPAP, tenant.AuthMSCHAPv2}
		}
		if mode&fuzzEAPMode != 0 {
			cfg.AuthMethods = []tenant.AuthMethod{tenant.AuthEAP, tenant.AuthMSCHAPv2}
		}
		g := grant(policy, 128, 40)
		g.MPPE.AllowStateful = mode&4 != 0
		w := newWorld(t, pppd(), cfg, g)
		w.host.required = cfg.CCP && policy == tenant.MPPERequired
		m := &mute{host: w.host}
		l := NewLink(cfg, m)
		l.cfg.Rand = randReader{w.rng}
		w.link = l
		l.Start(w.now)
		for len(events) > 0 && w.host.finished == 0 {
			events = m.step(w, l, g, events)
			if l.Phase() == tenant.StageLCP {
				w.host.allowed = false // a renegotiation voids the login
			}
			if len(m.frames) > 64 {
				m.frames = m.frames[32:]
			}
		}
		l.Terminate(w.now, tenant.ReasonShutdown, "end of the test")
		for range 1000 {
			at, ok := l.Deadline()
			if !ok {
				break
			}
			if at.Before(w.now) {
				at = w.now
			}
			w.now = at
			l.Tick(w.now)
		}
		if w.host.finished != 1 {
			t.Errorf("finished %d times", w.host.finished)
		}
	})
}

// ackOfEveryStrength is a login whose peer acknowledges our CCP request as it is, with every key length of the grant, where
// it should have chosen one by a Nak.
const ackOfEveryStrength = "2\xc0!\x14\x010\x00\x14\x02\x060000\x05\x060000\a\x02\b\x02z2\xc2#7\x02\x01\x007100000000000000000000000000000000000000000000000000000\"2\x80\xfd\n\x010\x00\n\x12\x06\x01\x00\x00 z"

// The kinds of events.
const (
	fuzzFrame = iota
	fuzzLater
	fuzzAck
	fuzzLogin
	fuzzAllow
	fuzzDeny
	fuzzTerminate
	fuzzReset
	fuzzActivity
	fuzzAgain
	fuzzKinds

	fuzzEAP     = 0xf0 // answers our latest EAP Request with the type that follows
	fuzzNext    = 0xf1 // a step with the type that follows
	fuzzRestart = 0xf2
	fuzzExpired = 0xf3 // refuses and asks for a new password
	fuzzChange  = 0xf4 // sends one
)

// fuzzEAPMode is the bit of the mode that offers EAP first.
const fuzzEAPMode = 8

// mute is a host whose verdicts wait for the fuzzer.
type mute struct {
	*host
	frames  [][]byte // protocol and packet of what we sent
	pending []AuthRequest
}

func (m *mute) SendFrame(protocol uint16, packet []byte) {
	m.leaves(protocol, packet)
	m.frames = append(m.frames, slices.Concat(binary.BigEndian.AppendUint16(nil, protocol), packet))
}

func (m *mute) Authenticate(r AuthRequest) {
	m.host.allowed = false
	m.pending = append(m.pending, r)
}

// step carries out one event and returns the rest.
func (m *mute) step(w *world, l *Link, g Grant, events []byte) []byte {
	kind := events[0]
	if kind < fuzzEAP {
		kind %= fuzzKinds
	}
	events = events[1:]
	take := func(n int) []byte {
		n = min(n, len(events))
		out := events[:n]
		events = events[n:]
		return out
	}
	switch kind {
	case fuzzFrame:
		if h := take(3); len(h) == 3 {
			l.Receive(w.now, binary.BigEndian.Uint16(h), take(int(h[2])))
		}
	case fuzzLater:
		for _, s := range take(1) {
			w.now = w.now.Add(time.Duration(s) * 100 * time.Millisecond)
		}
		l.Tick(w.now)
	case fuzzAck, fuzzAgain:
		// Find our latest request and acknowledge it, or play it back.
		for _, f := range slices.Backward(m.frames) {
			if f[2] == 1 && (f[0] == 0xc0 && f[1] == 0x21 || f[0] == 0x80) {
				f = slices.Clone(f)
				if kind == fuzzAck {
					f[2] = 2
				}
				l.Receive(w.now, binary.BigEndian.Uint16(f), f[2:])
				break
			}
		}
	case fuzzLogin:
		for _, f := range slices.Backward(m.frames) {
			if f[0] == 0xc2 && f[2] == 1 {
				l.Receive(w.now, 0xc223, append([]byte{2, f[3], 0, 54, 49}, make([]byte, 49)...))
				l.Receive(w.now, 0xc223, append([]byte{2, f[3], 0, 21, 16}, make([]byte, 16)...))
				break
			}
		}
		l.Receive(w.now, 0xc023, []byte{1, 1, 0, 8, 1, 'a', 1, 'b'})
	case fuzzAllow, fuzzDeny:
		if len(m.pending) == 0 {
			break
		}
		d := Decision{Serial: m.pending[len(m.pending)-1].Serial, Grant: g, Success: "S="}
		if kind == fuzzDeny {
			d.Reason, d.Retry = tenant.ReasonWrongCredentials, len(events)&1 == 0
		} else if l.auth.state == authAsked && l.auth.serial == d.Serial {
			m.host.allowed = true
		}
		before := l.authenticated
		l.Decide(w.now, d)
		if d.Reason != "" && l.authenticated && !before {
			w.t.Error("a refusal let the peer in")
		}
	case fuzzEAP:
		for _, f := range slices.Backward(m.frames) {
			if f[0] == 0xc2 && f[1] == 0x27 && f[2] == 1 {
				for _, typ := range take(1) {
					l.Receive(w.now, 0xc227, eapResponse(f[3], typ, 'a'))
				}
				break
			}
		}
	case fuzzNext:
		if typ := take(1); len(typ) > 0 && len(m.pending) > 0 {
			r := m.pending[len(m.pending)-1]
			m.withoutLogin(w, l, eapStep(r, r.ID+typ[0]&3, typ[0], make([]byte, len(events)%3)...))
		}
	case fuzzRestart:
		if len(m.pending) > 0 {
			m.withoutLogin(w, l, Decision{Serial: m.pending[len(m.pending)-1].Serial, Restart: true})
		}
	case fuzzExpired:
		if len(m.pending) > 0 {
			r := m.pending[len(m.pending)-1]
			m.withoutLogin(w, l, Decision{Serial: r.Serial, Reason: tenant.ReasonUserExpired, ChangePassword: true})
		}
	case fuzzChange:
		for _, f := range slices.Backward(m.frames) {
			if f[0] == 0xc2 && f[1] == 0x23 && f[2] == 4 {
				l.Receive(w.now, 0xc223, changed(f[3]+1, byte(len(events))))
				break
			}
		}
	case fuzzTerminate:
		l.Terminate(w.now, tenant.ReasonAdminDisconnect, "bye")
	case fuzzReset:
		l.ResetRequest(w.now)
	case fuzzActivity:
		l.NoteActivity(w.now)
	}
	return events
}

// withoutLogin hands over a decision that lets nobody in.
func (m *mute) withoutLogin(w *world, l *Link, d Decision) {
	before := l.authenticated
	l.Decide(w.now, d)
	if l.authenticated && !before {
		w.t.Errorf("let in by %+v", d)
	}
}

// seed turns a script into events.
func seed(f *testing.F, file string) []byte {
	text, err := os.ReadFile(file)
	if err != nil {
		f.Fatal(err)
	}
	var out []byte
	for line := range strings.Lines(string(text)) {
		op, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch op {
		case "<":
			b, err := hex.DecodeString(strings.ReplaceAll(rest, " ", ""))
			if err != nil {
				f.Fatal(err)
			}
			out = append(out, fuzzFrame, b[0], b[1], byte(len(b)-2))
			out = append(out, b[2:]...)
			if binary.BigEndian.Uint16(b) == 0xc021 && b[2] == 1 {
				out = append(out, fuzzAck, fuzzLogin)
			}
		case "=":
			out = append(out, fuzzAllow)
		case "@":
			out = append(out, fuzzLater, 10)
		}
	}
	return out
}
