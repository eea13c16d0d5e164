//go:build interop

// Package fault takes away from a daemon what it stands on.
package fault

import (
	"testing"

	"concentrator/test/reliability/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

func TestLab(t *testing.T) {
	l := lab.New(t)
	d := l.NewDaemon(t, lab.Documents)
	d.Start(t)
	r := l.Login(t, "MIX", "12", "--source-net", "10.200.0.0/28")
	t.Logf("%+v", r)
	t.Logf("%+v %d %d", d.Instance(t), d.Resident(t), d.Descriptors(t))
	t.Logf("%v", d.Metrics(t)["concentrator_faults{fault=\"DISK\"}"])
	d.Stop(t)
}
