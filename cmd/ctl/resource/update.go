package resource

import (
	"fmt"

	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
	"concentrator/internal/manifest"
)

func (n *Noun) update(e *env.Env, k manifest.Kind) *cobra.Command {
	var dryRun, yes bool
	var etag string
	var f *fields
	cmd := &cobra.Command{
		Use: "update NAME", Short: "Change the fields of " + n.one() + " that are given", Args: env.Args(1, 1),
		ValidArgsFunction: n.Complete(e, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			name, err := n.FullName(e, nil, args[0])
			if err != nil {
				return err
			}
			r, mask, err := f.resource(e, k, name)
			if err != nil {
				return err
			}
			if len(mask) == 0 {
				return fmt.Errorf("%w: nothing to change: give at least one field", env.ErrUsage)
			}
			set(r.ProtoReflect(), "etag", etag)
			if n.mayEnd() {
				change, err := manifest.PlanUpdate(cmd.Context(), e.Client(), k, r, mask)
				if err != nil {
					return f.explain(err)
				}
				if err := n.sessions(cmd, e, change, dryRun, yes); err != nil {
					return err
				}
			}
			now, err := e.Client().Update(cmd.Context(), k, r, mask, dryRun)
			if err != nil {
				return f.explain(err)
			}
			return e.Print(now, n.Columns)
		}),
	}
	f = addFields(cmd, e, k)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check only")
	cmd.Flags().StringVar(&etag, "etag", "", "only if it is as it was with this etag")
	if n.mayEnd() {
		cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask, even if it ends sessions")
	}
	return cmd
}
