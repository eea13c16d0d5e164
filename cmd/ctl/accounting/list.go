package accounting

import (
	"fmt"

	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
	"concentrator/cmd/ctl/resource"
)

// list is that of records, with a flag that says which: a queue of days may hold a million.
func list(e *env.Env) *cobra.Command {
	var unsent bool
	cmd := resource.ByName("accounting-record").List(e)
	all := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !unsent {
			return fmt.Errorf("%w: only records that wait are kept: --unsent can't be false", env.ErrUsage)
		}
		return all(cmd, args)
	}
	cmd.Flags().BoolVar(&unsent, "unsent", true, "those that nobody has acknowledged yet; others are not kept")
	return cmd
}
