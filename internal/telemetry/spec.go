package telemetry

import "time"

// kind is what a metric is to Prometheus.
type kind int

const (
	kindGauge kind = iota
	kindCounter
	kindHistogram
)

// spec is what is known of a metric before it has a value.
type spec struct {
	name   string // without the namespace
	help   string
	kind   kind
	labels []string
}

// specs has every metric of ours: what dashboards and alert rules may name.
var specs []spec

func define(k kind, name, help string, labels []string) spec {
	s := spec{name: name, help: help, kind: k, labels: labels}
	specs = append(specs, s)
	return s
}

// gauge defines a Live that goes up and down.
func gauge(name, help string, labels ...string) Live {
	return Live{define(kindGauge, name, help, labels)}
}

// counter defines a Live that only ever grows.
func counter(name, help string, labels ...string) Live {
	return Live{define(kindCounter, name, help, labels)}
}

// histogram defines a Live whose samples are distributions of durations in seconds.
func histogram(name, help string, labels ...string) Live {
	return Live{define(kindHistogram, name, help, labels)}
}

// bounds are the upper bounds of all histograms' buckets: from a write to a fast disk to a RADIUS server that is found dead.
var bounds = [...]time.Duration{
	500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// seconds are the bounds as Prometheus has them.
func seconds() []float64 {
	out := make([]float64, len(bounds))
	for i, b := range bounds {
		out[i] = b.Seconds()
	}
	return out
}
