package resource

import (
	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
	"concentrator/internal/manifest"
)

func list(e *env.Env, n noun, k manifest.Kind) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List " + n.name + "s, of all tenants or of --tenant", Args: env.Args(0, 0),
		RunE: e.Verb(func(cmd *cobra.Command, _ []string) error {
			all, err := e.Client().All(cmd.Context(), k, e.Parent())
			if err != nil {
				return err
			}
			return e.PrintList(k.ListResponse(all), n.columns)
		}),
	}
}
