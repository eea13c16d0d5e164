package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
)

// downloadPiece is how much of a file one message of a download has, in octets.
const downloadPiece = 64 << 10

// downloadPatience is how long a reader may take nothing; a variable only for tests that outlast it.
var downloadPatience = 20 * time.Second

func (s operationService) DownloadOperation(r *concentratorv1.DownloadOperationRequest, stream grpc.ServerStreamingServer[httpbody.HttpBody]) error {
	m, err := s.operation(r.GetName())
	if err != nil {
		return err
	}
	if r.GetOffset() < 0 || m.GetFileSize() > 0 && r.GetOffset() > m.GetFileSize() {
		return invalid("offset", "is %d, must be 0 to %d", r.GetOffset(), m.GetFileSize())
	}
	noFile := newStatus(codes.FailedPrecondition, reasonNoFile, m.GetName()+" has no file to download: it is "+m.GetState().String(),
		map[string]string{"resource": m.GetName()}).Err()
	if m.GetFileSize() == 0 {
		return noFile
	}
	d := &download{stream: stream, left: m.GetFileSize() - r.GetOffset()}
	d.file, err = os.Open(s.ops.file(m.GetName()))
	if errors.Is(err, os.ErrNotExist) {
		return noFile
	}
	if err == nil {
		err = d.seek(r.GetOffset(), m.GetFileSize())
	}
	if err != nil {
		return fmt.Errorf("the file of %s: %w", m.GetName(), err)
	}
	return d.serve(s.stopping.Done())
}

// download sends one file.
type download struct {
	stream grpc.ServerStreamingServer[httpbody.HttpBody]
	file   *os.File
	left   int64
	pieces atomic.Int64 // that were sent
}

// seek goes to where the download begins. The file is closed if that fails.
func (d *download) seek(offset, size int64) error {
	info, err := d.file.Stat()
	if err == nil && info.Size() != size {
		err = fmt.Errorf("%w: %d octets, not %d", store.ErrCorrupt, info.Size(), size)
	}
	if err == nil {
		_, err = d.file.Seek(offset, io.SeekStart)
	}
	if err != nil {
		_ = d.file.Close()
	}
	return err
}

// serve sends the file, and returns early when the server stops or the reader takes nothing for downloadPatience: a Send to it
// would block without end, and ends when the handler has returned.
func (d *download) serve(stopped <-chan struct{}) error {
	done := make(chan error, 1)
	go func() { done <- d.send() }()
	look := time.NewTicker(downloadPatience)
	defer look.Stop()
	for last := int64(0); ; {
		select {
		case err := <-done:
			return err
		case <-stopped:
			return errShuttingDown
		case <-look.C:
		}
		now := d.pieces.Load()
		if now == last {
			return newStatus(codes.Aborted, reasonTooSlow, fmt.Sprintf("the download was cut off: its reader took nothing for %s; "+
				"go on with what was read as the offset", downloadPatience), nil).Err()
		}
		last = now
	}
}

// send sends piece after piece, and closes the file.
func (d *download) send() error {
	defer d.file.Close()
	for d.left > 0 {
		piece := make([]byte, min(downloadPiece, d.left)) // the message is the stream's once it is sent
		if _, err := io.ReadFull(d.file, piece); err != nil {
			return fmt.Errorf("read what an operation has made: %w", err)
		}
		if err := d.stream.Send(&httpbody.HttpBody{ContentType: "application/octet-stream", Data: piece}); err != nil {
			return err
		}
		d.left -= int64(len(piece))
		d.pieces.Add(1)
	}
	return nil
}
