package token

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
	"concentrator/cmd/ctl/resource"
)

func update(e *env.Env) *cobra.Command {
	var f fields
	cmd := &cobra.Command{
		Use: "update NAME", Short: "Change a token; the flags that are given are what changes", Args: env.Args(1, 1),
		ValidArgsFunction: noun.Complete(e, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			m, mask, err := f.token(cmd.Flags(), time.Now())
			if err != nil {
				return err
			}
			if len(mask) == 0 {
				return fmt.Errorf("%w: nothing to change: give a flag", env.ErrUsage)
			}
			if m.Name, err = noun.FullName(e, nil, args[0]); err != nil {
				return err
			}
			done, err := pb.NewApiTokenServiceClient(e.Conn).UpdateApiToken(cmd.Context(),
				&pb.UpdateApiTokenRequest{ApiToken: m, UpdateMask: &fieldmaskpb.FieldMask{Paths: mask}})
			if err != nil {
				return err
			}
			return show(e, done)
		}),
	}
	f.add(cmd.Flags())
	resource.CompleteWords(cmd, new(pb.ApiToken).ProtoReflect().Descriptor())
	return cmd
}
