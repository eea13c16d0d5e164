// Package top has `ctl top`: what goes on, live, on the whole of a terminal. It asks the API again and again (sample.go), makes
// rates of two answers (rate.go), and draws one of six views of them (views.go, rows.go, view.go). A caller that is bound to a tenant
// sees of each view what it may see. A connection that is lost is said and made anew; what was there stays on the screen.
package top

import (
	"errors"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
)

// Command makes `ctl top`.
func Command(e *env.Env) *cobra.Command {
	var interval time.Duration
	cmd := &cobra.Command{
		Use: "top", Short: "Watch sessions, shards, drops, RADIUS and log-ins live, on the whole terminal", Args: env.Args(0, 0),
		Long: `Shows what goes on, live, on the whole of a terminal: sessions by traffic, shards, drops by reason, RADIUS servers, the accounting
queue and the last log-ins, of all tenants or of --tenant. Keys: ? shows them all, q ends.`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: e.Verb(func(cmd *cobra.Command, _ []string) error {
			if e.Width(e.In) == 0 || e.Width(e.Out) == 0 {
				return fmt.Errorf("%w: top needs a terminal; for programs there is ctl session list -o json", env.ErrUsage)
			}
			if interval < least {
				return fmt.Errorf("%w: --interval %s is less than %s", env.ErrUsage, interval, least)
			}
			p := tea.NewProgram(newModel(cmd.Context(), e, interval), tea.WithContext(cmd.Context()), tea.WithInput(e.In),
				tea.WithOutput(e.Out), tea.WithoutSignalHandler()) // ctx ends with a signal
			_, err := p.Run()
			if errors.Is(err, tea.ErrProgramKilled) && cmd.Context().Err() != nil {
				return nil
			}
			return err
		}),
	}
	cmd.Flags().DurationVar(&interval, "interval", 2*time.Second, "how often the API is asked")
	return cmd
}

// least is the shortest time between two samples: a list of a thousand sessions is work for the API.
const least = 500 * time.Millisecond
