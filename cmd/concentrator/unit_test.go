package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	unitFile   = "../../deploy/systemd/concentrator.service"
	dropInFile = "../../deploy/systemd/namespaces.conf"
)

// mostExposed is the mark that systemd-analyze may give the unit, from 0 (best) to 10.
const mostExposed = 2.3

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// settings are the lines KEY=VALUE of a unit file.
func settings(t *testing.T, name string) map[string][]string {
	t.Helper()
	all := make(map[string][]string)
	for line := range strings.Lines(readFile(t, name)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			all[key] = append(all[key], value)
		}
	}
	return all
}

// The unit gives what the daemon keeps, and no more.
func TestUnit(t *testing.T) {
	unit, dropIn := settings(t, unitFile), settings(t, dropInFile)
	const caps = "CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_BPF"
	for key, want := range map[string]string{
		"CapabilityBoundingSet": caps, "AmbientCapabilities": caps, "NoNewPrivileges": "yes", "Type": "notify", "LimitCORE": "0",
		"ExecStart": "/usr/sbin/concentrator serve --config /etc/concentrator/concentrator.yaml",
	} {
		if !slices.Equal(unit[key], []string{want}) {
			t.Errorf("%s is %q, want %q", key, unit[key], want)
		}
	}
	if got := dropIn["CapabilityBoundingSet"]; !slices.Equal(got, []string{"CAP_SYS_ADMIN"}) {
		t.Errorf("for namespaces it gives %q besides", got)
	}
	// What gives the service a view of its own of the file systems, the drop-in takes back.
	for _, key := range slices.Sorted(maps.Keys(unit)) {
		private := strings.HasPrefix(key, "Protect") || strings.HasPrefix(key, "Private")
		if v := dropIn[key]; private && !slices.Equal(v, []string{"no"}) && !slices.Equal(v, []string{"default"}) {
			t.Errorf("%s is %q for namespaces", key, v)
		}
	}
}

// What systemd itself says of the unit, where it is there to be asked.
func TestUnitVerified(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("needs systemd-analyze")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "concentrator.service")
	with := func(dropIn string) {
		t.Helper()
		// verify wants a program that is there, and a user whom it does not look up.
		text := strings.Replace(readFile(t, unitFile), "/usr/sbin/concentrator", program, 1) + dropIn
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", file).CombinedOutput()
		for line := range strings.Lines(string(out)) { // it speaks of other units too
			if strings.Contains(line, "concentrator") {
				t.Errorf("verify: %v: %s", err, line)
			}
		}
	}
	with("")
	out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--no-pager", file).Output()
	m := regexp.MustCompile(`exposure level for concentrator.service: ([0-9.]+)`).FindSubmatch(out)
	if err != nil || m == nil {
		t.Fatalf("security: %v\n%s", err, out)
	}
	if mark, err := strconv.ParseFloat(string(m[1]), 64); err != nil || mark > mostExposed {
		t.Errorf("exposed by %s, want %v at most", m[1], mostExposed)
	}
	with("\n" + readFile(t, dropInFile))
}
