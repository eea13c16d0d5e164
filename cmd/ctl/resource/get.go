package resource

import (
	"context"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"

	"concentrator/cmd/ctl/env"
)

// Get makes the verb that shows one of the noun.
func (n *Noun) Get(e *env.Env) *cobra.Command {
	use, args := n.args()
	cmd := &cobra.Command{
		Use: "get " + use, Short: "Show one " + n.Name, Args: args, ValidArgsFunction: n.Complete(e, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			name, err := n.named(e, cmd.Flags(), args)
			if err != nil {
				return err
			}
			m, err := n.read(cmd.Context(), e, name)
			if err != nil {
				return err
			}
			return e.Print(m.Interface(), n.Columns)
		}),
	}
	n.addBetween(cmd.Flags(), "the one")
	return cmd
}

// read returns one resource.
func (n *Noun) read(ctx context.Context, e *env.Env, name string) (protoreflect.Message, error) {
	m := apiOf(n.Kind).get
	req := request(m)
	set(req, "name", name)
	return call(ctx, e.Conn, m, req)
}
