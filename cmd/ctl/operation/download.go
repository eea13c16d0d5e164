package operation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

func download(e *env.Env) *cobra.Command {
	var file string
	var force bool
	cmd := &cobra.Command{
		Use: "download NAME --file FILE", Short: "Fetch the file that an operation made, as a backup", Args: env.Args(1, 1),
		ValidArgsFunction: noun.Complete(e, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			name, err := noun.FullName(e, nil, args[0])
			if err != nil {
				return err
			}
			if err := CheckFile(e, file, force); err != nil {
				return err
			}
			op, err := pb.NewOperationServiceClient(e.Conn).GetOperation(cmd.Context(), &pb.GetOperationRequest{Name: name})
			if err != nil {
				return err
			}
			return Fetch(cmd.Context(), e, op, file)
		}),
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "where to put it; - for the standard output")
	cmd.Flags().BoolVar(&force, "force", false, "replace the file if it exists")
	return cmd
}

// CheckFile says whether what an operation made may be put at path: "-" is the standard output. Asked before the work begins, it
// spares the work.
func CheckFile(e *env.Env, path string, force bool) error {
	switch {
	case path == "":
		return fmt.Errorf("%w: --file says where to put it", env.ErrUsage)
	case path == "-" && e.Width(e.Out) > 0:
		return fmt.Errorf("%w: it is no text for a terminal; name a file, or use a pipe", env.ErrUsage)
	case path == "-" || force:
		return nil
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s exists already; --force replaces it", path)
	}
	return nil
}

// Fetch puts the file of an operation at path, where it appears whole or not at all; "-" is the standard output.
func Fetch(ctx context.Context, e *env.Env, op *pb.Operation, path string) error {
	if path == "-" {
		return fetch(ctx, e, op, e.Out)
	}
	partial := path + ".partial"
	f, err := os.OpenFile(partial, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err = fetch(ctx, e, op, f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(partial, path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%w; it is still there: ctl operation download %s", err, op.GetName()), os.Remove(partial))
	}
	_, err = fmt.Fprintf(e.Err, "%s: %d octets\n", path, op.GetFileSize())
	return err
}

// tries is how often a download that broke off goes on without anything new.
const tries = 5

// fetch writes the file of an operation to w. A download that breaks off goes on where it was.
func fetch(ctx context.Context, e *env.Env, op *pb.Operation, w io.Writer) error {
	p := e.Progress("download", "octets")
	defer p.End()
	var got int64
	for left := tries; ; left-- {
		before := got
		err := stream(ctx, e, op, w, p, &got)
		if got > before {
			left = tries
		}
		switch {
		case err == nil && got == op.GetFileSize():
			return nil
		case err == nil:
			return fmt.Errorf("%d octets came, the file has %d", got, op.GetFileSize())
		case status.Code(err) != codes.Unavailable || left == 0:
			return err
		}
		p.Set(got, op.GetFileSize(), "waiting for the daemon")
		if !e.Sleep(ctx, again) {
			return ctx.Err()
		}
	}
}

// stream is one download, from got on.
func stream(ctx context.Context, e *env.Env, op *pb.Operation, w io.Writer, p *env.Progress, got *int64) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s, err := pb.NewOperationServiceClient(e.Conn).DownloadOperation(ctx,
		&pb.DownloadOperationRequest{Name: op.GetName(), Offset: *got})
	if err != nil {
		return err
	}
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := w.Write(m.GetData()); err != nil {
			return err
		}
		*got += int64(len(m.GetData()))
		p.Set(*got, op.GetFileSize(), "")
	}
}
