package corpus

import (
	"context"
	"log/slog"
	"testing"
)

// Log is a log for what a target tries. The daemon's parts contain their own panics, and go on: with this log such a one fails
// the target all the same. All else that is logged is dropped.
func Log(t testing.TB) *slog.Logger { return slog.New(watchful{t: t}) }

// Contained is what is logged of a panic that was contained.
const Contained = "panic contained"

type watchful struct{ t testing.TB }

// Enabled implements slog.Handler.
func (w watchful) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }

// Handle implements slog.Handler.
func (w watchful) Handle(_ context.Context, r slog.Record) error {
	if r.Message != Contained {
		return nil
	}
	r.Attrs(func(a slog.Attr) bool {
		w.t.Errorf("%s: %s", r.Message, a)
		return true
	})
	return nil
}

// WithAttrs implements slog.Handler.
func (w watchful) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup implements slog.Handler.
func (w watchful) WithGroup(string) slog.Handler { return w }
