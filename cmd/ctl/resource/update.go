package resource

import (
	"fmt"

	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
	"concentrator/internal/manifest"
)

func update(e *env.Env, n noun, k manifest.Kind) *cobra.Command {
	var dryRun bool
	var f *fields
	cmd := &cobra.Command{
		Use: "update NAME", Short: "Change the fields of a " + n.name + " that are given", Args: env.Args(1, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			name, err := named(e, k, args[0])
			if err != nil {
				return err
			}
			r, mask, err := f.resource(e, k, name)
			if err != nil {
				return err
			}
			if len(mask) == 0 {
				return fmt.Errorf("%w: nothing to change: give at least one field", env.ErrUsage)
			}
			now, err := e.Client().Update(cmd.Context(), k, r, mask, dryRun)
			if err != nil {
				return err
			}
			return e.Print(now, n.columns)
		}),
	}
	f = addFields(cmd.Flags(), k)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check only")
	return cmd
}
