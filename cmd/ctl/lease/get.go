package lease

import (
	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

func get(e *env.Env) *cobra.Command {
	var pool string
	return poolFlag(&cobra.Command{
		Use: "get ADDRESS", Short: "Show one lease", Args: env.Args(1, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			name, err := fullName(e, pool, args[0])
			if err != nil {
				return err
			}
			l, err := pb.NewLeaseServiceClient(e.Conn).GetLease(cmd.Context(), &pb.GetLeaseRequest{Name: name})
			if err != nil {
				return err
			}
			return e.Print(l, columns)
		}),
	}, &pool, "the address's pool")
}
