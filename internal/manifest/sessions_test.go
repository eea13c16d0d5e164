package manifest_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/manifest"
	"concentrator/internal/manifest/fakeapi"
)

// liveAPI is a fake API with live sessions, which come a page of two at a time.
type liveAPI struct {
	*fakeapi.API
	sessions []*pb.Session
}

func (a *liveAPI) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if method != pb.SessionService_ListSessions_FullMethodName {
		return a.API.Invoke(ctx, method, args, reply, opts...)
	}
	q, r := args.(*pb.ListSessionsRequest), reply.(*pb.ListSessionsResponse)
	if q.GetParent() != "tenants/-" {
		return status.Error(codes.InvalidArgument, q.GetParent())
	}
	var from int
	_, _ = fmt.Sscan(q.GetPageToken(), &from)
	to := min(from+2, len(a.sessions))
	r.Sessions = a.sessions[from:to]
	if to < len(a.sessions) {
		r.NextPageToken = fmt.Sprint(to)
	}
	return nil
}

// standing is what stands when sessions are looked for.
const standing = `
kind: Tenant
name: tenants/acme
network: {namespace: acme, mtu: 1400}
authentication: {backend: LOCAL}
---
kind: Tenant
name: tenants/beta
---
kind: Acl
name: tenants/acme/acls/web
displayName: Web
rules: [{action: PERMIT, protocol: tcp}]
---
kind: Acl
name: tenants/acme/acls/other
rules: [{action: PERMIT, protocol: tcp}]
---
kind: Profile
name: tenants/acme/profiles/default
authMethods: [MSCHAPV2]
allowPlaintext: true
mtu: 1400
---
kind: Profile
name: tenants/acme/profiles/guest
allowPlaintext: true
---
kind: User
name: tenants/acme/users/alice
---
kind: Pool
name: tenants/acme/pools/main
ranges: [10.0.0.0/24]
---
kind: RadiusServer
name: tenants/acme/radiusServers/one
address: 192.0.2.1
---
kind: Listener
name: listeners/all
address: 192.0.2.1
protocols: [PPTP, L2TP_IPSEC, L2TP]
tenants: [tenants/acme, tenants/beta]
defaultTenant: tenants/acme
---
kind: Listener
name: listeners/beta
address: 192.0.2.2
protocols: [PPTP, L2TP]
tenants: [tenants/beta]
`

func TestFindSessions(t *testing.T) {
	session := func(name string, p pb.Listener_Protocol, listener, acl string) *pb.Session {
		if acl != "" {
			acl = "tenants/acme/acls/" + acl
		}
		return &pb.Session{Name: "tenants/" + name, Protocol: p, Listener: "listeners/" + listener, Acl: acl}
	}
	live := []*pb.Session{
		session("acme/sessions/pptp", pb.Listener_PPTP, "all", "web"),
		session("acme/sessions/ipsec", pb.Listener_L2TP_IPSEC, "all", ""),
		session("acme/sessions/plain", pb.Listener_L2TP, "all", "other"),
		session("beta/sessions/here", pb.Listener_L2TP, "all", ""), // by its realm, at acme's listener
		session("beta/sessions/there", pb.Listener_PPTP, "beta", ""),
	}
	const all = "acme/pptp acme/ipsec acme/plain beta/here"
	for _, c := range []struct {
		name     string
		old, new string // what is replaced in the documents
		prune    string // the document that is left out, by its name
		ends     string
		alters   string
		blind    bool // the caller may see no listener
	}{
		{name: "nothing"},
		{name: "namespace", old: "namespace: acme,", new: "namespace: other,", ends: "acme/pptp acme/ipsec acme/plain"},
		{name: "device", old: "mtu: 1400}", new: "mtu: 1400, device: tun9}", ends: "acme/pptp acme/ipsec acme/plain"},
		{name: "network's mtu", old: "mtu: 1400}", new: "mtu: 1300}", ends: "acme/pptp acme/ipsec acme/plain"},
		{name: "masquerade and uplink", old: "mtu: 1400}", new: "mtu: 1400, masquerade: true, uplink: {address: 10.255.0.2/30, gateway: 10.255.0.1}}"},
		{name: "limits and realms", old: "authentication: ", new: "limits: {maxSessions: 1}\nrealms: [x]\nsuspended: true\nauthentication: "},
		{name: "backend", old: "backend: LOCAL", new: "backend: RADIUS", ends: "acme/plain beta/here"},
		{name: "keys", old: "authentication: ", new: "ipsec: {psks: [{id: new, secret: x}]}\nauthentication: "},
		{name: "rules", old: "displayName: Web\nrules: [{action: PERMIT, protocol: tcp}]", new: "displayName: Web\nrules: []", alters: "acme/pptp"},
		{name: "an ACL's display name", old: "displayName: Web", new: "displayName: The web"},
		{name: "profile's mtu", old: "mtu: 1400\n", new: "mtu: 1300\n"},
		{name: "plaintext no more", old: "allowPlaintext: true\nmtu", new: "mtu", ends: "acme/plain beta/here"},
		{name: "plaintext no more, blind", old: "allowPlaintext: true\nmtu", new: "mtu", ends: "acme/plain", blind: true},
		{name: "methods", old: "[MSCHAPV2]", new: "[EAP]", ends: "acme/plain beta/here"},
		{name: "another profile", old: "allowPlaintext: true\n---", new: "---"},
		{name: "another profile deleted", prune: "tenants/acme/profiles/guest"},
		{name: "default profile deleted", prune: "tenants/acme/profiles/default", ends: "acme/plain beta/here"},
		{name: "user disabled", old: "users/alice\n", new: "users/alice\ndisabled: true\n"},
		{name: "user deleted", prune: "tenants/acme/users/alice"},
		{name: "pool", old: "10.0.0.0/24", new: "10.0.0.0/25"},
		{name: "RADIUS server", old: "address: 192.0.2.1\n---", new: "address: 192.0.2.9\n---"},
		{name: "listener's address", old: "address: 192.0.2.1\nprotocols", new: "address: 192.0.2.9\nprotocols", ends: "acme/ipsec acme/plain beta/here"},
		{name: "listener's namespace", old: "defaultTenant: tenants/acme", new: "namespace: x\ndefaultTenant: tenants/acme", ends: all},
		{name: "no PPTP", old: "[PPTP, L2TP_IPSEC, L2TP]", new: "[L2TP_IPSEC, L2TP]", ends: "acme/pptp"},
		{name: "no plain L2TP", old: "[PPTP, L2TP_IPSEC, L2TP]", new: "[L2TP_IPSEC, PPTP]", ends: "acme/plain beta/here"},
		{name: "no IPsec", old: "[PPTP, L2TP_IPSEC, L2TP]", new: "[PPTP, L2TP]", ends: "acme/ipsec acme/plain beta/here"},
		{name: "protocols in another order", old: "[PPTP, L2TP_IPSEC, L2TP]", new: "[L2TP, PPTP, L2TP_IPSEC]"},
		{name: "another default", old: "defaultTenant: tenants/acme", new: "defaultTenant: tenants/beta", ends: "acme/plain beta/here"},
		{name: "the other listener's namespace", old: "tenants: [tenants/beta]", new: "namespace: x\ntenants: [tenants/beta]", ends: "beta/there"},
		{name: "ports", old: "defaultTenant: tenants/acme", new: "maxPptpSessions: 1\ndefaultTenant: tenants/acme"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &liveAPI{fakeapi.New(), live}
			client := manifest.Client{Conn: a}
			plan, err := manifest.Plan(t.Context(), client, parse(t, standing), false)
			if err != nil {
				t.Fatal(err)
			}
			if err := manifest.Apply(t.Context(), client, plan, false, func(manifest.Change, error) {}); err != nil {
				t.Fatal(err)
			}
			text := standing
			if c.old != "" {
				if !strings.Contains(text, c.old) {
					t.Fatalf("%q is not in the documents", c.old)
				}
				text = strings.Replace(text, c.old, c.new, 1)
			}
			docs := parse(t, text)
			if c.prune != "" {
				docs = slices.DeleteFunc(docs, func(d manifest.Document) bool { return d.Name == c.prune })
			}
			if c.blind {
				a.Fail = func(method, _ string) error {
					if method == "ListListeners" {
						return status.Error(codes.PermissionDenied, "not yours")
					}
					return nil
				}
			}
			if plan, err = manifest.Plan(t.Context(), client, docs, c.prune != ""); err != nil {
				t.Fatal(err)
			}
			if err := manifest.FindSessions(t.Context(), client, plan); err != nil {
				t.Fatal(err)
			}
			// The same stands in what is reported, of a dry run and of a real one.
			for _, dryRun := range []bool{true, false} {
				var ends, alters []string
				changes := 0
				if err := manifest.Apply(t.Context(), client, plan, dryRun, func(ch manifest.Change, _ error) {
					ends, alters = append(ends, short(ch.Ends)...), append(alters, short(ch.Alters)...)
					if ch.Action != manifest.Unchanged {
						changes++
					}
				}); err != nil {
					t.Fatal(err)
				}
				if got := strings.Join(ends, " "); got != c.ends {
					t.Errorf("dry run %v: ends %q, want %q", dryRun, got, c.ends)
				}
				if got := strings.Join(alters, " "); got != c.alters {
					t.Errorf("dry run %v: alters %q, want %q", dryRun, got, c.alters)
				}
				if want := min(1, len(c.old)+len(c.prune)); changes != want {
					t.Errorf("dry run %v: %d changes, want %d", dryRun, changes, want)
				}
			}
		})
	}
}

func short(list []*pb.Session) (names []string) {
	for _, s := range list {
		names = append(names, strings.Replace(strings.TrimPrefix(s.GetName(), "tenants/"), "/sessions", "", 1))
	}
	return names
}

// TestFindSessionsOfDeletions: plans delete neither tenants nor listeners, but who makes such a change is told too.
func TestFindSessionsOfDeletions(t *testing.T) {
	a := &liveAPI{fakeapi.New(), []*pb.Session{
		{Name: "tenants/acme/sessions/a", Listener: "listeners/one"}, {Name: "tenants/beta/sessions/b", Listener: "listeners/two"},
	}}
	for name, want := range map[string]string{"tenants/acme": "acme/a", "listeners/two": "beta/b", "tenants/acm": "", "listeners/three": ""} {
		kind := "Tenant"
		if strings.HasPrefix(name, "listeners/") {
			kind = "Listener"
		}
		k, err := manifest.KindOf(kind)
		if err != nil {
			t.Fatal(err)
		}
		plan := []manifest.Change{{Action: manifest.Delete, Kind: k, Name: name}}
		if err := manifest.FindSessions(t.Context(), manifest.Client{Conn: a}, plan); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(short(plan[0].Ends), " "); got != want {
			t.Errorf("%s ends %q, want %q", name, got, want)
		}
	}
}

// TestFindSessionsFails: a plan whose sessions can't be told is none.
func TestFindSessionsFails(t *testing.T) {
	api := fakeapi.New()
	apply(t, api, acme, false, false)
	api.Fail = func(method, _ string) error {
		if method == "ListSessions" {
			return status.Error(codes.Unavailable, "gone")
		}
		return nil
	}
	c := manifest.Client{Conn: api}
	plan, err := manifest.Plan(t.Context(), c, parse(t, "kind: Tenant\nname: tenants/acme\nrealms: [a]\n"), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := manifest.FindSessions(t.Context(), c, plan); err == nil || !strings.Contains(err.Error(), "list sessions: gone") {
		t.Errorf("got %v", err)
	}
}
