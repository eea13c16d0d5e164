package accounting

import (
	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

var queueColumns = []env.Column{
	env.Part("TENANT", 1), env.Field("UNSENT", "unsent"), env.Field("OLDEST", "oldest_time"),
	env.Field("LIVE", "live_sessions"), env.Field("SENT", "sent"), env.Field("DROPPED", "dropped"),
	env.Field("FAILURES", "failures"), env.Field("LAST SENT", "last_sent_time"), env.Field("LAST ERROR", "last_error"), env.Field("BYTES", "unsent_bytes").OnlyWide(),
}

func status(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show how the records of all tenants, or of --tenant, get on", Args: env.Args(0, 0),
		RunE: e.Verb(func(cmd *cobra.Command, _ []string) error {
			client := pb.NewAccountingQueueServiceClient(e.Conn)
			if t := e.Tenant(); t != "" {
				// Also of a tenant that had no record yet.
				name := t + "/accountingQueue"
				q, err := client.GetAccountingQueue(cmd.Context(), &pb.GetAccountingQueueRequest{Name: name})
				if err != nil {
					return err
				}
				return e.PrintList(&pb.ListAccountingQueuesResponse{AccountingQueues: []*pb.AccountingQueue{q}}, queueColumns)
			}
			all := new(pb.ListAccountingQueuesResponse)
			for token := ""; ; {
				page, err := client.ListAccountingQueues(cmd.Context(), &pb.ListAccountingQueuesRequest{
					Parent: e.Parent(), PageSize: 1000, PageToken: token,
				})
				if err != nil {
					return err
				}
				all.AccountingQueues = append(all.AccountingQueues, page.GetAccountingQueues()...)
				if token = page.GetNextPageToken(); token == "" {
					return e.PrintList(all, queueColumns)
				}
			}
		}),
	}
}
