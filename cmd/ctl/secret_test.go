package main

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "concentrator/api/gen/concentrator/v1"
)

func TestReencrypt(t *testing.T) {
	a := newAPI()
	code, out, errs := ctl(t, a, "", nil, "instance", "reencrypt")
	if code != 0 || !strings.Contains(out, "SUCCEEDED") {
		t.Errorf("exit %d, %q, got\n%s", code, errs, out)
	}
	if code, out, _ = ctl(t, a, "", nil, "instance", "reencrypt", "vpn-1", "-o", "json"); code != 0 || !strings.Contains(out, `"done": "5"`) {
		t.Errorf("-o json: exit %d, %s", code, out)
	}
	if want := []string{"instances/-", "instances/vpn-1"}; !slices.Equal(a.reencrypted, want) {
		t.Errorf("asked for %q, want %q", a.reencrypted, want)
	}
}

func TestPSKs(t *testing.T) {
	a := newAPI()
	code, out, errs := ctl(t, a, "", nil, "tenant", "rotate-psk", "acme", "--id", "spring")
	if code != 0 || !strings.Contains(out, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") || !strings.Contains(out, "shown only now") {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
	if a.rotated.GetName() != "tenants/acme" || a.rotated.GetPskId() != "spring" {
		t.Errorf("asked for %v", a.rotated)
	}
	a.tenant = &pb.Tenant{Name: "tenants/acme", Ipsec: &pb.Tenant_Ipsec{Psks: []*pb.Tenant_Ipsec_Psk{
		{Id: "old"}, {Id: "new", UseCount: 3, LastUseTime: timestamppb.New(exampleTime)},
	}}}
	code, out, errs = ctl(t, a, "", nil, "tenant", "psks", "acme")
	if want := "ID   USES  LAST USE\nold  0     -\nnew  3     2030-01-31T12:00:00Z\n"; code != 0 || out != want {
		t.Errorf("exit %d, %q, got\n%s\nwant\n%s", code, errs, out, want)
	}
}
