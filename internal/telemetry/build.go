package telemetry

import (
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

var buildSpec = define(kindGauge, "build_info", "Always 1: what runs.", []string{"version", "revision", "go_version"})

// buildInfo is what the program was made of, as the linker wrote it down.
func buildInfo() *prometheus.GaugeVec {
	var version, revision, compiler string
	if info, ok := debug.ReadBuildInfo(); ok {
		version, compiler = info.Main.Version, info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	g := gauges(buildSpec)
	g.WithLabelValues(version, revision, compiler).Set(1)
	return g
}
