package resource

import (
	"errors"
	"testing"

	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"concentrator/cmd/ctl/env"
	"concentrator/internal/manifest"
)

func TestExplain(t *testing.T) {
	k, err := manifest.KindOf("Tenant")
	if err != nil {
		t.Fatal(err)
	}
	f := addFields(&cobra.Command{}, &env.Env{}, k)
	for field, want := range map[string]string{
		"limits.maxSessions": "--limits.max-sessions: wrong", "realms[1]": "--realms[1]: wrong", "ipsec.psks[0].secret": "--ipsec.psks[0].secret: wrong",
		"displayName": "--display-name: wrong",
	} {
		st, err := status.New(codes.InvalidArgument, "bad").WithDetails(&errdetails.BadRequest{
			FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: "wrong"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := f.explain(st.Err()).Error(); got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
	for _, other := range []error{errors.New("plain"), status.Error(codes.NotFound, "gone")} {
		if got := f.explain(other); !errors.Is(got, other) {
			t.Errorf("%v became %v", other, got)
		}
	}
}
