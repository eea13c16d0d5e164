//go:build interop

package secrets

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
)

// needle is something that is looked for in a process's memory.
type needle struct {
	name  string
	value []byte
}

// chunk is how much memory is read at a time, octets.
const chunk = 4 << 20

// scan looks for needles in all memory that a process can write to, and returns where it found each, by its name.
func scan(t testing.TB, pid int, needles []needle) map[string][]string {
	t.Helper()
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	longest := 0
	for _, n := range needles {
		longest = max(longest, len(n.value))
	}
	found := make(map[string][]string)
	total := 0
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		line := lines.Text()
		if !strings.Contains(line, " rw") {
			continue
		}
		var from, to int64
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		var kept []byte // the end of what was read before, in which a needle may begin
		for at := from; at < to; {
			b := make([]byte, len(kept)+int(min(chunk, to-at)))
			begin := at - int64(len(kept))
			n, err := mem.ReadAt(b[copy(b, kept):], at)
			if err != nil && !errors.Is(err, io.EOF) {
				if errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EFAULT) {
					break // a mapping of a device
				}
				t.Fatalf("%q: %v", line, err)
			}
			b = b[:len(kept)+n]
			for _, x := range needles {
				for off := 0; ; {
					i := bytes.Index(b[off:], x.value)
					if i < 0 {
						break
					}
					if off += i; off+len(x.value) > len(kept) { // else it was found before
						around := b[max(0, off-16):min(len(b), off+len(x.value)+16)]
						found[x.name] = append(found[x.name], fmt.Sprintf("%#x, in % x", begin+int64(off), around))
					}
					off += len(x.value)
				}
			}
			at += int64(n)
			total += n
			kept = b[max(0, len(b)-longest+1):]
			if n == 0 {
				break
			}
		}
	}
	if total < 1<<20 {
		t.Fatalf("only %d octets of process %d could be read", total, pid)
	}
	return found
}
