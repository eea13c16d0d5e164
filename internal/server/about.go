package server

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
)

// Build is what the program was made of.
type Build struct {
	Version, Commit string
	CommitTime      time.Time
	GoVersion       string
}

// about is what does not change while an instance runs.
type about struct {
	build         *concentratorv1.Instance_Build
	configuration *structpb.Struct
}

func newAbout(c Config) (about, error) {
	configuration, err := structpb.NewStruct(c.Configuration)
	if err != nil {
		return about{}, fmt.Errorf("show the configuration: %w", err)
	}
	return about{
		build: &concentratorv1.Instance_Build{
			Version: c.Build.Version, Commit: c.Build.Commit, CommitTime: timestamp(c.Build.CommitTime), GoVersion: c.Build.GoVersion,
		},
		configuration: configuration,
	}, nil
}
