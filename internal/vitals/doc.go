// Package vitals watches what the process lives on: its clock, its descriptors, its memory.
//
// It owns nothing and mends nothing: it raises the faults CLOCK, DESCRIPTORS and HEAP of package telemetry and clears them when
// they are over. cmd/concentrator runs it, on one goroutine.
package vitals
