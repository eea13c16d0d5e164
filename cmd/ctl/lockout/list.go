package lockout

import (
	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
)

func list(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the lockouts of all tenants, or of --tenant", Args: env.Args(0, 0),
		RunE: e.Verb(func(cmd *cobra.Command, _ []string) error {
			found, err := all(cmd, e)
			if err != nil {
				return err
			}
			return e.PrintList(found, columns)
		}),
	}
}
