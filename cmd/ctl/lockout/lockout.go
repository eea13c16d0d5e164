// Package lockout has the verbs of lockouts: whose log-ins are held up after failed ones.
package lockout

import (
	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

var columns = []env.Column{
	env.Name("TENANT", 1), env.Name("NAME", 0), env.Field("KIND", "kind"), env.Field("SUBJECT", "subject"),
	env.Field("CLIENT", "client_address"), env.Field("FAILURES", "failures"), env.Field("UNTIL", "until"),
}

// Command makes the noun's command.
func Command(e *env.Env) *cobra.Command {
	return env.Noun("lockout", "Whose log-ins are held up after failed ones", list(e), lift(e))
}

// all reads the lockouts of all tenants, or of --tenant.
func all(cmd *cobra.Command, e *env.Env) (*pb.ListLockoutsResponse, error) {
	out := new(pb.ListLockoutsResponse)
	for token := ""; ; {
		page, err := pb.NewLockoutServiceClient(e.Conn).ListLockouts(cmd.Context(), &pb.ListLockoutsRequest{
			Parent: e.Parent(), PageSize: 1000, PageToken: token,
		})
		if err != nil {
			return nil, err
		}
		out.Lockouts = append(out.Lockouts, page.GetLockouts()...)
		if token = page.GetNextPageToken(); token == "" {
			return out, nil
		}
	}
}
