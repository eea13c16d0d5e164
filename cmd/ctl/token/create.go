package token

import (
	"time"

	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
	"concentrator/cmd/ctl/resource"
)

func create(e *env.Env) *cobra.Command {
	var f fields
	var dryRun bool
	cmd := &cobra.Command{
		Use: "create NAME --role ROLE", Short: "Make a token, and show it once", Args: env.Args(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		Long: `Make a token, and show it once. With --tenant it is bound to that tenant: its holder sees and touches nothing else.

With --certificate-fingerprints its holder shows a certificate instead, and there is nothing to send.`,
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			m, _, err := f.token(cmd.Flags(), time.Now())
			if err != nil {
				return err
			}
			name, err := noun.FullName(e, nil, args[0])
			if err != nil {
				return err
			}
			parent, id := split(name)
			made, err := pb.NewApiTokenServiceClient(e.Conn).CreateApiToken(cmd.Context(),
				&pb.CreateApiTokenRequest{Parent: parent, ApiTokenId: id, ApiToken: m, ValidateOnly: dryRun})
			if err != nil {
				return err
			}
			return show(e, made)
		}),
	}
	f.add(cmd.Flags())
	resource.CompleteWords(cmd, new(pb.ApiToken).ProtoReflect().Descriptor())
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check only")
	return cmd
}
