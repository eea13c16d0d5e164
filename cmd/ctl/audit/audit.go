// Package audit has the verb that only the audit trail has: has anybody been at it?
package audit

import (
	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
	"concentrator/cmd/ctl/resource"
)

// Command makes the noun's command.
func Command(e *env.Env) *cobra.Command { return resource.ByName("audit").Command(e, verify(e)) }
