package resource

import (
	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

var pskColumns = []env.Column{
	env.Field("ID", "id"), env.Field("USES", "use_count"), env.Field("LAST USE", "last_use_time"),
}

func (n *Noun) psks(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use: "psks NAME", Short: "List a tenant's pre-shared keys, and how they are used", Args: env.Args(1, 1),
		ValidArgsFunction: n.Complete(e, 1),
		Long: `List a tenant's pre-shared keys: how often clients proved each, since the concentrator started or got the key, and when
that was last.`,
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			name, err := n.FullName(e, nil, args[0])
			if err != nil {
				return err
			}
			t, err := pb.NewTenantServiceClient(e.Conn).GetTenant(cmd.Context(), &pb.GetTenantRequest{Name: name})
			if err != nil {
				return err
			}
			return e.PrintList(t.GetIpsec(), pskColumns)
		}),
	}
}

func (n *Noun) rotatePSK(e *env.Env) *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use: "rotate-psk NAME", Short: "Make a pre-shared key, and show it once; the others stay good", Args: env.Args(1, 1),
		ValidArgsFunction: n.Complete(e, 1),
		Long: `Make a pre-shared key at random, and show it once. The tenant's other keys stay good, so that clients can change over one
by one: ctl tenant psks says which are still in use, and an update of ipsec.psks, by ctl apply or ctl tenant update, takes
out those that are not.`,
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			name, err := n.FullName(e, nil, args[0])
			if err != nil {
				return err
			}
			r, err := pb.NewTenantServiceClient(e.Conn).RotatePsk(cmd.Context(), &pb.RotatePskRequest{Name: name, PskId: id})
			if err != nil {
				return err
			}
			return e.Print(r, []env.Column{env.Field("ID", "psk_id"), env.Field("KEY (shown only now)", "key")})
		}),
	}
	cmd.Flags().StringVar(&id, "id", "", "the new key's id; left out, it is the date")
	return cmd
}
