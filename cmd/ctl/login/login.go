// Package login has the verb that only login attempts have: why did this login fail?
package login

import (
	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
	"concentrator/cmd/ctl/resource"
)

// Command makes the noun's command.
func Command(e *env.Env) *cobra.Command { return resource.ByName("login").Command(e, explain(e)) }
