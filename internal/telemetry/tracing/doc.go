// Package tracing sends traces to a collector: OpenTelemetry's OTLP by gRPC.
//
// It is apart from telemetry so that only the daemon links what sends. Start starts the sender's goroutine, which Close ends.
// Sending never holds up what is traced: spans wait in a queue of bounded length, and are dropped when it is full.
package tracing
