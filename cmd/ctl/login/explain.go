package login

import (
	"fmt"

	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
	"concentrator/cmd/ctl/resource"
)

func explain(e *env.Env) *cobra.Command {
	var peer string
	cmd := &cobra.Command{
		Use: "explain USER", Short: "Show how the last login attempt of a user came about", Args: env.Args(1, 1),
		ValidArgsFunction: resource.ByName("user").Complete(e, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			page, err := pb.NewLoginAttemptServiceClient(e.Conn).ListLoginAttempts(cmd.Context(), &pb.ListLoginAttemptsRequest{
				Parent: e.Tenant(), PageSize: 1, User: args[0], Peer: peer, View: pb.LoginAttempt_FULL,
			})
			if err != nil {
				return err
			}
			if len(page.GetLogins()) == 0 {
				return fmt.Errorf("no login attempt of %q is known%s; see ctl login list", args[0], from(e, peer))
			}
			a := page.GetLogins()[0]
			return e.PrintReport(a, facts(a),
				attributes("SENT TO RADIUS", a.GetSent()), attributes("RECEIVED", a.GetReceived()))
		}),
	}
	cmd.Flags().StringVar(&peer, "peer", "", "only from this client address")
	return cmd
}

// from says where attempts were looked for.
func from(e *env.Env, peer string) string {
	text := ""
	if e.Tenant() != "" {
		text += " in " + e.Tenant()
	}
	if peer != "" {
		text += " from " + peer
	}
	return text
}

func facts(a *pb.LoginAttempt) env.Section {
	return env.Section{Rows: [][2]string{
		env.Row("ATTEMPT", a, "name"), env.Row("TIME", a, "time"), env.Row("USER", a, "user"),
		env.Row("PROTOCOL", a, "protocol"), env.Row("CLIENT", a, "client_address"), env.Row("OUTCOME", a, "outcome"), env.Row("STAGE", a, "stage"),
		env.Row("REASON", a, "reason"), env.Row("DETAIL", a, "detail"), env.Row("SERVER", a, "server"),
		env.Row("ROUND TRIP", a, "round_trip_time"),
	}}
}

func attributes(head string, list []*pb.LoginAttempt_Attribute) env.Section {
	s := env.Section{Head: head}
	for _, a := range list {
		s.Rows = append(s.Rows, [2]string{a.GetName(), a.GetValue()})
	}
	return s
}
