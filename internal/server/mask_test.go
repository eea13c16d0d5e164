package server

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
)

func TestMask(t *testing.T) {
	five := int32(5)
	for _, c := range []struct {
		name            string
		mask            []string
		dst, src, after proto.Message
	}{
		{
			"none: what is set",
			nil,
			&concentratorv1.Tenant{DisplayName: "old", Suspended: true, Network: &concentratorv1.Tenant_Network{Mtu: 1400, Device: "tun7"}},
			&concentratorv1.Tenant{DisplayName: "new", Network: &concentratorv1.Tenant_Network{Mtu: 1300}},
			&concentratorv1.Tenant{DisplayName: "new", Suspended: true, Network: &concentratorv1.Tenant_Network{Mtu: 1300, Device: "tun7"}},
		},
		{
			"star: all, and what is left out is cleared",
			[]string{"*"},
			&concentratorv1.Tenant{Name: "tenants/acme", DisplayName: "old", Suspended: true},
			&concentratorv1.Tenant{DisplayName: "new"},
			&concentratorv1.Tenant{Name: "tenants/acme", DisplayName: "new"},
		},
		{
			"a zero that is named clears",
			[]string{"suspended", "limits.max_sessions"},
			&concentratorv1.Tenant{Suspended: true, Limits: &concentratorv1.Tenant_Limits{MaxSessions: 9, MaxSessionsPerUser: 2}},
			&concentratorv1.Tenant{},
			&concentratorv1.Tenant{Limits: &concentratorv1.Tenant_Limits{MaxSessionsPerUser: 2}},
		},
		{
			"JSON spelling, below a message that is not there yet",
			[]string{"limits.halfOpenPerSource"},
			&concentratorv1.Tenant{},
			&concentratorv1.Tenant{Limits: &concentratorv1.Tenant_Limits{HalfOpenPerSource: &five}},
			&concentratorv1.Tenant{Limits: &concentratorv1.Tenant_Limits{HalfOpenPerSource: &five}},
		},
		{
			"name and output fields are left alone",
			[]string{"name", "createTime", "display_name"},
			&concentratorv1.Tenant{Name: "tenants/acme", CreateTime: timestamppb.New(timestamppb.Now().AsTime().Truncate(0))},
			&concentratorv1.Tenant{Name: "tenants/other", DisplayName: "x"},
			nil,
		},
		{
			"a duration is one field",
			[]string{"echo.interval"},
			&concentratorv1.Profile{Echo: &concentratorv1.Profile_Echo{Failures: 4}},
			&concentratorv1.Profile{Echo: &concentratorv1.Profile_Echo{Interval: durationpb.New(5e9), Failures: 9}},
			&concentratorv1.Profile{Echo: &concentratorv1.Profile_Echo{Interval: durationpb.New(5e9), Failures: 4}},
		},
		{
			"nothing below a message on both sides",
			[]string{"echo.failures"},
			&concentratorv1.Profile{},
			&concentratorv1.Profile{},
			&concentratorv1.Profile{},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.after == nil {
				c.after = proto.Clone(c.dst)
				c.after.(*concentratorv1.Tenant).DisplayName = "x"
			}
			paths, err := resolveMask(&fieldmaskpb.FieldMask{Paths: c.mask}, c.src)
			if err != nil {
				t.Fatal(err)
			}
			applyMask(c.dst, c.src, paths)
			if !proto.Equal(c.dst, c.after) {
				t.Errorf("got  %v\nwant %v", c.dst, c.after)
			}
		})
	}
}

func TestMaskErrors(t *testing.T) {
	for mask, want := range map[string]string{
		"colour":                 "there are displayName, realms",
		"limits.colour":          "there are maxSessions",
		"realms.0":               "realms has no fields",
		"ipsec.psks.secret":      "psks has no fields",
		"displayName.x":          "displayName has no fields",
		"*,displayName":          "stands alone",
		"":                       "no field",
		"limits..maxSessions":    "no field",
		"authentication.backend": "",
	} {
		_, err := resolveMask(&fieldmaskpb.FieldMask{Paths: strings.Split(mask, ",")}, &concentratorv1.Tenant{DisplayName: "x"})
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", mask, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || failureOf(err).fields[0] != "updateMask"):
			t.Errorf("%q: got %v, want something with %q", mask, err, want)
		}
	}
}
