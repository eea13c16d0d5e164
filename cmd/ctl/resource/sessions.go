package resource

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"concentrator/cmd/ctl/env"
	"concentrator/internal/manifest"
)

// ErrNo is returned when somebody was asked, and did not say yes: exit code 1.
var ErrNo = errors.New("nothing was done: the answer was no")

// mayEnd says whether a change of the noun may end live sessions, or bring other rules to them.
func (n *Noun) mayEnd() bool {
	switch n.Kind {
	case tenantKind, "Listener", "Profile", "Acl":
		return true
	}
	return false
}

// sessions says on Err which live sessions a change touches, and asks on a terminal whether those may be ended. A caller who
// may not see sessions is not told and not asked.
func (n *Noun) sessions(cmd *cobra.Command, e *env.Env, c manifest.Change, dryRun, yes bool) error {
	plan := []manifest.Change{c}
	if err := manifest.FindSessions(cmd.Context(), e.Client(), plan); err != nil {
		if code := status.Code(err); code == codes.PermissionDenied || code == codes.NotFound {
			return nil
		}
		return err
	}
	c = plan[0]
	text := e.Touched("  ", dryRun, "would end", "ends", c.Ends) +
		e.Touched("  ", dryRun, "would change the rules of", "changes the rules of", c.Alters)
	if text == "" {
		return nil
	}
	if _, err := fmt.Fprintf(e.Err, "%s %s\n%s", c.Action, c.Name, text); err != nil {
		return err
	}
	if len(c.Ends) == 0 || dryRun || yes {
		return nil
	}
	ok, err := e.Confirm(fmt.Sprintf("%s %s, and end %d of its sessions?", c.Action, c.Name, len(c.Ends)))
	if err != nil {
		return err
	}
	if !ok {
		return ErrNo
	}
	return nil
}
