package resource

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

// errTest is returned when a test did not go well: exit code 1, after the report.
var errTest = errors.New("the test failed")

func (n *Noun) test(e *env.Env) *cobra.Command {
	var user, password, method string
	cmd := &cobra.Command{
		Use: "test NAME", Short: "Ask a RADIUS server, and say how it answers", Args: env.Args(1, 1),
		ValidArgsFunction: n.Complete(e, 1),
		Long: `Ask one RADIUS server, and say whether it can be reached, whether the secret is right, whether it signs its answers,
and how long they take. With --user it is asked about that user too: a login like any other to the server.

The exit code is 1 when the server does not answer, the secret is wrong, or the user is refused.`,
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			name, err := n.FullName(e, nil, args[0])
			if err != nil {
				return err
			}
			r, err := question(e, name, user, password, method)
			if err != nil {
				return err
			}
			answer, err := pb.NewRadiusServerServiceClient(e.Conn).TestRadiusServer(cmd.Context(), r)
			if err != nil {
				return err
			}
			if err := e.PrintReport(answer, testReport(answer)...); err != nil {
				return err
			}
			return verdict(answer, user)
		}),
	}
	cmd.Flags().StringVar(&user, "user", "", "ask about this user")
	cmd.Flags().StringVar(&password, "password", "",
		"the user's password; @FILE or @- (standard input) keeps it off the command line")
	cmd.Flags().StringVar(&method, "method", "", "how the user authenticates: PAP, CHAP or MSCHAPV2; default PAP")
	return cmd
}

func question(e *env.Env, name, user, password, method string) (*pb.TestRadiusServerRequest, error) {
	if user == "" && (password != "" || method != "") {
		return nil, fmt.Errorf("%w: --password and --method need --user", env.ErrUsage)
	}
	r := &pb.TestRadiusServerRequest{Name: name, User: user}
	if method != "" {
		v, ok := pb.Profile_AuthMethod_value[strings.ToUpper(method)]
		if !ok {
			return nil, fmt.Errorf("%w: --method %q is not PAP, CHAP or MSCHAPV2", env.ErrUsage, method)
		}
		r.Method = pb.Profile_AuthMethod(v)
	}
	if password != "" {
		text, err := e.Secret(password)
		if err != nil {
			return nil, fmt.Errorf("--password: %w", err)
		}
		r.Password = &text
	}
	return r, nil
}

func testReport(m *pb.TestRadiusServerResponse) []env.Section {
	all := []env.Section{{Rows: [][2]string{
		env.Row("REACHABLE", m, "reachable"), env.Row("SECRET", m, "secret_check"),
		env.Row("MESSAGE-AUTHENTICATOR", m, "message_authenticator"), env.Row("ROUND TRIP", m, "round_trip_time"),
		env.Row("STATUS-SERVER", m, "status_server"), env.Row("VERDICT", m, "verdict"), env.Row("REASON", m, "reason"),
		env.Row("DETAIL", m, "detail"), env.Row("REPLY-MESSAGE", m, "reply_message"),
	}}}
	if len(m.GetAttributes()) > 0 {
		s := env.Section{Head: "RECEIVED"}
		for _, a := range m.GetAttributes() {
			s.Rows = append(s.Rows, [2]string{a.GetName(), a.GetValue()})
		}
		all = append(all, s)
	}
	return all
}

// verdict says by its error what did not go well.
func verdict(m *pb.TestRadiusServerResponse, user string) error {
	switch {
	case !m.GetReachable():
		return fmt.Errorf("%w: nothing came back", errTest)
	case m.GetSecretCheck() == pb.TestRadiusServerResponse_MISMATCH:
		return fmt.Errorf("%w: the secret is wrong", errTest)
	case user != "" && m.GetVerdict() != pb.TestRadiusServerResponse_ACCEPTED:
		return fmt.Errorf("%w: %s may not enter", errTest, user)
	}
	return nil
}
