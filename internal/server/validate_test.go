package server

import (
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
)

// A broken rule is told as our own checks tell theirs: the field as JSON has it, what is wrong, what would be right.
func TestRules(t *testing.T) {
	profile := func(p *concentratorv1.Profile) proto.Message { return &concentratorv1.UpdateProfileRequest{Profile: p} }
	tenant := func(m *concentratorv1.Tenant) proto.Message { return &concentratorv1.CreateTenantRequest{Tenant: m} }
	radius := func(m *concentratorv1.RadiusServer) proto.Message {
		return &concentratorv1.UpdateRadiusServerRequest{RadiusServer: m}
	}
	for _, c := range []struct {
		req  proto.Message
		want string // "" for a request that is right
	}{
		{&concentratorv1.ListUsersRequest{PageSize: -1}, "pageSize: is -1, must not be negative"},
		{&concentratorv1.ListUsersRequest{Filter: strings.Repeat("x", 2049)}, "filter: has 2049 octets, at most 2048 are allowed"},
		{&concentratorv1.CreateUserRequest{RequestId: "7"}, `requestId: "7" is not a UUID such as 123e4567-e89b-42d3-a456-426614174000`},
		{&concentratorv1.CreateUserRequest{RequestId: requestOne}, ""},
		{&concentratorv1.CreateUserRequest{User: &concentratorv1.User{Password: new("")}}, "password: has 0 octets, must have 1 to 256"},
		{&concentratorv1.CreateUserRequest{User: &concentratorv1.User{Password: new(strings.Repeat("ä", 129))}}, "password: has 258 octets, must have 1 to 256"},
		{tenant(&concentratorv1.Tenant{DisplayName: strings.Repeat("ä", 200)}), ""},
		{tenant(&concentratorv1.Tenant{DisplayName: strings.Repeat("ä", 201)}), "displayName: has 201 characters, at most 200 are allowed"},
		{tenant(&concentratorv1.Tenant{DisplayName: "a\nb"}), `displayName: "a\nb" may not hold control characters`},
		{
			tenant(&concentratorv1.Tenant{Network: &concentratorv1.Tenant_Network{Mtu: 575, Device: "lo", Namespace: "a/b"}}),
			`network.namespace: "a/b" is not the name of a namespace: 1 to 64 of letters, digits, '.', '_' and '-'; ` +
				`network.device: "lo" can't name a device: 1 to 15 of letters, digits, '.', '_' and '-', and not lo; ` +
				`network.mtu: is 575, must be 576 to 9000, or 0`,
		},
		{
			tenant(&concentratorv1.Tenant{Ipsec: &concentratorv1.Tenant_Ipsec{Psks: []*concentratorv1.Tenant_Ipsec_Psk{{}, {Secret: new("")}}}}),
			"ipsec.psks[1].secret: has 0 octets, must have 1 to 256",
		},
		{profile(&concentratorv1.Profile{Mppe: &concentratorv1.Profile_Mppe{KeyBits: []int32{40, 64}}}), "mppe.keyBits[1]: 64 is none of 128, 56, 40"},
		{
			profile(&concentratorv1.Profile{AuthMethods: []concentratorv1.Profile_AuthMethod{1, 9}}),
			"authMethods[1]: 9 is none of PAP, CHAP, MSCHAPV2, EAP",
		},
		{
			profile(&concentratorv1.Profile{DnsServers: []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}}),
			"dnsServers: has 3 entries, at most 2 are allowed",
		},
		{profile(&concentratorv1.Profile{IdleTimeout: durationpb.New(500 * time.Millisecond)}), "idleTimeout: is 0.5s, must be 1s to 31536000s, or 0s"},
		{profile(&concentratorv1.Profile{IdleTimeout: durationpb.New(0)}), ""},
		{profile(&concentratorv1.Profile{RateLimit: &concentratorv1.Profile_RateLimit{UpBps: 7999}}), "rateLimit.upBps: is 7999, must be 8000 to 100000000000, or 0"},
		{radius(&concentratorv1.RadiusServer{Secrets: []string{"", "x"}}), "secrets[0]: has 0 octets, must have 1 to 256"},
		{radius(&concentratorv1.RadiusServer{Transport: 7}), "transport: 7 is none of UDP, TLS"},
		{radius(&concentratorv1.RadiusServer{Priority: -1}), "priority: is -1, must not be negative"},
	} {
		err := checkRules(c.req)
		if c.want == "" {
			if err != nil {
				t.Errorf("%v: %v", c.req, err)
			}
			continue
		}
		if got := failureOf(err); err == nil || got.code != codes.InvalidArgument || got.reason != reasonInvalid ||
			!strings.HasSuffix(err.Error(), "desc = "+c.want) {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}

// Every rule of the API can be evaluated, and none refuses a request that says nothing.
func TestRulesCompile(t *testing.T) {
	n := 0
	apiFiles(t, func(f protoreflect.FileDescriptor) {
		for i := range f.Messages().Len() {
			m := dynamicpb.NewMessage(f.Messages().Get(i))
			if err := protovalidate.Validate(m); err != nil {
				t.Errorf("%s: %v", f.Messages().Get(i).FullName(), err)
			}
			n++
		}
	})
	if n < 100 {
		t.Errorf("only %d messages", n)
	}
}
