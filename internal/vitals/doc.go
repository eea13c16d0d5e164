// Package vitals watches what the process lives on: its clock, its descriptors, its memory, its disks.
//
// It owns nothing and mends nothing: it raises the faults CLOCK, DESCRIPTORS, HEAP and DISK of package telemetry and clears them when
// they are over. cmd/concentrator runs it, on a goroutine for the disks, which may hold up who looks at them, and one for the others.
package vitals
