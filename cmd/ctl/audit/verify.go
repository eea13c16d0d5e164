package audit

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

// errNotValid is returned for a trail that is not as it was written: exit code 1.
var errNotValid = errors.New("the audit trail is not as it was written")

func verify(e *env.Env) *cobra.Command {
	var known string
	cmd := &cobra.Command{
		Use: "verify", Short: "See whether the audit trail is as it was written", Args: env.Args(0, 0),
		Long: `Has the hash of every audit event recomputed, from what it says and from the hash of the event before it. An event that was
altered, taken out, put in or moved is found, and the exit code is 1.

Who can write the state can write the whole trail anew. So note the last hash at another place now and then, and give it back
by --known-hash: the trail must still have an event with it.`,
		RunE: e.Verb(func(cmd *cobra.Command, _ []string) error {
			found, err := pb.NewAuditEventServiceClient(e.Conn).VerifyAuditEvents(cmd.Context(), &pb.VerifyAuditEventsRequest{KnownHash: known})
			if err != nil {
				return err
			}
			if err := e.PrintReport(found, facts(found)); err != nil {
				return err
			}
			if found.GetValid() {
				return nil
			}
			where := ""
			if n := found.GetBadSequence(); n > 0 {
				where = fmt.Sprintf(" at event %d", n)
			}
			return fmt.Errorf("%w%s: %s", errNotValid, where, found.GetDetail())
		}),
	}
	cmd.Flags().StringVar(&known, "known-hash", "", "the hash of an event that was noted elsewhere")
	return cmd
}

func facts(m *pb.VerifyAuditEventsResponse) env.Section {
	s := env.Section{Rows: [][2]string{
		env.Row("VALID", m, "valid"), env.Row("CHECKED", m, "checked"), env.Row("FIRST", m, "first_sequence"), env.Row("LAST", m, "last_sequence"),
		env.Row("LAST HASH", m, "last_hash"),
	}}
	if !m.GetValid() {
		s.Rows = append(s.Rows, env.Row("BAD", m, "bad_sequence"), env.Row("DETAIL", m, "detail"))
	}
	return s
}
