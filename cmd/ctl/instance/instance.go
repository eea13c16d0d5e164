// Package instance has the verbs that only the instance has: its drain, its backup, a new key for its secrets.
package instance

import (
	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
	"concentrator/cmd/ctl/resource"
)

var noun = resource.ByName("instance")

// Command makes the noun's command.
func Command(e *env.Env) *cobra.Command {
	return noun.Command(e, drain(e), undrain(e), reencrypt(e), backup(e))
}

// fullName makes an instance's resource name of the argument; that of the one that answers if there is none.
func fullName(args []string) string {
	if len(args) == 0 {
		return noun.Alone
	}
	return "instances/" + args[0]
}
