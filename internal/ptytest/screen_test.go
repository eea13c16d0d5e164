package ptytest

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestScreen(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"text", "ab\r\ncd", "ab\ncd\n\n"},
		{"a row that is full", "abcdef", "abcde\nf\n\n"},
		{"scrolled", "a\r\nb\r\nc\r\nd", "b\nc\nd\n"},
		{"back", "abc\b\bx", "axc\n\n\n"},
		{"placed", "\x1b[2;3Hx\x1b[Hy", "y\n  x\n\n"},
		{"column and row", "\x1b[3d\x1b[2Gx", "\n\n x\n"},
		{"moved", "a\x1b[Bb\x1b[Ac\x1b[3Dd", "d c\n b\n\n"},
		{"erased to the end", "abcde\x1b[2G\x1b[K", "a\n\n\n"},
		{"erased to the begin", "abcde\x1b[2G\x1b[1K", "  cde\n\n\n"},
		{"erased below", "a\r\nb\r\nc\x1b[2;1H\x1b[J", "a\n\n\n"},
		{"characters erased", "abcde\x1b[2G\x1b[2X", "a  de\n\n\n"},
		{"repeated", "a\x1b[3b", "aaaa\n\n\n"},
		{"inserted and deleted", "abcde\x1b[2G\x1b[2@\x1b[5G\x1b[P", "a  b\n\n\n"},
		{"rows inserted", "a\r\nb\x1b[1;1H\x1b[L", "\na\nb\n"},
		{"rows deleted", "a\r\nb\x1b[1;1H\x1b[M", "b\n\n\n"},
		{"a region scrolls", "a\r\nb\r\nc\x1b[2;3r\x1b[S", "a\nc\n\n"},
		{"colours and modes", "\x1b[1;31ma\x1b[0m\x1b[?25l\x1b[>1u\x1b]0;title\x07b\x1bP+q\x1b\\c\x1b(Bd", "abcd\n\n\n"},
		{"the other screen", "abc\x1b[?1049hx", "x\n\n\n"},
		{"saved", "a\x1b7b\x1b8c", "ac\n\n\n"},
		{"more than ASCII", "é…", "é…\n\n\n"},
	} {
		whole, pieces := NewScreen(5, 3), NewScreen(5, 3)
		whole.Write([]byte(c.in))
		for i := range len(c.in) { // wherever it is cut
			pieces.Write([]byte{c.in[i]})
		}
		if got := whole.String(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if got := pieces.String(); got != c.want {
			t.Errorf("%s, octet by octet: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestTerminal(t *testing.T) {
	term, err := Start(exec.Command("sh", "-c", `stty size; read x; echo "got $x"; exit 3`), 40, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer term.Close()
	for _, step := range []struct{ keys, want string }{{"", "10 40"}, {"hello\r", "got hello"}} {
		if err := term.Type(step.keys); err != nil {
			t.Fatal(err)
		}
		if err := term.Wait(5*time.Second, func(s string) bool { return strings.Contains(s, step.want) }); err != nil {
			t.Fatal(err)
		}
	}
	if code, err := term.End(5 * time.Second); err != nil || code != 3 {
		t.Errorf("exit code %d, %v", code, err)
	}
}
