// Package instance has the verbs of the instance itself.
package instance

import (
	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

var columns = []env.Column{
	env.Name("NAME", 0), env.Field("VERSION", "version"), env.Field("SINCE", "start_time"),
	env.Field("SESSIONS", "sessions"), env.Field("MOST", "max_sessions"), env.Field("SHARDS", "shards").OnlyWide(),
	env.Field("REENCRYPTING", "reencrypting").OnlyWide(),
}

// Command makes the noun's command.
func Command(e *env.Env) *cobra.Command {
	return env.Noun("instance", "The instance itself: version, shards, slots", list(e), get(e), reencrypt(e))
}

// fullName makes an instance's resource name of the argument; that of the one that answers if there is none.
func fullName(args []string) string {
	if len(args) == 0 {
		return "instances/-"
	}
	return "instances/" + args[0]
}

func list(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the instances", Args: env.Args(0, 0),
		RunE: e.Verb(func(cmd *cobra.Command, _ []string) error {
			r, err := pb.NewInstanceServiceClient(e.Conn).ListInstances(cmd.Context(), &pb.ListInstancesRequest{})
			if err != nil {
				return err
			}
			return e.PrintList(r, columns)
		}),
	}
}

func get(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use: "get [NAME]", Short: "Show an instance; without a name the one that answers", Args: env.Args(0, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			r, err := pb.NewInstanceServiceClient(e.Conn).GetInstance(cmd.Context(), &pb.GetInstanceRequest{Name: fullName(args)})
			if err != nil {
				return err
			}
			return e.Print(r, columns)
		}),
	}
}
