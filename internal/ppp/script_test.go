package ppp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"concentrator/internal/tenant"
)

// TestScripts plays a client's side of a login from testdata and compares every packet and call with the script.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { play(t, file) })
	}
}

func play(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rnd, err := hex.DecodeString("deadbeef" + "5b5d7c7d7b3f2f3e3c2c602132262628")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{host: &host{w: &world{t: t, now: epoch}, required: true, verdict: allow}}
	s.host.heard = func(line string) { s.got = append(s.got, "! "+line) }
	cfg := config()
	cfg.Rand = bytes.NewReader(rnd)
	l := NewLink(cfg, s)
	now := epoch
	l.Start(now)
	for i, line := range strings.Split(string(text), "\n") {
		op, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		if op != ">" && op != "!" && op != "" && op != "#" && len(s.got) > 0 {
			t.Fatalf("line %d: not in the script: %q", i+1, s.got)
		}
		switch op {
		case ">", "!":
			if op == ">" {
				rest = strings.ReplaceAll(rest, " ", "")
			}
			if want := op + " " + rest; len(s.got) == 0 || s.got[0] != want {
				t.Fatalf("line %d: want %s, have %q", i+1, want, s.got)
			}
			s.got = s.got[1:]
		case "<":
			b, err := hex.DecodeString(strings.ReplaceAll(rest, " ", ""))
			if err != nil || len(b) < 2 {
				t.Fatalf("line %d: %v", i+1, err)
			}
			l.Receive(now, binary.BigEndian.Uint16(b), b[2:])
		case "=":
			if rest != "allow" {
				t.Fatalf("line %d: %q", i+1, rest)
			}
			d := allow(s.requests[len(s.requests)-1])
			l.Decide(now, d)
		case "@":
			d, err := time.ParseDuration(rest)
			if err != nil {
				t.Fatalf("line %d: %v", i+1, err)
			}
			now = now.Add(d)
			l.Tick(now)
		case "", "#":
		default:
			t.Fatalf("line %d: %q", i+1, line)
		}
	}
	if len(s.got) > 0 {
		t.Errorf("not in the script: %q", s.got)
	}
}

// allow lets User in with the proof of RFC 2759 section 9.2.
func allow(r AuthRequest) Decision {
	return Decision{
		Serial: r.Serial, Grant: grant(tenant.MPPERequired, 128),
		Success: "S=407A5589115FD0D6209F510FE9C04566932CDA56",
	}
}

// script is a Handler that writes everything down in the words of the script.
type script struct {
	*host
	got []string
}

func (s *script) SendFrame(protocol uint16, packet []byte) {
	s.leaves(protocol, packet)
	s.got = append(s.got, "> "+hex.EncodeToString(slices.Concat(binary.BigEndian.AppendUint16(nil, protocol), packet)))
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
