// Package apply has the verb that brings resources to what documents say.
package apply

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
	"concentrator/internal/manifest"
)

// Command makes `ctl apply`.
func Command(e *env.Env) *cobra.Command {
	var file string
	var dryRun, prune bool
	cmd := &cobra.Command{
		Use: "apply -f FILE", Short: "Bring resources to what a file of YAML documents says", Args: env.Args(0, 0),
		Long: `Brings resources to what a file of YAML documents says: creates what is missing, changes what differs, leaves the
rest alone. Each document has a kind, a name and the resource's fields, in any order. A field that a document leaves
out goes back to its default; a secret that it leaves out stays.

--prune also deletes what stands below the tenants that the file describes and is not in it.

Below each change stand the live sessions that it ends, and those that go on under other rules; a change without such a
list leaves all of them alone.`,
		RunE: e.Verb(func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return fmt.Errorf("%w: apply needs -f FILE, or -f - for the standard input", env.ErrUsage)
			}
			text, err := e.Read(file)
			if err != nil {
				return err
			}
			docs, err := manifest.Parse(file, text)
			if err != nil {
				return err
			}
			plan, err := manifest.Plan(cmd.Context(), e.Client(), docs, prune)
			if err != nil {
				return err
			}
			if err := manifest.FindSessions(cmd.Context(), e.Client(), plan); err != nil {
				return err
			}
			return manifest.Apply(cmd.Context(), e.Client(), plan, dryRun, func(c manifest.Change, err error) {
				if err == nil {
					fmt.Fprintln(e.Out, describe(c, dryRun))
					fmt.Fprint(e.Out, e.Touched("  ", dryRun, "would end", "ends", c.Ends),
						e.Touched("  ", dryRun, "would change the rules of", "changes the rules of", c.Alters))
				}
			})
		}),
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "YAML documents; - is the standard input")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be done and change nothing")
	cmd.Flags().BoolVar(&prune, "prune", false, "delete what the file does not have, below its tenants")
	return cmd
}

func describe(c manifest.Change, dryRun bool) string {
	text := fmt.Sprintf("%s: %sd", c.Name, c.Action)
	if c.Action == manifest.Unchanged {
		return c.Name + ": unchanged"
	}
	if dryRun {
		text = fmt.Sprintf("%s: would %s", c.Name, c.Action)
	}
	if len(c.Fields) > 0 {
		text += " " + strings.Join(c.Fields, ", ")
	}
	return text
}
