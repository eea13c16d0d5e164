package accounting

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"concentrator/internal/tenant"
)

func stopRecord(id uint64) Record {
	s := sessionOf("acme", "s1")
	return Record{
		ID: id, Status: Stop, Tenant: "acme", Time: begin.Add(90 * time.Second), Session: &s, Counters: counters(5),
		Duration: 90*time.Second + time.Millisecond, Cause: tenant.ReasonIdleTimeout, Detail: "quiet",
	}
}

func TestLine(t *testing.T) {
	for _, c := range []struct {
		name, want string
		r          Record
	}{
		{
			"on", `{"id":1,"time":"2026-11-27T02:00:00Z","status":"ON","tenant":"acme"}`,
			Record{ID: 1, Status: On, Tenant: "acme", Time: begin},
		},
		{
			"stop", `{"id":2,"time":"2026-11-27T02:01:30Z","status":"STOP","tenant":"acme","session":"s1",` +
				`"user":["YWw8aT5jZQD+"],"domain":"ACME","method":"MSCHAPV2","authentic":"LOCAL","server":"tenants/acme/radiusServers/r1",` +
				`"protocol":"L2TP_IPSEC","clientAddress":"192.0.2.7","listenerAddress":"2001:db8::1","nasPort":17,` +
				`"tunnelClient":["bGFwdG9w/w=="],"tunnelId":"4711","clientName":"MSRAS-0-LAPTOP","clientVersion":"MSRASV5.20",` +
				`"address":"10.0.0.9","routes":["10.9.0.0/16"],"class":["AP8i","","c2Vjb25k"],"started":"2026-11-27T02:00:00Z",` +
				`"durationSeconds":90,"inBytes":5,"outBytes":42949672960,"inPackets":6,"outPackets":7,` +
				`"cause":"IDLE_TIMEOUT","detail":"quiet"}`,
			stopRecord(2),
		},
		{
			"start", `{"id":3,"time":"2026-11-27T02:00:00Z","status":"START","tenant":"acme","session":"s\n1","user":"a",` +
				`"authentic":"RADIUS","started":"2026-11-27T02:00:00Z","durationSeconds":0,"inBytes":0,"outBytes":0,"inPackets":0,"outPackets":0}`,
			func() Record {
				var s Session
				s.SessionID, s.User, s.Started = "s\n1", "a", begin
				return Record{ID: 3, Status: Start, Tenant: "acme", Time: begin, Session: &s}
			}(),
		},
	} {
		got, err := appendLine(nil, &c.r)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", c.name, err, got, c.want)
		}
	}
}

// ids reads the IDs of all whole lines; each must be JSON.
func ids(t *testing.T, path string) (all []uint64) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		var line struct{ ID uint64 }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%s: %q: %v", path, lines.Text(), err)
		}
		all = append(all, line.ID)
	}
	return all
}

func account(t *testing.T, s Sink, id uint64) {
	t.Helper()
	must(t, s.Account(t.Context(), stopRecord(id)))
}

func TestFileRotates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounting.log")
	line, err := appendLine(nil, new(stopRecord(100)))
	must(t, err)
	f, err := NewFile(path, int64(2*len(line)+2))
	must(t, err)
	defer f.Close()
	for id := uint64(100); id < 130; id++ { // IDs of the same length
		account(t, f, id)
	}
	for i := range keepFiles + 1 {
		name := path
		if i > 0 {
			name = fmt.Sprint(path, ".", i)
		}
		if got, want := ids(t, name), []uint64{uint64(128 - 2*i), uint64(129 - 2*i)}; !reflect.DeepEqual(got, want) {
			t.Errorf("%s has %v, want %v", name, got, want)
		}
	}
	if files, _ := filepath.Glob(path + "*"); len(files) != keepFiles+1 {
		t.Errorf("files %q", files)
	}
	// A gap among them, as an operator leaves it: what is behind it stays.
	must(t, os.Remove(path+".2"))
	account(t, f, 130)
	if got := ids(t, path+".2"); got[0] != 126 {
		t.Errorf("path.2 has %v", got)
	}
	if got := ids(t, path+".3"); got[0] != 122 {
		t.Errorf("path.3 has %v", got)
	}
}

func TestFileIsOpenedAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounting.log")
	f, err := NewFile(path, 0)
	must(t, err)
	defer f.Close()
	account(t, f, 1)
	must(t, os.Rename(path, path+".old"))
	account(t, f, 2)
	must(t, os.Remove(path))
	account(t, f, 3)
	must(t, os.Truncate(path, 0)) // as logrotate's copytruncate
	account(t, f, 4)
	if got := ids(t, path+".old"); !reflect.DeepEqual(got, []uint64{1}) {
		t.Errorf("renamed: %v", got)
	}
	if got := ids(t, path); !reflect.DeepEqual(got, []uint64{4}) {
		t.Errorf("now: %v", got)
	}
	st, err := os.Stat(path)
	must(t, err)
	if st.Mode().Perm()&0o077 != 0 {
		t.Errorf("mode %s", st.Mode())
	}
	must(t, os.Rename(path, path+".old")) // as logrotate's create
	must(t, os.WriteFile(path, nil, 0o600))
	account(t, f, 5)
	if got := ids(t, path); !reflect.DeepEqual(got, []uint64{5}) {
		t.Errorf("in the new file: %v", got)
	}
	must(t, f.Close())
	if err := f.Account(t.Context(), stopRecord(6)); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestFileCutsOffATornLine(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		want    []uint64
	}{
		"empty":     {"", []uint64{7}},
		"whole":     {"{\"id\":1}\n", []uint64{1, 7}},
		"torn":      {"{\"id\":1}\n{\"id\":2,\"ti", []uint64{1, 7}},
		"only torn": {"{\"id\":1", []uint64{7}},
		"far":       {strings.Repeat("{\"id\":1}\n", 3) + strings.Repeat("x", maxTail-1), []uint64{1, 1, 1, 7}},
		"no file of ours": {
			"{\"id\":1}\n" + strings.Repeat("x", maxTail), nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "accounting.log")
			must(t, os.WriteFile(path, []byte(c.content), 0o600))
			f, err := NewFile(path, 0)
			if c.want == nil {
				if b, _ := os.ReadFile(path); err == nil || string(b) != c.content {
					t.Errorf("error %v, %d octets are left", err, len(b))
				}
				return
			}
			must(t, err)
			defer f.Close()
			account(t, f, 7)
			if got := ids(t, path); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestFileErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := NewFile(dir, 0); err == nil {
		t.Error("a folder was opened")
	}
	if _, err := NewFile(filepath.Join(dir, "no", "such"), 0); err == nil {
		t.Error("a file in a folder that is not there was opened")
	}
	if _, err := NewFile("/dev/full", 0); err == nil {
		t.Error("a device was opened")
	}
	// The folder vanishes and comes back.
	sub := filepath.Join(dir, "sub")
	must(t, os.Mkdir(sub, 0o700))
	f, err := NewFile(filepath.Join(sub, "a.log"), 0)
	must(t, err)
	defer f.Close()
	must(t, os.RemoveAll(sub))
	if err := f.Account(t.Context(), stopRecord(1)); err == nil {
		t.Error("a record was acknowledged that is nowhere")
	}
	must(t, os.Mkdir(sub, 0o700))
	account(t, f, 2)
	if got := ids(t, filepath.Join(sub, "a.log")); !reflect.DeepEqual(got, []uint64{2}) {
		t.Errorf("got %v", got)
	}
}

// What could not be written as a whole is not there at all, and the next record is.
func TestFileTakesBackAFailedWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounting.log")
	f, err := NewFile(path, 0)
	must(t, err)
	defer f.Close()
	account(t, f, 1)
	good := f.f
	// Opened for reading, the file takes neither the write nor the truncation.
	f.f, err = os.Open(path)
	must(t, err)
	if err := f.Account(t.Context(), stopRecord(2)); err == nil {
		t.Error("a record was acknowledged that is nowhere")
	}
	must(t, good.Close())
	account(t, f, 3)
	if got := ids(t, path); !reflect.DeepEqual(got, []uint64{1, 3}) {
		t.Errorf("got %v", got)
	}
}

// A whole ledger into a file, from many sessions.
func TestLedgerIntoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounting.log")
	f, err := NewFile(path, 0)
	must(t, err)
	defer f.Close()
	l := mustOpen(t, config(newMemory(t), f))
	defer run(l)()
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			id := fmt.Sprint("s", i)
			must(t, l.Start(sessionOf("acme", id)))
			must(t, l.Interim(id, counters(1), begin))
			must(t, l.Stop(id, counters(2), tenant.ReasonUserRequest, "", begin))
		})
	}
	wg.Wait()
	must(t, l.Drain(t.Context()))
	seen := make(map[uint64]bool)
	for _, id := range ids(t, path) {
		if seen[id] {
			t.Errorf("record %d twice", id)
		}
		seen[id] = true
	}
	if len(seen) != 300 {
		t.Errorf("%d records", len(seen))
	}
}

func TestSyslog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s := NewSyslog(path)
	defer s.Close()
	if err := s.Account(t.Context(), stopRecord(1)); err == nil {
		t.Error("acknowledged without a daemon")
	}
	for round := range 2 { // the daemon is started anew
		daemon, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		must(t, err)
		account(t, s, uint64(10+round))
		b := make([]byte, 64<<10)
		must(t, daemon.SetReadDeadline(time.Now().Add(10*time.Second)))
		n, err := daemon.Read(b)
		must(t, err)
		head, text, ok := strings.Cut(string(b[:n]), " ACCOUNTING - ")
		want := fmt.Sprintf("<30>1 2026-11-27T02:01:30.000000Z %s concentrator %d", s.host, os.Getpid())
		if !ok || head != want || strings.ContainsRune(s.host, ' ') || s.host == "" {
			t.Errorf("header %q, want %q", head, want)
		}
		var line struct{ ID uint64 }
		if err := json.Unmarshal([]byte(text), &line); err != nil || line.ID != uint64(10+round) {
			t.Errorf("text %q: %v", text, err)
		}
		must(t, daemon.Close())
		must(t, os.Remove(path))
	}
}

// A daemon that reads nothing holds a record up until its context ends, and does not get it acknowledged.
func TestSyslogIsStuck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	daemon, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	defer daemon.Close()
	s := NewSyslog(path)
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var failed error
	for i := range uint64(10_000) {
		if failed = s.Account(ctx, stopRecord(i)); failed != nil {
			break
		}
	}
	if !errors.Is(failed, os.ErrDeadlineExceeded) {
		t.Errorf("a full socket: %v", failed)
	}
}
