package resource

import (
	"fmt"

	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
	"concentrator/internal/manifest"
)

// Commands makes the commands of the configured nouns.
func Commands(e *env.Env) []*cobra.Command {
	more := map[string]func(*env.Env, *Noun, manifest.Kind) []*cobra.Command{
		"radius-server": func(e *env.Env, n *Noun, _ manifest.Kind) []*cobra.Command { return []*cobra.Command{n.test(e)} },
		"tenant": func(e *env.Env, n *Noun, _ manifest.Kind) []*cobra.Command {
			return []*cobra.Command{n.psks(e), n.rotatePSK(e)}
		},
		"user": func(e *env.Env, _ *Noun, _ manifest.Kind) []*cobra.Command { return []*cobra.Command{importUsers(e)} },
	}
	var out []*cobra.Command
	for _, name := range configured {
		n := ByName(name)
		k, err := manifest.KindOf(n.Kind)
		if err != nil {
			panic(fmt.Sprintf("ctl: %s: %v", name, err)) // the table names a kind that documents do not have
		}
		var verbs []*cobra.Command
		if own := more[name]; own != nil {
			verbs = own(e, n, k)
		}
		out = append(out, n.Command(e, verbs...))
	}
	return out
}
