package instance

import (
	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
	"concentrator/cmd/ctl/operation"
)

func backup(e *env.Env) *cobra.Command {
	var file string
	var force, keep bool
	cmd := &cobra.Command{
		Use: "backup [NAME] --file FILE", Short: "Make a backup and fetch it; without a name that of the instance that answers",
		Long: `Make a backup of all that the instance keeps, and fetch it into a file: resources with their secrets as they are sealed at rest,
leases, failed log-ins, accounting records that nobody has acknowledged. Sessions, logins and changes go on meanwhile.

The key file (key_file) is not in it: keep a copy elsewhere, for without it nothing of the backup can be used.
"concentrator restore FILE" lays it into an empty state directory.`,
		Args: env.Args(0, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			if err := operation.CheckFile(e, file, force); err != nil {
				return err
			}
			op, err := pb.NewInstanceServiceClient(e.Conn).BackupInstance(cmd.Context(), &pb.BackupInstanceRequest{Name: fullName(args)})
			if err != nil {
				return err
			}
			if op, err = e.Follow(cmd.Context(), op); err != nil {
				return err
			}
			if err := operation.Fetch(cmd.Context(), e, op, file); err != nil || keep {
				return err
			}
			_, err = pb.NewOperationServiceClient(e.Conn).DeleteOperation(cmd.Context(), &pb.DeleteOperationRequest{Name: op.GetName()})
			return err
		}),
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "where to put it; - for the standard output")
	cmd.Flags().BoolVar(&force, "force", false, "replace the file if it exists")
	cmd.Flags().BoolVar(&keep, "keep", false, "leave it on the instance too, to be fetched again")
	return cmd
}
