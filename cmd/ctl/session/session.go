// Package session has the verbs that only live sessions have.
package session

import (
	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
	"concentrator/cmd/ctl/resource"
)

var noun = resource.ByName("session")

// Command makes the noun's command.
func Command(e *env.Env) *cobra.Command {
	return noun.Command(e, disconnect(e), capture(e))
}

// fullName makes a session's resource name of an argument: a full name, or the last part and --tenant.
func fullName(e *env.Env, arg string) (string, error) { return noun.FullName(e, nil, arg) }
