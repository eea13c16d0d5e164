package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
)

// completion makes the noun whose verbs print what a shell needs to complete nouns, verbs, flags, and the names that there
// are.
func completion(e *env.Env) *cobra.Command {
	var verbs []*cobra.Command
	for _, shell := range []struct {
		name, load, needs string
		write             func(root *cobra.Command, to io.Writer) error
	}{
		{"bash", "source <(ctl completion bash)", " It needs the package bash-completion.", func(c *cobra.Command, to io.Writer) error { return c.GenBashCompletionV2(to, true) }},
		{"zsh", "source <(ctl completion zsh)", "", (*cobra.Command).GenZshCompletion},
		{"fish", "ctl completion fish | source", "", func(c *cobra.Command, to io.Writer) error { return c.GenFishCompletion(to, true) }},
	} {
		verbs = append(verbs, &cobra.Command{
			Use: shell.name, Short: "Print what " + shell.name + " needs to complete ctl", Args: env.Args(0, 0),
			Long: fmt.Sprintf(`Print what %s needs to complete ctl.%s For this shell alone:

  %s

Names are asked of the API that the flags, the environment and the file say.`, shell.name, shell.needs, shell.load),
			ValidArgsFunction: cobra.NoFileCompletions,
			RunE:              func(cmd *cobra.Command, _ []string) error { return shell.write(cmd.Root(), e.Out) },
		})
	}
	return env.Noun("completion", "Completion of commands, flags and names for a shell", verbs...)
}
