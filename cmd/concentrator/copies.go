package main

import (
	"context"
	"time"

	"concentrator/internal/store/backup"
	"concentrator/internal/store/bolt"
)

// copies knows what a backup is made of.
type copies struct {
	instance string
	files    []backup.File
	flush    func() error // brings into the files what is not there yet
}

func (c *copies) add(name string, db *bolt.DB) {
	c.files = append(c.files, backup.File{Name: name, Snapshot: db.Snapshot})
}

// write makes a backup at path.
func (c *copies) write(ctx context.Context, path string, progress func(done, total int64)) (int64, error) {
	if err := c.flush(); err != nil {
		return 0, err
	}
	info := backup.Info{Instance: c.instance, Version: version(), Time: time.Now().UTC()}
	return backup.Write(ctx, path, info, c.files, progress)
}
