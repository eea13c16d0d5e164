package resource

import (
	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
	"concentrator/internal/manifest"
)

func (n *Noun) create(e *env.Env, k manifest.Kind) *cobra.Command {
	var dryRun bool
	var f *fields
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Create " + n.one(), Args: env.Args(1, 1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			name, err := n.FullName(e, nil, args[0])
			if err != nil {
				return err
			}
			r, _, err := f.resource(e, k, name)
			if err != nil {
				return err
			}
			made, err := e.Client().Create(cmd.Context(), k, name, r, dryRun)
			if err != nil {
				return f.explain(err)
			}
			return e.Print(made, n.Columns)
		}),
	}
	f = addFields(cmd, e, k)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check only")
	return cmd
}
