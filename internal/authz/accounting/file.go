package accounting

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

const (
	// keepFiles is how many rotated files are kept: path.1, the youngest, to path.10.
	keepFiles = 10
	// maxTail is how far back the end of the last whole line is looked for.
	maxTail = 1 << 20

	defaultMaxFile = 64 << 20
)

// File is a Sink that writes one JSON object a line (lineForm) into a file, and acknowledges when it is on the disk. Records
// that come together share one write and one fsync.
//
// The file is rotated by size, and opened anew when somebody has renamed or removed it. A line that a crash has left
// half written is cut off when the file is opened: its record was not acknowledged, and comes again.
type File struct {
	path string
	max  int64

	turn chan struct{} // of one place: held by who writes
	mu   sync.Mutex    // taken after turn
	wait []*fileLine

	f      *os.File // who has the turn's; nil: to be opened
	closed bool     // the same
}

// fileLine is a record on its way to the file.
type fileLine struct {
	text     []byte
	finished bool // written and read by who has the turn, as is err
	err      error
}

var _ Sink = (*File)(nil)

// NewFile opens, or makes, the file at path. maxBytes is when it is rotated; 0 means 64 MiB.
func NewFile(path string, maxBytes int64) (*File, error) {
	if maxBytes <= 0 {
		maxBytes = defaultMaxFile
	}
	s := &File{path: path, max: maxBytes, turn: make(chan struct{}, 1)}
	if err := s.open(); err != nil {
		return nil, err
	}
	return s, nil
}

// Account implements Sink. It waits for the disk, not for ctx: a line that is on its way can't be called back.
func (s *File) Account(_ context.Context, r Record) error {
	line, err := appendLine(nil, &r)
	if err != nil {
		return err
	}
	w := &fileLine{text: append(line, '\n')}
	s.mu.Lock()
	s.wait = append(s.wait, w)
	s.mu.Unlock()
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if !w.finished {
		s.flush()
	}
	return w.err
}

// Close closes the file. Account returns an error from then on.
func (s *File) Close() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.closed = true
	if s.f == nil {
		return nil
	}
	err := s.f.Close()
	s.f = nil
	return err
}

// flush writes all lines that wait. The caller has the turn.
func (s *File) flush() {
	s.mu.Lock()
	lines := s.wait
	s.wait = nil
	s.mu.Unlock()
	var all []byte
	for _, w := range lines {
		all = append(all, w.text...)
	}
	err := s.write(all)
	for _, w := range lines {
		w.finished, w.err = true, err
	}
}

func (s *File) write(b []byte) error {
	if s.closed {
		return fmt.Errorf("accounting file %s: %w", s.path, fs.ErrClosed)
	}
	size, err := s.ready(int64(len(b)))
	if err != nil {
		return err
	}
	if _, err = s.f.Write(b); err == nil {
		err = s.f.Sync()
	}
	if err == nil {
		return nil
	}
	// None of it counts as written, so none of it may stay.
	if s.f.Truncate(size) != nil {
		s.forgetFile() // open looks at the end of the file
	}
	return fmt.Errorf("write accounting file: %w", err)
}

// ready makes s.f the file at path, with room for n octets, and returns its size.
func (s *File) ready(n int64) (size int64, err error) {
	if s.f != nil {
		is, errIs := os.Stat(s.path)
		ours, errOurs := s.f.Stat()
		if errIs != nil || errOurs != nil || !os.SameFile(is, ours) {
			s.forgetFile()
		}
	}
	for {
		if s.f == nil {
			if err := s.open(); err != nil {
				return 0, err
			}
		}
		st, err := s.f.Stat()
		if err != nil {
			return 0, fmt.Errorf("accounting file: %w", err)
		}
		if size = st.Size(); size == 0 || size+n <= s.max {
			return size, nil
		}
		if err := s.rotate(); err != nil {
			return 0, err
		}
	}
}

func (s *File) forgetFile() {
	_ = s.f.Close() // what counts was synced
	s.f = nil
}

// open opens the file, cuts off a line that is not whole, and makes the file's name durable.
func (s *File) open() error {
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open accounting file: %w", err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("is not a regular file")
	}
	if err == nil {
		err = cutTail(f, st.Size())
	}
	if err == nil {
		err = syncDir(filepath.Dir(s.path))
	}
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("open accounting file %s: %w", s.path, err)
	}
	s.f = f
	return nil
}

// cutTail cuts off what stands behind the last line break of a file of the given size.
func cutTail(f *os.File, size int64) error {
	tail := make([]byte, min(size, maxTail))
	if _, err := io.ReadFull(io.NewSectionReader(f, size-int64(len(tail)), int64(len(tail))), tail); err != nil {
		return err
	}
	end := bytes.LastIndexByte(tail, '\n') + 1
	switch {
	case end == len(tail):
		return nil
	case end == 0 && size > int64(len(tail)):
		return errors.New("it has no line break: this is no accounting file")
	}
	return f.Truncate(size - int64(len(tail)-end))
}

// rotate renames path to path.1, and those before it one up, as far as there is no gap.
func (s *File) rotate() error {
	s.forgetFile()
	name := func(i int) string {
		if i == 0 {
			return s.path
		}
		return s.path + "." + strconv.Itoa(i)
	}
	free := 1
	for ; free < keepFiles; free++ {
		if _, err := os.Lstat(name(free)); errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	for i := free; i > 0; i-- {
		if err := os.Rename(name(i-1), name(i)); err != nil {
			return fmt.Errorf("rotate accounting file: %w", err)
		}
	}
	return nil // open makes the names durable
}

// syncDir makes the names in a folder durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
