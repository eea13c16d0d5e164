package main

import (
	"runtime"
	"runtime/debug"
	"time"

	"concentrator/internal/server"
)

// build is what this program was made of, as far as the compiler was told.
func build() server.Build {
	b := server.Build{Version: "unknown", GoVersion: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = info.Main.Version
	changed := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.CommitTime, _ = time.Parse(time.RFC3339, s.Value) // without it nothing is lost but the time
		case "vcs.modified":
			changed = s.Value == "true"
		}
	}
	if changed {
		b.Commit += "-dirty"
	}
	return b
}

// version is the module's, with the commit it was built from.
func version() string {
	b := build()
	if b.Commit == "" {
		return b.Version
	}
	return b.Version + " " + b.Commit
}
