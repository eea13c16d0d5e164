package lease

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

func list(e *env.Env) *cobra.Command {
	pool, user, state := "-", "", ""
	cmd := &cobra.Command{
		Use: "list", Args: env.Args(0, 0),
		Short: "List the leases, of all tenants or of --tenant, those that are remembered too",
		RunE: e.Verb(func(cmd *cobra.Command, _ []string) error {
			r := &pb.ListLeasesRequest{Parent: poolName(e, pool), PageSize: 1000, User: user}
			if pool != "-" && r.GetParent() == "tenants/-/pools/"+pool {
				return fmt.Errorf("%w: --pool %s needs --tenant, or the pool's full name", env.ErrUsage, pool)
			}
			if state != "" {
				n, ok := pb.Lease_State_value[strings.ToUpper(state)]
				if !ok || n == 0 {
					return fmt.Errorf("%w: --state %q is not LEASED, QUARANTINED or RELEASED", env.ErrUsage, state)
				}
				r.State = pb.Lease_State(n)
			}
			all := new(pb.ListLeasesResponse)
			for {
				page, err := pb.NewLeaseServiceClient(e.Conn).ListLeases(cmd.Context(), r)
				if err != nil {
					return err
				}
				all.Leases = append(all.Leases, page.GetLeases()...)
				if r.PageToken = page.GetNextPageToken(); r.GetPageToken() == "" {
					return e.PrintList(all, columns)
				}
			}
		}),
	}
	cmd.Flags().StringVar(&user, "user", "", "only those of this user")
	cmd.Flags().StringVar(&state, "state", "", "only those in this state: LEASED, QUARANTINED or RELEASED")
	return poolFlag(cmd, &pool, "only those of this pool")
}
