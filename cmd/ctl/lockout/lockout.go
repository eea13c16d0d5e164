// Package lockout has the verb that only lockouts have: lifting them.
package lockout

import (
	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
	"concentrator/cmd/ctl/resource"
)

var noun = resource.ByName("lockout")

// Command makes the noun's command.
func Command(e *env.Env) *cobra.Command { return noun.Command(e, lift(e)) }

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
