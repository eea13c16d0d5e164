// Package accounting has the verbs of accounting: how its records get on, and which of them wait.
package accounting

import (
	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
)

// Command makes the noun's command.
func Command(e *env.Env) *cobra.Command {
	return env.Noun("accounting", "Accounting records on their way to the RADIUS servers or the file", status(e), list(e))
}
