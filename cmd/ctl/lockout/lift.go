package lockout

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

// errNone is returned where there is nothing to lift.
var errNone = errors.New("no such lockout; see ctl lockout list")

func lift(e *env.Env) *cobra.Command {
	var user, source string
	cmd := &cobra.Command{
		Use: "lift [NAME...]", Short: "Let log-ins be again: the failures behind lockouts are forgotten", Args: env.Args(0, 1000),
		ValidArgsFunction: noun.Complete(e, 1000),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			names, err := named(cmd, e, args, user, source)
			if err != nil {
				return err
			}
			for _, name := range names {
				if _, err := pb.NewLockoutServiceClient(e.Conn).DeleteLockout(cmd.Context(),
					&pb.DeleteLockoutRequest{Name: name}); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if _, err := fmt.Fprintf(e.Err, "%s is lifted\n", name); err != nil {
					return err
				}
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&user, "user", "", "those of this login name, from everywhere")
	cmd.Flags().StringVar(&source, "source", "", "that of this client address")
	return cmd
}

// named makes resource names of the arguments, or finds those of a user or a source.
func named(cmd *cobra.Command, e *env.Env, args []string, user, source string) (names []string, err error) {
	if (len(args) > 0) == (user != "" || source != "") {
		return nil, fmt.Errorf("%w: give names, or --user or --source", env.ErrUsage)
	}
	for _, arg := range args {
		name, err := noun.FullName(e, nil, arg)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	if len(args) > 0 {
		return names, nil
	}
	found, err := all(cmd, e)
	if err != nil {
		return nil, err
	}
	for _, l := range found.GetLockouts() {
		ofUser := user != "" && l.GetKind() == pb.Lockout_USER && strings.EqualFold(l.GetSubject(), user)
		ofSource := source != "" && l.GetKind() == pb.Lockout_SOURCE && l.GetSubject() == source
		if ofUser || ofSource {
			names = append(names, l.GetName())
		}
	}
	if len(names) == 0 {
		return nil, errNone
	}
	return names, nil
}
