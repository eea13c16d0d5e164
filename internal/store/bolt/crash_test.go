package bolt_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"concentrator/internal/store"
	"concentrator/internal/store/bolt"
)

// crashFile in the environment makes this test binary the writer that TestCrash kills.
const crashFile = "CONCENTRATOR_CRASH_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashFile); path != "" {
		crashWriter(path)
		return
	}
	os.Exit(m.Run())
}

// crashWriter commits without end, two keys at a time from several goroutines, and prints a key once it is committed.
func crashWriter(path string) {
	db, err := bolt.OpenWith(path, bolt.Options{LogRevisions: 100})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	var out sync.Mutex
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("%d/%d/%d", os.Getpid(), w, i)
				_, ok, err := db.Commit(context.Background(), []store.Guard{{Key: key}},
					[]store.Op{{Key: key, Value: []byte(key)}, {Key: key + "/twin", Value: []byte(key)}})
				if err != nil || !ok {
					fmt.Println("error:", ok, err)
					os.Exit(1)
				}
				out.Lock()
				if _, err := os.Stdout.WriteString(key + "\n"); err != nil { // straight to the pipe, without a buffer
					os.Exit(1)
				}
				out.Unlock()
			}
		}()
	}
	select {}
}

// A process killed in the middle of its commits loses none that was acknowledged, has none by half, and leaves a file
// that the next process takes up. The disk is not cut off here: test/reliability/crash does that.
func TestCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	acked := make(map[string]bool)
	for round := range 10 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashFile+"="+path)
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		deadline := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(pipe)
		for n := 0; lines.Scan(); n++ {
			if strings.HasPrefix(lines.Text(), "error") {
				t.Fatalf("round %d: %s", round, lines.Text())
			}
			acked[lines.Text()] = true
			if n == 5+7*round { // then read on what it wrote before it died
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		deadline.Stop()
		if err := cmd.Wait(); err == nil {
			t.Fatal("the writer ended by itself")
		}
	}
	db := open(t, path, bolt.Options{})
	for key := range acked {
		if item, err := db.Get(t.Context(), key); err != nil || string(item.Value) != key {
			t.Errorf("acknowledged %s: %q, %v", key, item.Value, err)
		}
	}
	if len(acked) < 10*5 {
		t.Errorf("only %d commits were acknowledged", len(acked))
	}
	for r := (store.Range{}); ; {
		items, _, more, err := db.List(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			twin := item.Key + "/twin"
			if key, ok := strings.CutSuffix(item.Key, "/twin"); ok {
				twin = key
			}
			if _, err := db.Get(t.Context(), twin); err != nil {
				t.Errorf("half a commit: %s without %s", item.Key, twin)
			}
		}
		if !more {
			break
		}
		r.Start = items[len(items)-1].Key + "\x00"
	}
}
