package session

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

// fakeCapture is an API that knows one capture.
type fakeCapture struct {
	grpc.ClientConnInterface
	grpc.ClientStream
	asked  *pb.CaptureSessionRequest
	pieces [][]byte
	end    error
	missed string
	wait   func() // called before the end; nil: none
}

func (f *fakeCapture) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return f, nil
}

func (f *fakeCapture) SendMsg(m any) error {
	f.asked = m.(*pb.CaptureSessionRequest)
	return nil
}

func (*fakeCapture) CloseSend() error { return nil }

func (f *fakeCapture) Trailer() metadata.MD { return metadata.Pairs(missedTrailer, f.missed) }

func (f *fakeCapture) RecvMsg(m any) error {
	if len(f.pieces) == 0 {
		if f.wait != nil {
			f.wait()
		}
		return f.end
	}
	proto.Merge(m.(proto.Message), &httpbody.HttpBody{Data: f.pieces[0]})
	f.pieces = f.pieces[1:]
	return nil
}

// records is a pcap file with packets of these sizes, in pieces of its own choosing.
func records(sizes ...int) (file []byte) {
	file = make([]byte, fileHeaderLen)
	for _, n := range sizes {
		h := make([]byte, recordHeaderLen)
		binary.LittleEndian.PutUint32(h[keptAt:], uint32(n))
		binary.LittleEndian.PutUint32(h[12:], uint32(n+1000))
		file = append(append(file, h...), bytes.Repeat([]byte{7}, n)...)
	}
	return file
}

// ctl runs the verb, at a terminal or not.
func ctl(t *testing.T, ctx context.Context, f *fakeCapture, terminal bool, args ...string) (out, errs string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	e := &env.Env{
		Out: &stdout, Err: &stderr, Conn: f, Getenv: func(string) string { return "" },
		Terminal: func(stream any) int {
			if terminal && stream == &stdout {
				return 80
			}
			return 0
		},
	}
	cmd := capture(e)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append([]string{"tenants/acme/sessions/5f3a"}, args...))
	err = cmd.ExecuteContext(ctx)
	return stdout.String(), stderr.String(), err
}

func TestCapture(t *testing.T) {
	whole := records(100, 0, 1400)
	for _, cut := range []int{1, 7, 24, 40, 1000, len(whole)} {
		f := &fakeCapture{end: io.EOF, missed: "0"}
		for rest := whole; len(rest) > 0; {
			n := min(cut, len(rest))
			f.pieces, rest = append(f.pieces, rest[:n]), rest[n:]
		}
		out, errs, err := ctl(t, t.Context(), f, false)
		if err != nil || out != string(whole) || errs != "3 packets, 1500 octets\n" {
			t.Errorf("pieces of %d: %v, %q, %d octets", cut, err, errs, len(out))
		}
		if want := (&pb.CaptureSessionRequest{Name: "tenants/acme/sessions/5f3a", Side: pb.CaptureSessionRequest_INNER}); !proto.Equal(f.asked, want) {
			t.Errorf("asked for %v", f.asked)
		}
	}
}

func TestCaptureIntoFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.pcap")
	if err := os.WriteFile(file, bytes.Repeat([]byte("old"), 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	flags := []string{"-w", file, "--side", "OUTER", "--duration", "90s", "--max-bytes", "1000", "--packets", "5", "--snap", "64"}

	refused := status.Error(codes.NotFound, "no such session")
	if _, _, err := ctl(t, t.Context(), &fakeCapture{end: refused}, true, flags...); !errors.Is(err, refused) {
		t.Errorf("refused: %v", err)
	}
	if got, _ := os.ReadFile(file); len(got) != 3000 {
		t.Error("a refused capture has changed the file")
	}
	f := &fakeCapture{end: io.EOF, missed: "17", pieces: [][]byte{records(60)}}
	out, errs, err := ctl(t, t.Context(), f, true, flags...)
	if got, _ := os.ReadFile(file); err != nil || out != "" || !bytes.Equal(got, records(60)) {
		t.Errorf("%v, %q, %d octets", err, out, len(got))
	}
	if want := file + ": 1 packet, 60 octets; 17 more were missed\n"; errs != want {
		t.Errorf("says %q, want %q", errs, want)
	}
	if want := (&pb.CaptureSessionRequest{
		Name: "tenants/acme/sessions/5f3a", Side: pb.CaptureSessionRequest_OUTER, Duration: durationpb.New(90e9),
		MaxBytes: 1000, MaxPackets: 5, SnapLength: 64,
	}); !proto.Equal(f.asked, want) {
		t.Errorf("asked for %v", f.asked)
	}
	fresh := filepath.Join(t.TempDir(), "fresh.pcap")
	if _, _, err := ctl(t, t.Context(), &fakeCapture{end: io.EOF, pieces: [][]byte{records()}}, true, "-w", fresh); err != nil {
		t.Fatal(err)
	}
	if i, err := os.Stat(fresh); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("others may read the file: %v, %v", i, err)
	}
}

// TestCaptureInterrupted: what came before stays, and it is no failure; an error of the API is one.
func TestCaptureInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := &fakeCapture{end: status.FromContextError(context.Canceled).Err(), pieces: [][]byte{records(100, 100)}, wait: cancel}
	out, errs, err := ctl(t, ctx, f, false, "-w", "-")
	if err != nil || len(out) != len(records(100, 100)) || errs != "2 packets, 200 octets\n" {
		t.Errorf("%v, %q, %d octets", err, errs, len(out))
	}
	down := status.Error(codes.Unavailable, "the server is shutting down")
	f = &fakeCapture{end: down, pieces: [][]byte{records(100)}}
	if _, errs, err = ctl(t, t.Context(), f, false, "-w", "-"); !errors.Is(err, down) || errs != "1 packet, 100 octets\n" {
		t.Errorf("%v, %q", err, errs)
	}
}

func TestCaptureUsage(t *testing.T) {
	for _, tt := range []struct {
		args     []string
		terminal bool
		want     string
	}{
		{nil, true, "-w FILE"},
		{[]string{"-w", "-"}, true, "no text for a terminal"},
		{[]string{"--side", "left"}, false, `--side "left" is not inner or outer`},
		{[]string{"another"}, false, "capture"},
	} {
		f := &fakeCapture{end: io.EOF, pieces: [][]byte{records(100)}}
		out, _, err := ctl(t, t.Context(), f, tt.terminal, tt.args...)
		if !errors.Is(err, env.ErrUsage) || !strings.Contains(err.Error(), tt.want) || out != "" || f.asked != nil {
			t.Errorf("%v: %v", tt.args, err)
		}
	}
}
