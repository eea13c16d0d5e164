package resource

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"

	"concentrator/cmd/ctl/env"
	"concentrator/internal/manifest"
)

// Delete makes the verb that removes some of the noun.
func (n *Noun) Delete(e *env.Env) *cobra.Command {
	var dryRun, yes bool
	var etag string
	m := apiOf(n.Kind).remove
	cmd := &cobra.Command{
		Use: "delete NAME...", Short: "Delete " + n.many(), Args: env.Args(1, 1000), ValidArgsFunction: n.Complete(e, 1000),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			for _, arg := range args {
				name, err := n.FullName(e, cmd.Flags(), arg)
				if err != nil {
					return err
				}
				if err := n.deleteOne(cmd, e, name, etag, dryRun, yes); err != nil {
					if !strings.Contains(err.Error(), name) {
						err = fmt.Errorf("%s: %w", name, err)
					}
					return err
				}
			}
			return nil
		}),
	}
	if m.Input().Fields().ByName("etag") != nil {
		cmd.Flags().StringVar(&etag, "etag", "", "only if it is as it was with this etag")
	}
	if m.Input().Fields().ByName("validate_only") != nil {
		cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check only")
	}
	if n.mayEnd() {
		cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask, even if it ends sessions")
	}
	n.addBetween(cmd.Flags(), "those")
	return cmd
}

func (n *Noun) deleteOne(cmd *cobra.Command, e *env.Env, name, etag string, dryRun, yes bool) error {
	if n.mayEnd() {
		k, err := manifest.KindOf(n.Kind)
		if err != nil {
			return err
		}
		if err := n.sessions(cmd, e, manifest.Change{Action: manifest.Delete, Kind: k, Name: name}, dryRun, yes); err != nil {
			return err
		}
	}
	m := apiOf(n.Kind).remove
	req := request(m)
	set(req, "name", name)
	set(req, "etag", etag)
	if f := m.Input().Fields().ByName("validate_only"); f != nil {
		req.Set(f, protoreflect.ValueOfBool(dryRun))
	}
	if _, err := call(cmd.Context(), e.Conn, m, req); err != nil {
		return err
	}
	what := "deleted"
	if dryRun {
		what = "could be deleted"
	}
	_, err := fmt.Fprintf(e.Err, "%s %s\n", name, what)
	return err
}
