// Package login has the verbs of login attempts: why did this login fail?
package login

import (
	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
)

var columns = []env.Column{
	env.Field("TIME", "time"), env.Name("TENANT", 1), env.Field("USER", "user"), env.Field("PROTOCOL", "protocol"),
	env.Field("CLIENT", "client_address"), env.Field("OUTCOME", "outcome"), env.Field("STAGE", "stage"),
	env.Field("REASON", "reason"), env.Field("DETAIL", "detail"), env.Field("NAME", "name").OnlyWide(),
}

// Command makes the noun's command.
func Command(e *env.Env) *cobra.Command {
	return env.Noun("login", "Who logged in, who was refused, and why", list(e), explain(e))
}
