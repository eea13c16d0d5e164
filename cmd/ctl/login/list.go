package login

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

func list(e *env.Env) *cobra.Command {
	var user, peer, outcome string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List the last login attempts, the newest first", Args: env.Args(0, 0),
		RunE: e.Verb(func(cmd *cobra.Command, _ []string) error {
			want, ok := pb.LoginAttempt_Outcome_value[strings.ToUpper(outcome)]
			if outcome != "" && !ok {
				return fmt.Errorf("%w: --outcome %q is not ACCEPTED or REFUSED", env.ErrUsage, outcome)
			}
			all := new(pb.ListLoginAttemptsResponse)
			for token := ""; ; {
				page, err := pb.NewLoginAttemptServiceClient(e.Conn).ListLoginAttempts(cmd.Context(), &pb.ListLoginAttemptsRequest{
					Parent: e.Tenant(), PageSize: int32(min(limit, 1000)), PageToken: token,
					User: user, Peer: peer, Outcome: pb.LoginAttempt_Outcome(want),
				})
				if err != nil {
					return err
				}
				all.Logins = append(all.Logins, page.GetLogins()...)
				token = page.GetNextPageToken()
				if limit > 0 && len(all.GetLogins()) >= limit {
					all.Logins = all.GetLogins()[:limit]
					token = ""
				}
				if token == "" {
					return e.PrintList(all, columns)
				}
			}
		}),
	}
	cmd.Flags().StringVar(&user, "user", "", "only of this login name")
	cmd.Flags().StringVar(&peer, "peer", "", "only from this client address")
	cmd.Flags().StringVar(&outcome, "outcome", "", "only ACCEPTED or REFUSED")
	cmd.Flags().IntVar(&limit, "limit", 0, "at most so many; 0 is all that are kept")
	return cmd
}
