package resource

import (
	"fmt"

	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

func importUsers(e *env.Env) *cobra.Command {
	var file, existing string
	var dryRun, detach bool
	cmd := &cobra.Command{
		Use: "import -f FILE", Short: "Make and change the users of --tenant by a table", Args: env.Args(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		Long: `Makes and changes users by a table in CSV whose first line names the columns: user, and any of password, profile,
staticAddress, framedRoutes (separated by spaces), disabled, maxSessions, expireTime. The table is checked whole before the
first user is written. The concentrator does it by itself, even if it starts anew meanwhile.

The exit code is 1 when there are lines that could not be done; they are said one by one.`,
		RunE: e.Verb(func(cmd *cobra.Command, _ []string) error {
			if file == "" || e.Tenant() == "" {
				return fmt.Errorf("%w: import needs --tenant, and -f FILE, or -f - for the standard input", env.ErrUsage)
			}
			what, err := Word[pb.ImportUsersRequest_Existing]("existing", existing)
			if err != nil {
				return err
			}
			text, err := e.Read(file)
			if err != nil {
				return err
			}
			op, err := pb.NewUserServiceClient(e.Conn).ImportUsers(cmd.Context(), &pb.ImportUsersRequest{
				Parent: e.Tenant(), Csv: string(text), Existing: what, ValidateOnly: dryRun,
			})
			if err != nil {
				return err
			}
			return e.Operation(cmd.Context(), op, detach)
		}),
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the table; - is the standard input")
	cmd.Flags().StringVar(&existing, "existing", "",
		"what is done with users that are there: "+words(pb.ImportUsersRequest_Existing(0))+"; default FAIL")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check only")
	cmd.Flags().BoolVar(&detach, "detach", false, "do not wait for the end")
	CompleteWords(cmd, new(pb.ImportUsersRequest).ProtoReflect().Descriptor())
	return cmd
}
