// Package lease has the verbs of leases: who has which address, and who had it last.
package lease

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
)

var columns = []env.Column{
	env.Name("TENANT", 2), env.Name("POOL", 1), env.Name("ADDRESS", 0), env.Field("USER", "user"), env.Field("STATE", "state"),
	env.Field("SESSION", "session"), env.Field("LEASED", "lease_time"), env.Field("RELEASED", "release_time"),
	env.Field("QUARANTINE UNTIL", "expire_time"), env.Field("STATIC", "static").OnlyWide(),
}

// Command makes the noun's command.
func Command(e *env.Env) *cobra.Command {
	return env.Noun("lease", "Which address of a pool who has, or had last", list(e), get(e), release(e))
}

// fullName makes a lease's resource name of an argument: a full name, or the address with --tenant and --pool.
func fullName(e *env.Env, pool, arg string) (string, error) {
	if strings.HasPrefix(arg, "tenants/") {
		return arg, nil
	}
	if pool == "" || e.Tenant() == "" && !strings.HasPrefix(pool, "tenants/") {
		return "", fmt.Errorf("%w: name the lease in full, tenants/{tenant}/pools/{pool}/leases/{address}, or give --tenant and --pool",
			env.ErrUsage)
	}
	return poolName(e, pool) + "/leases/" + arg, nil
}

// poolName makes a pool's resource name of --pool, which may be a full name, the last part, or "-" for all.
func poolName(e *env.Env, pool string) string {
	if strings.HasPrefix(pool, "tenants/") {
		return pool
	}
	return e.Parent() + "/pools/" + pool
}

func poolFlag(cmd *cobra.Command, pool *string, usage string) *cobra.Command {
	cmd.Flags().StringVar(pool, "pool", *pool, usage)
	return cmd
}
