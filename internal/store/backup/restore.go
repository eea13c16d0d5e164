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
	"slices"
	"time"

	"concentrator/internal/store"
	"concentrator/internal/store/bolt"
)

// Errors of Restore.
var (
	// ErrInvalid is returned for a file that is no backup, or not a whole one.
	ErrInvalid = errors.New("not a whole backup")
	// ErrOccupied is returned when there is a state already.
	ErrOccupied = errors.New("holds a state already")
)

const (
	// maxInfo bounds backup.json, octets.
	maxInfo = 64 << 10
	// unpacked is where the files lie, in the state directory, until they are known to be good.
	unpacked = ".restore"
)

// Restore lays the files of a backup into a state directory, which may have a key file but no state in it (ErrOccupied), and
// sees that they can be used: nothing is left there otherwise. The key file must be the one of the instance that was
// backed up (secret.ErrKeyMissing, secret.ErrWrongKey). The files get a new history, so that nobody takes up a watch, or an
// etag, from after the backup. Files called leave are left out.
func Restore(ctx context.Context, archive io.Reader, dir, keyFile string, leave ...string) (Info, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Info{}, fmt.Errorf("make the state directory: %w", err)
	}
	if CutOff(dir) != nil {
		// Nobody else put files there: the restore that was cut off had found none.
		for _, name := range known {
			if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return Info{}, fmt.Errorf("restore: %w", err)
			}
		}
	}
	for _, name := range known {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return Info{}, fmt.Errorf("%s %w: %s", dir, ErrOccupied, name)
		} else if !errors.Is(err, os.ErrNotExist) {
			return Info{}, fmt.Errorf("look at the state directory: %w", err)
		}
	}
	tmp := filepath.Join(dir, unpacked)
	if err := errors.Join(os.RemoveAll(tmp), os.Mkdir(tmp, 0o700)); err != nil { // one that was killed has left it
		return Info{}, fmt.Errorf("restore: %w", err)
	}
	info, err := restore(ctx, archive, dir, tmp, keyFile, leave)
	if err = errors.Join(err, os.RemoveAll(tmp)); err != nil {
		return Info{}, fmt.Errorf("restore: %w", err)
	}
	return info, nil
}

// CutOff returns an error if the last restore into a state directory was cut off while it laid its files there. A daemon must not
// begin with those.
func CutOff(dir string) error {
	_, err := os.Lstat(filepath.Join(dir, unpacked, StateFile))
	_, err2 := os.Lstat(filepath.Join(dir, StateFile))
	if err == nil && errors.Is(err2, os.ErrNotExist) {
		return fmt.Errorf("a restore into %s was cut off: run it again, or empty that directory", dir)
	}
	return nil
}

func restore(ctx context.Context, archive io.Reader, dir, tmp, keyFile string, leave []string) (Info, error) {
	info, err := unpack(archive, tmp)
	if err != nil {
		return info, err
	}
	info.Files = slices.DeleteFunc(info.Files, func(f Sum) bool { return slices.Contains(leave, f.Name) })
	for _, f := range info.Files {
		if err := renew(filepath.Join(tmp, f.Name)); err != nil {
			return info, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	if err := admit(ctx, filepath.Join(tmp, StateFile), keyFile, info); err != nil {
		return info, err
	}
	// The state comes last: where it lies, the restore was whole.
	order := slices.Clone(info.Files)
	slices.SortStableFunc(order, func(a, b Sum) int { return last(a.Name) - last(b.Name) })
	for i, f := range order {
		if err := os.Rename(filepath.Join(tmp, f.Name), filepath.Join(dir, f.Name)); err != nil {
			for _, done := range order[:i] {
				err = errors.Join(err, os.Remove(filepath.Join(dir, done.Name)))
			}
			return info, err
		}
	}
	return info, syncDir(dir)
}

func last(name string) int {
	if name == StateFile {
		return 1
	}
	return 0
}

// renew sees that a file is whole, and gives it a new history.
func renew(path string) error {
	db, err := bolt.Open(path)
	if err != nil {
		return err
	}
	if err := errors.Join(db.Check(), db.Close()); err != nil {
		return err
	}
	return bolt.NewHistory(path)
}

// admit opens the state as the daemon will, and has its audit trail say where it comes from.
func admit(ctx context.Context, path, keyFile string, info Info) error {
	db, err := bolt.Open(path)
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, db, keyFile)
	if err == nil {
		err = s.Audit(ctx, &store.AuditEvent{
			Caller: "system", Method: "restore", Code: "OK",
			Detail: fmt.Sprintf("restored from the backup of %s as of %s", info.Instance, info.Time.UTC().Format(time.RFC3339)),
		})
	}
	return errors.Join(err, db.Close())
}

// unpack lays the archive's files into dir, and holds each against what backup.json says of it.
func unpack(archive io.Reader, dir string) (Info, error) {
	var info Info
	zip, err := gzip.NewReader(archive)
	if err != nil {
		return info, invalid("%w", err)
	}
	files := tar.NewReader(zip)
	h, err := files.Next()
	if err != nil {
		return info, invalid("%w", err)
	}
	if h.Name != infoName || h.Size > maxInfo {
		return info, invalid("it begins with %q, not with %s", h.Name, infoName)
	}
	if err := json.NewDecoder(files).Decode(&info); err != nil {
		return info, invalid("%s: %w", infoName, err)
	}
	if info.Format > format {
		return info, fmt.Errorf("backup of format %d, this program knows up to %d: %w", info.Format, format, store.ErrSchemaTooNew)
	}
	if !slices.ContainsFunc(info.Files, func(f Sum) bool { return f.Name == StateFile }) {
		return info, invalid("%s names no %s", infoName, StateFile)
	}
	for i, f := range info.Files {
		if !slices.Contains(known, f.Name) || slices.ContainsFunc(info.Files[:i], func(o Sum) bool { return o.Name == f.Name }) {
			return info, invalid("%s names %q", infoName, f.Name)
		}
		if h, err = files.Next(); err != nil {
			return info, invalid("%s: %w", f.Name, err)
		}
		if h.Name != f.Name || h.Typeflag != tar.TypeReg || h.Size != f.Size {
			return info, invalid("%q of %d octets stands where %s of %d should", h.Name, h.Size, f.Name, f.Size)
		}
		if err := lay(files, dir, f); err != nil {
			return info, err
		}
	}
	if _, err := files.Next(); !errors.Is(err, io.EOF) {
		return info, invalid("more in it than %s says", infoName)
	}
	// The rest holds gzip's own sum.
	if n, err := io.Copy(io.Discard, io.LimitReader(zip, 1<<20)); err != nil || n == 1<<20 {
		return info, invalid("its end is not as it was written")
	}
	return info, nil
}

func lay(r io.Reader, dir string, f Sum) error {
	hash := sha256.New()
	err := create(filepath.Join(dir, f.Name), func(w io.Writer) error {
		_, err := io.Copy(io.MultiWriter(w, hash), r)
		return err
	})
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, gzip.ErrChecksum):
		return invalid("%s: %w", f.Name, err)
	case err != nil:
		return err
	case hex.EncodeToString(hash.Sum(nil)) != f.SHA256:
		return invalid("%s is not as it was written", f.Name)
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalid, fmt.Errorf(format, args...))
}
