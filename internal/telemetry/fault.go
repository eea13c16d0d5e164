package telemetry

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Fault names something wrong that the instance copes with and that somebody should know of. The same word is in Instance.faults
// of the API, in the log and in the metrics. Most end by themselves when their cause does.
type Fault string

// The faults.
const (
	FaultStore       Fault = "STORE"       // the last change of the state could not be written
	FaultAccounting  Fault = "ACCOUNTING"  // accounting records can't be written to their file
	FaultMemory      Fault = "MEMORY"      // leases or failed log-ins can't be written to their files
	FaultDisk        Fault = "DISK"        // the disk of the state directory is nearly full, or can't be written
	FaultNetwork     Fault = "NETWORK"     // a tenant's device, namespace or link is gone or down
	FaultListener    Fault = "LISTENER"    // a listener's sockets can't be opened, or its interface is down
	FaultShard       Fault = "SHARD"       // a shard has ended a session that made it panic, or was begun anew
	FaultPanic       Fault = "PANIC"       // the control side has contained a panic of its own
	FaultSendBuffers Fault = "SENDBUFFERS" // the kernel had no buffers for packets that were to be sent
	FaultDescriptors Fault = "DESCRIPTORS" // the process has no more descriptors
	FaultHeap        Fault = "HEAP"        // the process is near its memory limit
	FaultClock       Fault = "CLOCK"       // the clock was set by more than it may drift
	FaultRADIUS      Fault = "RADIUS"      // a tenant's servers do not answer
	FaultNames       Fault = "NAMES"       // the name of a server can't be looked up
)

// AllFaults lists them, in the order of their documentation.
func AllFaults() []Fault {
	return []Fault{
		FaultStore, FaultAccounting, FaultMemory, FaultDisk, FaultNetwork, FaultListener, FaultShard, FaultPanic, FaultSendBuffers,
		FaultDescriptors, FaultHeap, FaultClock, FaultRADIUS, FaultNames,
	}
}

// maxFaults bounds what is kept: above it further subjects are counted and logged only.
const maxFaults = 4096

// Standing is a fault that has not ended.
type Standing struct {
	Fault   Fault
	Subject string // what it is about: a resource name, "shards/3", a file's name; may be empty
	Detail  string // for people
	Begin   time.Time
}

type faultKey struct {
	fault   Fault
	subject string
}

// Faults are those of the instance. The zero *Faults, nil, keeps none; methods of a Faults are safe for concurrent use, and
// cheap: what stands already and is raised again costs a look into a map.
type Faults struct {
	log     *slog.Logger
	metrics *Metrics

	mu       sync.Mutex
	standing map[faultKey]*Standing
}

// NewFaults makes a Faults that tells log and metrics when one begins and ends; metrics may be nil.
func NewFaults(log *slog.Logger, metrics *Metrics) *Faults {
	return &Faults{log: log, metrics: metrics, standing: make(map[faultKey]*Standing)}
}

// Raise says that a fault has begun, or goes on. Only its begin is logged and counted; detail is the latest.
func (f *Faults) Raise(fault Fault, subject, detail string) {
	if f == nil {
		return
	}
	f.mu.Lock()
	s := f.standing[faultKey{fault, subject}]
	if s != nil {
		s.Detail = detail
		f.mu.Unlock()
		return
	}
	if len(f.standing) < maxFaults {
		f.standing[faultKey{fault, subject}] = &Standing{fault, subject, detail, time.Now()}
		f.metrics.faultStands(fault, 1)
	}
	f.mu.Unlock()
	f.metrics.faultBegan(fault)
	f.log.Error("fault", FaultName, fault, Resource, subject, Detail, detail)
}

// Clear says that a fault has ended. One that does not stand is no matter.
func (f *Faults) Clear(fault Fault, subject string) {
	if f == nil {
		return
	}
	f.mu.Lock()
	s := f.standing[faultKey{fault, subject}]
	delete(f.standing, faultKey{fault, subject})
	if s != nil {
		f.metrics.faultStands(fault, -1)
	}
	f.mu.Unlock()
	if s != nil {
		f.log.Info("fault is over", FaultName, fault, Resource, subject, Duration, time.Since(s.Begin).Round(time.Millisecond))
	}
}

// Happened tells of a fault that was over when it was noticed: it is logged and counted, and does not stand.
func (f *Faults) Happened(fault Fault, subject, detail string) {
	if f == nil {
		return
	}
	f.metrics.faultBegan(fault)
	f.log.Error("fault", FaultName, fault, Resource, subject, Detail, detail)
}

// Standing lists those that have not ended, by name and subject.
func (f *Faults) Standing() []Standing {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]Standing, 0, len(f.standing))
	for _, s := range f.standing {
		list = append(list, *s)
	}
	slices.SortFunc(list, func(a, b Standing) int {
		return cmp.Or(cmp.Compare(a.Fault, b.Fault), cmp.Compare(a.Subject, b.Subject))
	})
	return list
}
