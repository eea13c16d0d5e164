package backup

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// format is the version of the archive's layout.
const format = 1

// infoName is the archive's first file.
const infoName = "backup.json"

// The files of the state, by their names in the state directory. StateFile is in every backup.
const (
	StateFile      = "state.db"
	AccountingFile = "accounting.db"
	LeasesFile     = "leases.db"
	GuessesFile    = "guesses.db"
)

// known says which files an archive may hold, so that one from elsewhere puts nothing where it does not belong.
var known = []string{StateFile, AccountingFile, LeasesFile, GuessesFile}

// File is one file of the state.
type File struct {
	Name string
	// Snapshot writes the file as it is at one moment, and returns its length in octets.
	Snapshot func(ctx context.Context, w io.Writer) (int64, error)
}

// Info says what a backup holds.
type Info struct {
	Format   int       `json:"format"`
	Instance string    `json:"instance"`
	Version  string    `json:"version"` // of the program that made it
	Time     time.Time `json:"time"`
	Files    []Sum     `json:"files"`
}

// Sum is one file of a backup.
type Sum struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"` // octets
	SHA256 string `json:"sha256"`
}

// Write makes a backup of files at path, which appears there whole or not at all, and returns its length in octets. Copies
// lie beside it while it is made. Of info it uses Instance, Version and Time. progress, unless nil, is told how many octets
// have been read, of how many as far as is known.
func Write(ctx context.Context, path string, info Info, files []File, progress func(done, total int64)) (size int64, err error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".backup-")
	if err != nil {
		return 0, fmt.Errorf("make a backup: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	info.Format, info.Files = format, nil
	var total int64
	for _, f := range files {
		sum, err := snapshot(ctx, dir, f)
		if err != nil {
			return 0, fmt.Errorf("back up %s: %w", f.Name, err)
		}
		info.Files = append(info.Files, sum)
		total += sum.Size
	}
	whole := filepath.Join(dir, "whole")
	if err := pack(ctx, whole, dir, info, total, progress); err != nil {
		return 0, fmt.Errorf("make a backup: %w", err)
	}
	stat, err := os.Stat(whole)
	if err != nil {
		return 0, fmt.Errorf("make a backup: %w", err)
	}
	if err := os.Rename(whole, path); err != nil {
		return 0, fmt.Errorf("make a backup: %w", err)
	}
	return stat.Size(), syncDir(filepath.Dir(path))
}

// snapshot copies one file into dir.
func snapshot(ctx context.Context, dir string, f File) (Sum, error) {
	var sum Sum
	err := create(filepath.Join(dir, f.Name), func(file io.Writer) error {
		hash := sha256.New()
		n, err := f.Snapshot(ctx, io.MultiWriter(file, hash))
		sum = Sum{Name: f.Name, Size: n, SHA256: hex.EncodeToString(hash.Sum(nil))}
		return err
	})
	return sum, err
}

// pack makes the archive at path of the copies in dir.
func pack(ctx context.Context, path, dir string, info Info, total int64, progress func(done, total int64)) error {
	return create(path, func(file io.Writer) error {
		zip, err := gzip.NewWriterLevel(file, gzip.BestSpeed)
		if err != nil {
			return err
		}
		archive := tar.NewWriter(zip)
		text, err := json.MarshalIndent(info, "", "  ")
		if err != nil {
			return err
		}
		if err := archive.WriteHeader(header(infoName, int64(len(text)), info.Time)); err != nil {
			return err
		}
		if _, err := archive.Write(text); err != nil {
			return err
		}
		counted := &counter{ctx: ctx, total: total, tell: progress}
		for _, sum := range info.Files {
			if err := archive.WriteHeader(header(sum.Name, sum.Size, info.Time)); err != nil {
				return err
			}
			if err := add(archive, counted, filepath.Join(dir, sum.Name)); err != nil {
				return err
			}
		}
		return errors.Join(archive.Close(), zip.Close())
	})
}

func header(name string, size int64, at time.Time) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: at.Truncate(time.Second), Format: tar.FormatPAX}
}

func add(archive io.Writer, counted *counter, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(archive, io.TeeReader(f, counted))
	return errors.Join(err, f.Close())
}

// counter tells how much was read, and ends with a context.
type counter struct {
	ctx         context.Context //nolint:containedctx // of one call
	done, total int64
	tell        func(done, total int64)
}

func (c *counter) Write(p []byte) (int, error) {
	c.done += int64(len(p))
	if c.tell != nil {
		c.tell(c.done, c.total)
	}
	return len(p), c.ctx.Err()
}

// create makes a file that only its owner reads, and brings what fill writes to the disk.
func create(path string, fill func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err = fill(f); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir brings a directory's names to the disk.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
