package env

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"concentrator/internal/manifest"
)

// Describe says what went wrong, and for an API that can't be reached or that does not know the caller what to do next.
func Describe(err error) string {
	text := manifest.Describe(err).Error()
	switch status.Code(err) {
	case codes.Unavailable:
		return text + " (is the daemon running, and is --socket or --addr right?)"
	case codes.Unauthenticated:
		return text + " (give --token; on the daemon's machine root needs none over its socket)"
	}
	return strings.TrimSpace(text)
}
