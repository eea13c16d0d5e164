//go:build interop

package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestGeneratedClient lets a client of the REST API work whose types a stock generator has made from the served /openapi.json
// and nothing else: it makes what a user needs to log in, sees the user's session in a stream of events, ends it, and reads in
// the audit trail what it did.
func TestGeneratedClient(t *testing.T) {
	t.Parallel()
	d := world.daemon
	document, err := d.get(t.Context(), "https://"+restAddress+"/openapi.json", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("../rest/build", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("../rest/build/openapi.json", document, 0o644); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for _, step := range []string{"types", "build", "page"} {
		if err := npm(t.Context(), "run", "--silent", step); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("types and client made in %v", time.Since(begin))

	g := borrow(t, 1)[0]
	client, err := filepath.Abs("../rest/build/client.js")
	if err != nil {
		t.Fatal(err)
	}
	args := inside(d.ns, "node", client)
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "BASE=https://"+restAddress, "TOKEN="+d.Token(t), "ADDRESS="+apiServer, "NODE_EXTRA_CA_CERTS="+d.Certificate())
	p := talk(t, cmd)
	p.expect(t, "ready", 10*time.Second)
	link := dial(t, g, Dial{Server: apiServer, User: "rest@home", Password: "resting-1", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128})
	open := p.expect(t, "open", 3*time.Second)
	if open[2] != link.Local.String() {
		t.Errorf("the client saw %q, the link has %s", open, link.Local)
	}
	p.say(t, "go on")
	t.Logf("the link was down after %v", link.Gone(t, 3*time.Second))
	p.expect(t, "resumed", 3*time.Second)
	t.Log(p.expect(t, "audited", 3*time.Second))
	p.expect(t, "done", 5*time.Second)
	p.ends(t, 5*time.Second)
}
