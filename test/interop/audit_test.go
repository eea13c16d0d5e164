//go:build interop

package interop

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAuditTrail changes things with ctl, is refused by REST, and finds both in the trail; and when somebody has altered the
// state file of a daemon that was stopped, ctl audit verify says so.
func TestAuditTrail(t *testing.T) {
	d, err := world.lab.NewDaemon("audit", "acc", world.bin, "accounts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = d.proc.stop(syscall.SIGKILL, 5*time.Second) })
	ctl := func(args ...string) string {
		t.Helper()
		out, err := d.Ctl(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	ctl("user", "create", "carol", "--tenant", "spare", "--password", "hush-hush-1")
	ctl("user", "update", "carol", "--tenant", "spare", "--password", "hush-hush-2", "--disabled")
	if _, err := d.get(t.Context(), "https://"+restAddress+"/v1/tenants/spare", "conc_wrong"); err == nil {
		t.Fatal("a wrong token is let in")
	}
	type event struct {
		Sequence                               int64 `json:",string"`
		Caller, Method, Resource, Code, Detail string
		Before, After                          map[string]any
		ChangedFields                          []string
	}
	var list struct{ AuditEvents []event }
	text := ctl("audit", "list", "--limit", "3", "-o", "json")
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list.AuditEvents) != 3 {
		t.Fatalf("%v in %s", err, text)
	}
	if strings.Contains(text, "hush-hush") || strings.Contains(text, "conc_wrong") {
		t.Errorf("a secret is in the trail: %s", text)
	}
	refused, changed, made := list.AuditEvents[0], list.AuditEvents[1], list.AuditEvents[2]
	if refused.Caller != "" || refused.Method != "GET" || refused.Resource != "/v1/tenants/spare" || refused.Code != "UNAUTHENTICATED" {
		t.Errorf("the refused call: %+v", refused)
	}
	const carol = "tenants/spare/users/carol"
	if made.Caller != "root" || made.Method != "CreateUser" || made.Resource != carol || made.Code != "OK" || made.After["password"] != "***" {
		t.Errorf("what made the user: %+v", made)
	}
	if changed.Method != "UpdateUser" || strings.Join(changed.ChangedFields, " ") != "disabled password" || changed.After["disabled"] != true {
		t.Errorf("what changed it: %+v", changed)
	}
	var found struct {
		Valid       bool
		LastHash    string
		BadSequence int64 `json:",string"`
	}
	if err := json.Unmarshal([]byte(ctl("audit", "verify", "-o", "json")), &found); err != nil || !found.Valid || len(found.LastHash) != 64 {
		t.Fatalf("%v, %+v", err, found)
	}
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}

	file := filepath.Join(d.Dir, "state", "state.db")
	state, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	from, to := `"method":"CreateUser","resource":"`+carol, `"method":"CreateUser","resource":"`+strings.Replace(carol, "carol", "karol", 1)
	if !bytes.Contains(state, []byte(from)) {
		t.Fatal("the event is not found in the file")
	}
	if err := os.WriteFile(file, bytes.ReplaceAll(state, []byte(from), []byte(to)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	if out, err := d.Ctl(t.Context(), "audit", "verify"); err == nil || !strings.Contains(err.Error(), "is not as it was written at event ") {
		t.Errorf("an altered event is not found: %v\n%s", err, out)
	}
	if _, err := d.Ctl(t.Context(), "audit", "verify", "--known-hash", found.LastHash); err == nil {
		t.Error("an altered event is not found with the hash that was noted")
	}
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
}
