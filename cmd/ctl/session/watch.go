package session

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

func watch(e *env.Env) *cobra.Command {
	var revision string
	cmd := &cobra.Command{
		Use: "watch", Short: "Print the live sessions, then each change as it happens", Args: env.Args(0, 0),
		Long: `Prints every live session, then each login, change and logout as it happens, until it is interrupted.

With -o json each message of the watch is one line; its revision, given to --revision, resumes after it.`,
		RunE: e.Verb(func(cmd *cobra.Command, _ []string) error {
			stream, err := pb.NewSessionServiceClient(e.Conn).WatchSessions(cmd.Context(),
				&pb.WatchSessionsRequest{Parent: e.Parent(), Revision: revision})
			if err != nil {
				return err
			}
			for {
				m, err := stream.Recv()
				if errors.Is(err, io.EOF) || cmd.Context().Err() != nil {
					return nil
				}
				if err != nil {
					return err
				}
				if err := e.Event(m, eventLine(m)); err != nil {
					return err
				}
			}
		}),
	}
	cmd.Flags().StringVar(&revision, "revision", "", "resume after this revision")
	return cmd
}

func eventLine(m *pb.WatchSessionsResponse) string {
	switch ev := m.GetEvent().(type) {
	case *pb.WatchSessionsResponse_Upsert:
		return line(ev.Upsert)
	case *pb.WatchSessionsResponse_Removed:
		return "REMOVED        " + env.Clean(ev.Removed)
	}
	return "" // the end of the snapshot is for programs
}
