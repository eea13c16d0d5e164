package operation

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

const whole = "the whole file"

// file is an API with a file of which each download gives so many octets before it breaks off.
type file struct {
	grpc.ClientConnInterface
	pieces []int
	asked  []int64
}

func (f *file) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return &piece{f: f}, nil
}

type piece struct {
	grpc.ClientStream
	f    *file
	rest string
	end  error
}

func (p *piece) SendMsg(m any) error {
	offset := m.(*pb.DownloadOperationRequest).GetOffset()
	p.f.asked = append(p.f.asked, offset)
	p.rest, p.end = whole[offset:], io.EOF
	if len(p.f.pieces) > 0 {
		p.rest, p.end = p.rest[:p.f.pieces[0]], status.Error(codes.Unavailable, "broken off")
		p.f.pieces = p.f.pieces[1:]
	}
	return nil
}

func (p *piece) CloseSend() error { return nil }

func (p *piece) RecvMsg(m any) error {
	if p.rest == "" {
		return p.end
	}
	m.(*httpbody.HttpBody).Data = []byte(p.rest[:1])
	p.rest = p.rest[1:]
	return nil
}

// TestFetch: a download that breaks off goes on where it was; one that does not get on is given up, and leaves nothing.
func TestFetch(t *testing.T) {
	for _, c := range []struct {
		name   string
		pieces []int
		size   int64
		asked  int
		fails  string
	}{
		{"at once", nil, int64(len(whole)), 1, ""},
		{"in pieces", []int{3, 0, 0, 4}, int64(len(whole)), 5, ""},
		{"not at all", []int{3, 0, 0, 0, 0, 0, 0, 0}, int64(len(whole)), tries + 1, "broken off; it is still there: ctl operation download operations/1"},
		{"too short", nil, 100, 1, "14 octets came, the file has 100"},
	} {
		synctest.Test(t, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out")
			var errs strings.Builder
			f := &file{pieces: c.pieces}
			e := &env.Env{Err: &errs, Conn: f}
			err := Fetch(t.Context(), e, &pb.Operation{Name: "operations/1", FileSize: c.size}, path)
			if len(f.asked) != c.asked {
				t.Errorf("%s: asked for %v", c.name, f.asked)
			}
			got, rerr := os.ReadFile(path)
			if c.fails == "" && (err != nil || rerr != nil || string(got) != whole || !strings.Contains(errs.String(), "14 octets")) {
				t.Errorf("%s: %q, %v, %v, %q", c.name, got, err, rerr, &errs)
			}
			if c.fails != "" && (err == nil || !strings.Contains(env.Describe(err), c.fails) || !os.IsNotExist(rerr)) {
				t.Errorf("%s: %v, want %s; %v", c.name, err, c.fails, rerr)
			}
			if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
				t.Errorf("%s: %v is left", c.name, left)
			}
			if err := CheckFile(e, path, false); (err != nil) != (c.fails == "") {
				t.Errorf("%s: CheckFile: %v", c.name, err)
			}
			if err := CheckFile(e, path, true); err != nil {
				t.Errorf("%s: with --force: %v", c.name, err)
			}
		})
	}
}
