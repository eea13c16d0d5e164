package accounting

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

var recordColumns = []env.Column{
	env.Part("TENANT", 1), env.Name("RECORD", 0), env.Field("TIME", "time"), env.Field("KIND", "kind"), env.Field("USER", "user"),
	env.Field("SESSION", "session"), env.Field("ADDRESS", "address"), env.Field("IN", "in_bytes"), env.Field("OUT", "out_bytes"),
	env.Field("DURATION", "session_time"), env.Field("REASON", "reason"),
	env.Field("ATTEMPTS", "attempts"), env.Field("CRASHED", "crashed").OnlyWide(),
	env.Field("IN PACKETS", "in_packets").OnlyWide(), env.Field("OUT PACKETS", "out_packets").OnlyWide(),
}

// defaultLimit is how many records are listed where nothing else is said: a queue of days may hold a million.
const defaultLimit = 1000

func list(e *env.Env) *cobra.Command {
	var unsent bool
	var limit int
	cmd := &cobra.Command{
		Use: "list", Args: env.Args(0, 0),
		Short: "List the records that wait, of all tenants or of --tenant, the oldest first",
		RunE: e.Verb(func(cmd *cobra.Command, _ []string) error {
			if !unsent {
				return fmt.Errorf("%w: only records that wait are kept: --unsent can't be false", env.ErrUsage)
			}
			if limit < 0 {
				return fmt.Errorf("%w: --limit %d is negative", env.ErrUsage, limit)
			}
			client, all := pb.NewAccountingQueueServiceClient(e.Conn), new(pb.ListAccountingRecordsResponse)
			for token := ""; ; {
				size := 1000
				if limit > 0 {
					size = min(size, limit-len(all.GetRecords()))
				}
				page, err := client.ListAccountingRecords(cmd.Context(), &pb.ListAccountingRecordsRequest{
					Parent: e.Parent() + "/accountingQueue", PageSize: int32(size), PageToken: token,
				})
				if err != nil {
					return err
				}
				all.Records = append(all.Records, page.GetRecords()...)
				token = page.GetNextPageToken()
				if full := limit > 0 && len(all.GetRecords()) >= limit; token == "" || full {
					err := e.PrintList(all, recordColumns)
					if token != "" {
						_, talk := fmt.Fprintf(e.Err, "There are more than these %d; --limit 0 lists all.\n", limit)
						err = errors.Join(err, talk)
					}
					return err
				}
			}
		}),
	}
	cmd.Flags().BoolVar(&unsent, "unsent", true, "those that nobody has acknowledged yet; others are not kept")
	cmd.Flags().IntVar(&limit, "limit", defaultLimit, "at most so many; 0 is all")
	return cmd
}
