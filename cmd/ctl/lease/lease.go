// Package lease has the verb that only leases have: taking an address back.
package lease

import (
	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
	"concentrator/cmd/ctl/resource"
)

var noun = resource.ByName("lease")

// Command makes the noun's command.
func Command(e *env.Env) *cobra.Command { return noun.Command(e, release(e)) }
