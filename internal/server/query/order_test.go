package query

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
)

// sortedNames is the names of resources in an order.
func sortedNames[M interface {
	proto.Message
	GetName() string
}](t *testing.T, orderBy string, list ...M) string {
	t.Helper()
	o, err := ParseOrder(list[0].ProtoReflect().Descriptor(), orderBy)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(list, func(a, b M) int { return strings.Compare(o.Place(a, a.GetName()), o.Place(b, b.GetName())) })
	var names []string
	for _, m := range list {
		names = append(names, m.GetName())
	}
	return strings.Join(names, " ")
}

func TestOrder(t *testing.T) {
	at := func(seconds, nanos int64) *timestamppb.Timestamp { return timestamppb.New(time.Unix(seconds, nanos)) }
	sessions := []*concentratorv1.Session{
		{Name: "a", User: "b", State: concentratorv1.Session_OPEN, InBytes: 10, StartTime: at(100, 5)},
		{Name: "b", User: "ab", State: concentratorv1.Session_CLOSING, InBytes: 2, StartTime: at(100, 4), NatDetected: true},
		{Name: "c", User: "a", State: concentratorv1.Session_OPEN, InBytes: -1, StartTime: at(-5, 0), IdleTime: durationpb.New(1)},
		{Name: "d", User: "a\x00", State: concentratorv1.Session_ESTABLISHING, InBytes: 1 << 40},
	}
	for orderBy, want := range map[string]string{
		"name":                      "a b c d",
		"name desc":                 "d c b a",
		"inBytes":                   "c b a d",
		"inBytes asc":               "c b a d",
		"in_bytes desc":             "d a b c",
		"user":                      "c d b a", // "a" < "a\x00" < "ab" < "b"
		"user desc":                 "a b d c",
		"state":                     "d a c b", // as declared; alike ones by name
		"state desc, inBytes":       "b c a d",
		" state ,  inBytes   desc ": "d a c b",
		"startTime":                 "d c b a", // unset first
		"startTime desc":            "a b c d",
		"natDetected desc":          "b a c d",
		"idleTime":                  "a b d c",
		"outBytes":                  "a b c d",
	} {
		if got := sortedNames(t, orderBy, slices.Clone(sessions)...); got != want {
			t.Errorf("%s: %s, want %s", orderBy, got, want)
		}
	}
	tenants := []*concentratorv1.Tenant{
		{Name: "a", Limits: &concentratorv1.Tenant_Limits{MaxSessions: 5}},
		{Name: "b"},
		{Name: "c", Limits: &concentratorv1.Tenant_Limits{}},
	}
	if got := sortedNames(t, "limits.maxSessions", tenants...); got != "b c a" {
		t.Errorf("a field of a field: %s", got)
	}
}

func TestOrderErrors(t *testing.T) {
	for text, want := range map[string]string{
		"usr":                           `no field "usr"; there are name, password`,
		"profile down":                  `is neither a field nor a field and desc`,
		"profile,":                      `is neither a field nor a field and desc`,
		"password":                      `password is never shown`,
		"framedRoutes":                  `holds more than one value`,
		"profile.name":                  `profile has no fields of its own`,
		"name,name,name,name,name":      `at most 512 and 4 are allowed`,
		strings.Repeat("x", maxOrder+1): `has 513 octets`,
	} {
		want = strings.Replace(want, "name, password", "name, profile", 1)
		_, err := ParseOrder((*concentratorv1.User)(nil).ProtoReflect().Descriptor(), text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %q", text, err, want)
		}
	}
	if _, err := ParseOrder((*concentratorv1.Tenant)(nil).ProtoReflect().Descriptor(), "limits"); err == nil || !strings.Contains(err.Error(), "compared by its fields") {
		t.Errorf("a message: %v", err)
	}
}
