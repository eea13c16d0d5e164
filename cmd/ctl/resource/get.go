package resource

import (
	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
	"concentrator/internal/manifest"
)

func get(e *env.Env, n noun, k manifest.Kind) *cobra.Command {
	return &cobra.Command{
		Use: "get NAME", Short: "Show one " + n.name, Args: env.Args(1, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			name, err := named(e, k, args[0])
			if err != nil {
				return err
			}
			r, err := e.Client().Get(cmd.Context(), k, name)
			if err != nil {
				return err
			}
			return e.Print(r, n.columns)
		}),
	}
}
