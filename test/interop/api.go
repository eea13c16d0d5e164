//go:build interop

package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Session is a session as the API shows it.
type Session struct {
	Name, User, Protocol, State, Listener, ClientAddress, Address, Profile, AuthMethod, Cipher string

	NatDetected bool
	MTU         int

	RateLimit struct{ UpBps, DownBps Number }

	InBytes, OutBytes, InPackets, OutPackets Number

	Drops map[string]Number
}

// Tenant is the ID of the session's tenant.
func (s Session) Tenant() string { return segment(s.Name, 1) }

// Login is a login attempt as the API shows it.
type Login struct {
	Name, Protocol, ClientAddress, User, Stage, Outcome, Reason, Detail string
}

// Pool is an address pool as the API shows it.
type Pool struct {
	Name  string
	Usage struct{ Size, Leased Number }
}

// Shard is one loop of the daemon as the API shows it.
type Shard struct {
	InPackets, WrongShard Number
	CPUTime               string
	Drops                 map[string]Number
}

// Number is a 64-bit integer, which the API writes as a string.
type Number uint64

// UnmarshalJSON implements json.Unmarshaler; it takes the number with and without quotes.
func (n *Number) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(bytes.Trim(b, `"`), (*uint64)(n))
}

// segment returns the i-th part of a resource name.
func segment(name string, i int) string {
	parts := strings.Split(name, "/")
	if i >= len(parts) {
		return ""
	}
	return parts[i]
}

// List runs `ctl NOUN list -o json` and decodes its answer, a List response, into out.
func (d *Daemon) List(t testing.TB, out any, noun string, flags ...string) {
	t.Helper()
	text, err := d.Ctl(t.Context(), append([]string{noun, "list", "-o", "json"}, flags...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, out); err != nil {
		t.Fatalf("ctl %s list: %v\n%s", noun, err, text)
	}
}

// Sessions lists the live sessions of a tenant; "" for all tenants.
func (d *Daemon) Sessions(t testing.TB, tenant string) []Session {
	t.Helper()
	var all struct{ Sessions []Session }
	d.List(t, &all, "session")
	var its []Session
	for _, s := range all.Sessions {
		if tenant == "" || s.Tenant() == tenant {
			its = append(its, s)
		}
	}
	return its
}

// OpenSession waits until the tenant has one open session with the inner address of the link, and returns it.
func (d *Daemon) OpenSession(t testing.TB, tenant string, l *Link) (found Session) {
	t.Helper()
	eventually(t, 3*time.Second, func() string {
		sessions := d.Sessions(t, tenant)
		for _, s := range sessions {
			if s.Address == l.Local.String() && s.State == "OPEN" {
				found = s
				return ""
			}
		}
		return fmt.Sprintf("no open session of tenant %s with address %s in %+v", tenant, l.Local, sessions)
	})
	return found
}

// SessionGone waits until the session is gone, and returns how long it took. Other tests may have sessions of the same
// tenant.
func (d *Daemon) SessionGone(t testing.TB, gone Session, limit time.Duration) time.Duration {
	t.Helper()
	return eventually(t, limit, func() string {
		for _, s := range d.Sessions(t, segment(gone.Name, 1)) {
			if s.Name == gone.Name {
				return fmt.Sprintf("%s is still there: %+v", gone.Name, s)
			}
		}
		return ""
	})
}

// LastLogin is the latest login attempt of the client.
func (d *Daemon) LastLogin(t testing.TB, client *Guest) Login {
	t.Helper()
	var all struct{ Logins []Login }
	d.List(t, &all, "login")
	for _, l := range all.Logins { // newest first
		if strings.HasPrefix(l.ClientAddress, client.Addr.String()+":") {
			return l
		}
	}
	t.Fatalf("no login attempt from %s in %+v", client.Addr, all.Logins)
	return Login{}
}

// Leased says how many addresses of a tenant's pool are leased.
func (d *Daemon) Leased(t testing.TB, tenant, pool string) uint64 {
	t.Helper()
	var all struct{ Pools []Pool }
	d.List(t, &all, "pool")
	name := fmt.Sprintf("tenants/%s/pools/%s", tenant, pool)
	for _, p := range all.Pools {
		if p.Name == name {
			return uint64(p.Usage.Leased)
		}
	}
	t.Fatalf("no pool %s in %+v", name, all.Pools)
	return 0
}

// Shards is what the instance says of its loops.
func (d *Daemon) Shards(t testing.TB) []Shard {
	t.Helper()
	var all struct {
		Instances []struct{ Shards []Shard }
	}
	d.List(t, &all, "instance")
	if len(all.Instances) != 1 || len(all.Instances[0].Shards) == 0 {
		t.Fatalf("ctl instance list shows %+v, want one instance with shards", all)
	}
	return all.Instances[0].Shards
}

// eventually asks check until it returns "", and returns how long that took. After the limit the test fails with what
// check said last.
func eventually(t testing.TB, limit time.Duration, check func() string) time.Duration {
	t.Helper()
	begin := time.Now()
	for {
		problem := check()
		if problem == "" {
			return time.Since(begin)
		}
		if time.Since(begin) > limit {
			t.Fatalf("after %v: %s", limit, problem)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
