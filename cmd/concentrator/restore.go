package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"concentrator/internal/config"
	"concentrator/internal/store/backup"
)

// restore lays a backup into the state directory; "-" is the standard input.
func restore(ctx context.Context, cfg config.Config, file string, withoutAccounting bool, stdin io.Reader, stdout io.Writer) error {
	from := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("open the backup: %w", err)
		}
		defer f.Close()
		from = f
	}
	var leave []string
	if withoutAccounting {
		leave = []string{backup.AccountingFile}
	}
	info, err := backup.Restore(ctx, from, cfg.StateDir, cfg.KeyFile, leave...)
	switch {
	case errors.Is(err, backup.ErrOccupied):
		return fmt.Errorf("%w; restore into an empty one, or move that away", err)
	case err != nil:
		return err
	}
	fmt.Fprintf(stdout, "%s: restored %s as of %s, made by version %s:\n",
		cfg.StateDir, info.Instance, info.Time.UTC().Format(time.RFC3339), info.Version)
	for _, f := range info.Files {
		fmt.Fprintf(stdout, "  %s, %d octets\n", f.Name, f.Size)
	}
	return nil
}
