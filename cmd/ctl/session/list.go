package session

import (
	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

func list(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the live sessions, of all tenants or of --tenant", Args: env.Args(0, 0),
		RunE: e.Verb(func(cmd *cobra.Command, _ []string) error {
			all := new(pb.ListSessionsResponse)
			for token := ""; ; {
				page, err := pb.NewSessionServiceClient(e.Conn).ListSessions(cmd.Context(),
					&pb.ListSessionsRequest{Parent: e.Parent(), PageSize: 1000, PageToken: token})
				if err != nil {
					return err
				}
				all.Sessions = append(all.Sessions, page.GetSessions()...)
				if token = page.GetNextPageToken(); token == "" {
					return e.PrintList(all, columns)
				}
			}
		}),
	}
}
