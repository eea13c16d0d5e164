package audit

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

// api answers VerifyAuditEvents.
type api struct {
	grpc.ClientConnInterface
	answer *pb.VerifyAuditEventsResponse
	asked  *pb.VerifyAuditEventsRequest
}

func (a *api) Invoke(_ context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	if method != pb.AuditEventService_VerifyAuditEvents_FullMethodName {
		return errors.New(method)
	}
	a.asked = args.(*pb.VerifyAuditEventsRequest)
	proto.Merge(reply.(proto.Message), a.answer)
	return nil
}

func TestVerify(t *testing.T) {
	good := &pb.VerifyAuditEventsResponse{Valid: true, Checked: 12, FirstSequence: 3, LastSequence: 14, LastHash: "ab12"}
	bad := &pb.VerifyAuditEventsResponse{Checked: 4, FirstSequence: 3, LastSequence: 14, LastHash: "ab12", BadSequence: 7, Detail: "its hash is not that of what it says"}
	lost := &pb.VerifyAuditEventsResponse{Checked: 12, FirstSequence: 3, LastSequence: 14, LastHash: "ab12", Detail: "no event has the known hash"}
	for _, c := range []struct {
		args   string
		answer *pb.VerifyAuditEventsResponse
		out    string
		err    string // "" for a trail that is valid
	}{
		{"verify", good, "VALID      true\nCHECKED    12\nFIRST      3\nLAST       14\nLAST HASH  ab12\n", ""},
		{"verify --known-hash 00ff", good, "VALID      true\n", ""},
		{"verify", bad, "BAD        7\nDETAIL     its hash is not that of what it says\n", "the audit trail is not as it was written at event 7: its hash is not that of what it says"},
		{"verify --known-hash 00ff", lost, "DETAIL     no event has the known hash\n", "the audit trail is not as it was written: no event has the known hash"},
		{"verify -o json", bad, `"badSequence":`, "the audit trail is not as it was written at event 7: its hash is not that of what it says"},
	} {
		var out strings.Builder
		a := &api{answer: c.answer}
		e := &env.Env{
			Out: &out, Err: &strings.Builder{}, Conn: a, Getenv: func(string) string { return "" },
			ReadFile: func(string) ([]byte, error) { return nil, os.ErrNotExist },
		}
		cmd := Command(e)
		e.Flags(cmd.PersistentFlags())
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetArgs(strings.Fields(c.args))
		err := cmd.ExecuteContext(t.Context())
		if (err == nil) != (c.err == "") || err != nil && (err.Error() != c.err || !errors.Is(err, errNotValid)) {
			t.Errorf("%s: %v, want %q", c.args, err, c.err)
		}
		if !strings.Contains(out.String(), c.out) {
			t.Errorf("%s prints %q, want %q", c.args, out.String(), c.out)
		}
		if want := strings.Contains(c.args, "00ff"); want != (a.asked.GetKnownHash() == "00ff") {
			t.Errorf("%s asked for %q", c.args, a.asked.GetKnownHash())
		}
	}
}
