package vitals

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"concentrator/internal/telemetry"
)

const (
	// A disk is nearly full when less than this part of it, and less than so many octets, are free for everybody.
	diskPart   = 20
	diskOctets = 1 << 30
	// diskInodes is how many files it must have room for.
	diskInodes = 64
	// stReadOnly is the kernel's ST_RDONLY.
	stReadOnly = 1
)

// disk warns of what the folders lie on where the process writes: before it is full, and when it can't be written.
type disk struct {
	files  []string        // one in each folder
	low    map[string]bool // files whose fault stands
	faults *telemetry.Faults
	statfs func(path string, s *syscall.Statfs_t) error
}

// WatchDisks looks each second until ctx ends at what the files lie on, one of each folder where the process writes, and calls probe,
// which writes what may be written again. A file need not be there.
func WatchDisks(ctx context.Context, faults *telemetry.Faults, files []string, probe func(context.Context)) {
	d := newDisk(faults, files)
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		d.look()
		probe(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func newDisk(faults *telemetry.Faults, files []string) *disk {
	return &disk{files: files, low: make(map[string]bool), faults: faults, statfs: syscall.Statfs}
}

// look raises and clears the fault of each folder.
func (d *disk) look() {
	for _, file := range d.files {
		folder := filepath.Dir(file)
		var s syscall.Statfs_t
		why := ""
		if err := d.statfs(folder, &s); err != nil {
			why = err.Error()
		} else if why = lacks(&s, d.low[file]); why == "" {
			why = refuses(file)
		}
		if d.low[file] = why != ""; why != "" {
			d.faults.Raise(telemetry.FaultDisk, folder, why)
		} else {
			d.faults.Clear(telemetry.FaultDisk, folder)
		}
	}
}

// refuses says why a file can't be written, "" if it can, or is not there. A file system that has found itself broken looks like
// any other until somebody wants to write.
func refuses(file string) string {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ""
	case err != nil:
		return err.Error()
	}
	if err := f.Close(); err != nil {
		return err.Error()
	}
	return ""
}

// lacks says what is wrong with a file system, "" for nothing. What was low already must rise by half to be well again.
func lacks(s *syscall.Statfs_t, low bool) string {
	unit := uint64(max(s.Frsize, 1))
	size, free := s.Blocks*unit, s.Bavail*unit
	enough, inodes := min(size/diskPart, diskOctets), uint64(diskInodes)
	if low {
		enough, inodes = enough*3/2, inodes*3/2
	}
	switch {
	case s.Flags&stReadOnly != 0:
		return "mounted read-only"
	case free < enough:
		return fmt.Sprintf("%d of %d KiB are free", free>>10, size>>10)
	case s.Files > 0 && s.Ffree < inodes:
		return fmt.Sprintf("room for %d files more", s.Ffree)
	}
	return ""
}
