package resource

import (
	"fmt"

	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
	"concentrator/internal/manifest"
)

func remove(e *env.Env, n noun, k manifest.Kind) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use: "delete NAME", Short: "Delete a " + n.name, Args: env.Args(1, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			name, err := named(e, k, args[0])
			if err != nil {
				return err
			}
			if err := e.Client().Delete(cmd.Context(), k, name, dryRun); err != nil {
				return err
			}
			_, err = fmt.Fprintf(e.Err, "%s %s\n", name, map[bool]string{false: "deleted", true: "could be deleted"}[dryRun])
			return err
		}),
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check only")
	return cmd
}
