package accounting

import (
	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
	"concentrator/cmd/ctl/resource"
)

// status is the list of queues. That of one tenant is asked for by name: it is there even when it never had a record.
func status(e *env.Env) *cobra.Command {
	queue := resource.ByName("accounting-queue")
	cmd := queue.List(e)
	cmd.Use, cmd.Short = "status", "Show how the records of all tenants, or of --tenant, get on"
	all := cmd.RunE
	cmd.RunE = e.Verb(func(cmd *cobra.Command, args []string) error {
		if e.Tenant() == "" || narrowed(cmd) {
			return all(cmd, args)
		}
		q, err := pb.NewAccountingQueueServiceClient(e.Conn).GetAccountingQueue(cmd.Context(),
			&pb.GetAccountingQueueRequest{Name: e.Tenant() + "/accountingQueue"})
		if err != nil {
			return err
		}
		return e.PrintList(&pb.ListAccountingQueuesResponse{AccountingQueues: []*pb.AccountingQueue{q}}, queue.Columns)
	})
	return cmd
}

// narrowed says whether the list shall not simply be printed whole.
func narrowed(cmd *cobra.Command) bool {
	for _, flag := range []string{"filter", "order-by", "watch"} {
		if cmd.Flags().Changed(flag) {
			return true
		}
	}
	return false
}
